package crds

import "k8s.io/apimachinery/pkg/runtime/schema"

// OwnedKind is a kind of object that the operator creates for a collector.
type OwnedKind struct {
	GVK      schema.GroupVersionKind
	Resource string // plural, as in URLs and RBAC
	Stage    Stage
	// MetadataOnly kinds are cached without their content, which may be large and which nobody has to read: they are named
	// by it.
	MetadataOnly bool
	// History kinds keep their newest unused objects, as many as spec.configVersions says, so that a rollback finds them.
	History bool
}

// GVR is the resource that k is read and written at.
func (k OwnedKind) GVR() schema.GroupVersionResource {
	return k.GVK.GroupVersion().WithResource(k.Resource)
}

// Stage orders the objects of a collector: those of one stage are applied concurrently, and a failing stage keeps later
// ones from starting. Objects are deleted in the reverse order.
type Stage int

// The stages, in the order in which they run.
const (
	StageIdentity Stage = iota
	StageConfig
	StageServices
	StageWorkload
	StageDisruption
)

// OwnedKinds are all kinds of objects that the operator creates for collectors, in the order in which it applies them.
func OwnedKinds() []OwnedKind {
	apps := schema.GroupVersion{Group: "apps", Version: "v1"}
	core := schema.GroupVersion{Version: "v1"}
	return []OwnedKind{
		{GVK: core.WithKind("ServiceAccount"), Resource: "serviceaccounts", Stage: StageIdentity},
		{GVK: core.WithKind("ConfigMap"), Resource: "configmaps", Stage: StageConfig, MetadataOnly: true, History: true},
		{GVK: core.WithKind("Service"), Resource: "services", Stage: StageServices},
		{GVK: apps.WithKind("Deployment"), Resource: "deployments", Stage: StageWorkload},
		{GVK: apps.WithKind("DaemonSet"), Resource: "daemonsets", Stage: StageWorkload},
		{GVK: apps.WithKind("StatefulSet"), Resource: "statefulsets", Stage: StageWorkload},
		{
			GVK:      schema.GroupVersionKind{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
			Resource: "poddisruptionbudgets", Stage: StageDisruption,
		},
	}
}

// KindOf finds the OwnedKind of a group and kind; the version does not matter.
func KindOf(gk schema.GroupKind) (OwnedKind, bool) {
	for _, k := range OwnedKinds() {
		if k.GVK.GroupKind() == gk {
			return k, true
		}
	}
	return OwnedKind{}, false
}
