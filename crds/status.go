package crds

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Types of conditions in a collector's status. Ready is always there; the others only while they are true, as kstatus
// asks of a well-behaved resource (sigs.k8s.io/cli-utils, pkg/kstatus/README.md).
const (
	// ConditionReady is true when what the spec asks for is applied and its rollout is complete.
	ConditionReady = "Ready"
	// ConditionReconciling is true while the operator or the cluster is still working towards the spec.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is true when nothing will move until a person changes something.
	ConditionStalled = "Stalled"
	// ConditionPaused is true while spec.managementState is unmanaged.
	ConditionPaused = "Paused"
	// ConditionUnsupportedFields is true while the spec sets fields that this version does not act on. It names them.
	ConditionUnsupportedFields = "UnsupportedFields"
	// ConditionNotConverging is true while somebody, such as an admission webhook, keeps changing what the operator applies. It
	// names the fields.
	ConditionNotConverging = "NotConverging"
	// ConditionReplicasYielded is true while the number of replicas is an autoscaler's, and not the spec's.
	ConditionReplicasYielded = "ReplicasYielded"
	// ConditionClaimsNotExpanded is true while volume claims have another size than their template says and can't get it. It names
	// them.
	ConditionClaimsNotExpanded = "ClaimsNotExpanded"
	// ConditionConfigWarning is true while the configuration is used but holds something that is probably not meant.
	ConditionConfigWarning = "ConfigWarning"
	// ConditionMonitorsInvalid is true while monitors that are selected are left out because there is something wrong with them. It
	// names them.
	ConditionMonitorsInvalid = "MonitorsInvalid"
	// ConditionJobsWithheld is true while scrape jobs are not given to the collectors because that would do harm or could not work: a
	// secret that would go over an open channel, or a value that is only known in the pod. It names them.
	ConditionJobsWithheld = "JobsWithheld"
	// ConditionTargetsUnassigned is true while there are targets that no collector scrapes. It says how many, and why.
	ConditionTargetsUnassigned = "TargetsUnassigned"
	// ConditionDiscoveryIncomplete is true while targets are looked for in vain: a resource that is not installed or may not be read, or a
	// service discovery that does not answer. It names them.
	ConditionDiscoveryIncomplete = "DiscoveryIncomplete"
	// ConditionCollectorsNotPolling is true while collectors that are ready do not ask for their targets, so that nobody scrapes these. It
	// names the first of them, and the address that they are to ask.
	ConditionCollectorsNotPolling = "CollectorsNotPolling"
)

