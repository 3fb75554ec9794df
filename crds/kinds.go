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
	// ClusterScoped kinds can't have a collector as their owner: LabelOwner says whose they are, and a finalizer on the collector has
	// them deleted with it.
	ClusterScoped bool
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
	StageClaims
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

// ClaimKind is that of the claims which StatefulSets make from their templates. They are not owned: they outlive the collector, and
// all that is ever changed in them is the size.
func ClaimKind() OwnedKind {
	return OwnedKind{GVK: schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}, Resource: "persistentvolumeclaims", Stage: StageClaims}
}

// PodKind is that of pods, which are read to say what is wrong with them, and relabelled when a selector changes.
func PodKind() OwnedKind {
	return OwnedKind{GVK: schema.GroupVersionKind{Version: "v1", Kind: "Pod"}, Resource: "pods", Stage: StageWorkload}
}

// StorageClassKind is that of storage classes, which say whether their claims can grow.
func StorageClassKind() OwnedKind {
	return OwnedKind{
		GVK:      schema.GroupVersionKind{Group: "storage.k8s.io", Version: "v1", Kind: "StorageClass"},
		Resource: "storageclasses", ClusterScoped: true,
	}
}

// ClusterKinds are the cluster-scoped kinds that a collector may come to own. Nothing renders them in this version.
func ClusterKinds() []OwnedKind {
	rbac := schema.GroupVersion{Group: "rbac.authorization.k8s.io", Version: "v1"}
	return []OwnedKind{
		{GVK: rbac.WithKind("ClusterRole"), Resource: "clusterroles", Stage: StageIdentity, ClusterScoped: true},
		{GVK: rbac.WithKind("ClusterRoleBinding"), Resource: "clusterrolebindings", Stage: StageIdentity, ClusterScoped: true},
	}
}

// KindOf finds what is known of a group and kind; the version does not matter.
func KindOf(gk schema.GroupKind) (OwnedKind, bool) {
	for _, k := range append(append(OwnedKinds(), ClaimKind(), PodKind(), StorageClassKind()), ClusterKinds()...) {
		if k.GVK.GroupKind() == gk {
			return k, true
		}
	}
	return OwnedKind{}, false
}
