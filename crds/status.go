package crds

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	// ConditionConfigWarning is true while the configuration is used but holds something that is probably not meant.
	ConditionConfigWarning = "ConfigWarning"
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
)

// Status is the status of an OpenTelemetryCollector.
type Status struct {
	// Version of the collectors, from the image's tag.
	Version string `json:"version,omitempty"`
	// Image of the collector's container.
	Image string `json:"image,omitempty"`
	// Scale is what the scale subresource reads.
	Scale *ScaleStatus `json:"scale,omitempty"`
	// ObservedGeneration is the generation that this status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions by type.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
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