// Reasons of conditions and Events.
const (
	ReasonAvailable         = "Available"
	ReasonProgressing       = "Progressing"
	ReasonRetrying          = "Retrying"
	ReasonInvalidSpec       = "InvalidSpec"
	ReasonInvalidConfig     = "InvalidConfig"
	ReasonForbidden         = "Forbidden"
	ReasonOwnershipConflict = "OwnershipConflict"
	ReasonFailed            = "Failed"
	ReasonUnmanaged         = "Unmanaged"
	ReasonNotImplemented    = "NotImplemented"
	ReasonConfigWarning     = "ConfigWarning"
	// ReasonProgressDeadlineExceeded is that of a rollout which has made no progress for too long.
	ReasonProgressDeadlineExceeded = "ProgressDeadlineExceeded"
	// ReasonCrashLoop is that of pods that keep crashing.
	ReasonCrashLoop = "CrashLoop"
	// ReasonFieldsNotConverging is that of fields that don't stay what was applied.
	ReasonFieldsNotConverging = "FieldsNotConverging"
	ReasonScaledByOther       = "ScaledByOther"
	ReasonClassNotExpandable  = "ClassNotExpandable"
	ReasonClaimCannotShrink   = "ClaimCannotShrink"
	ReasonClaimNotBound       = "ClaimNotBound"
	ReasonClaimRefused        = "ClaimRefused"
	// ReasonFieldTakenBack is that of the Event which names who had changed a field of ours.
	ReasonFieldTakenBack = "FieldTakenBack"
	// ReasonReplaced is that of the Event which says why an object is made anew.
	ReasonReplaced = "Replaced"
	// ReasonPodDeleted is that of the Event which says why a pod is deleted that its StatefulSet would not replace.
	ReasonPodDeleted = "PodDeleted"
	// Of ConditionMonitorsInvalid.
	ReasonMonitorInvalid = "MonitorInvalid"
	ReasonSecretMissing  = "SecretMissing" // or a ConfigMap, or a key in one
	ReasonSecretDenied   = "SecretDenied"  // of a namespace that prometheusCR.secretNamespaces leaves out, or that may not be read
	ReasonFileDenied     = "FileDenied"    // prometheusCR.denyFSAccessThroughSMs
	// Of ConditionJobsWithheld.
	ReasonInsecureChannel   = "InsecureChannel"   // a secret, and nothing that would protect it
	ReasonValueUnknown      = "ValueUnknown"      // ${...} that is only known in the pod
	ReasonFileUnreachable   = "FileUnreachable"   // service discovery would need a file of the pod
	ReasonJobInvalid        = "JobInvalid"        // not what Prometheus reads
	ReasonJobNameTaken      = "JobNameTaken"      // by another job of the pool
	ReasonDiscoveryNotBuilt = "DiscoveryNotBuilt" // a service discovery that this program was built without
	// Of ConditionTargetsUnassigned.
	ReasonNoCollectors      = "NoCollectors"
	ReasonMaxTargetsReached = "MaxTargetsReached"
	// Of ConditionDiscoveryIncomplete.
	ReasonNotInstalled = "NotInstalled" // a CustomResourceDefinition
	ReasonNotReported  = "NotReported"  // a service discovery
	// Of ConditionCollectorsNotPolling.
	ReasonNotAsked  = "NotAsked"  // nothing has come in
	ReasonNotServed = "NotServed" // the operator was told not to serve targets
	// ReasonPlanned is that of the Event with which an operator that only observes says what it would do.
	ReasonPlanned = "Planned"
)

// DiscoveryConditions are the types of conditions about a collector's targets. All are only there while they are true.
func DiscoveryConditions() []string {
	return []string{
		ConditionCollectorsNotPolling, ConditionDiscoveryIncomplete, ConditionJobsWithheld, ConditionMonitorsInvalid, ConditionTargetsUnassigned,
	}
}

// Status is the status of an OpenTelemetryCollector.
type Status struct {
	// Version of the collectors, from the image's tag.
	Version string `json:"version,omitempty"`
	// Image of the collector's container.
	Image string `json:"image,omitempty"`
	// Scale is what the scale subresource reads.
	Scale *ScaleStatus `json:"scale,omitempty"`
	// YieldedReplicas is what spec.replicas was when an autoscaler took over the number; nil while the spec's number counts.
	YieldedReplicas *int64 `json:"yieldedReplicas,omitempty"`
	// ObservedGeneration is the generation that this status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions by type.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Inventory of what belongs to the collector, sorted. Before something is created it is here, and it stays until it is gone.
	Inventory []InventoryEntry `json:"inventory,omitempty"`
}

// InventoryEntry names one object. The version is only a hint: the same object is read at any.
type InventoryEntry struct {
	Group     string    `json:"group,omitempty"`
	Version   string    `json:"version"`
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace,omitempty"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid,omitempty"` // empty until it is created
}

// ScaleStatus is what HorizontalPodAutoscalers and kubectl scale read through the scale subresource.
type ScaleStatus struct {
	// Selector of the pods, serialised; equal to the workload's own.
	Selector string `json:"selector,omitempty"`
	// Replicas is the number of pods.
	Replicas int64 `json:"replicas"`
	// StatusReplicas is "ready/wanted".
	StatusReplicas string `json:"statusReplicas,omitempty"`
}
