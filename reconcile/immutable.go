package reconcile

import (
	"slices"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/otelier/otelier/crds"
)

// immutableRoot is the immutable field of a kind that path is in or is; empty when it can be changed in place. Sources are the
// validations of updates in k8s.io/kubernetes/pkg/apis: apps (ValidateDeploymentUpdate, ValidateDaemonSetUpdate,
// ValidateStatefulSetUpdate), core (ValidateConfigMapUpdate), rbac (ValidateClusterRoleBindingUpdate).
func immutableRoot(k crds.OwnedKind, path fieldpath.Path) string {
	at := func(i int) string {
		if i < len(path) && path[i].FieldName != nil {
			return *path[i].FieldName
		}
		return ""
	}
	switch k.GVK.Kind {
	case "Deployment", "DaemonSet":
		if at(0) == "spec" && at(1) == "selector" {
			return ".spec.selector"
		}
	case "StatefulSet":
		mutable := []string{
			"", "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
		}
		if at(0) == "spec" && !slices.Contains(mutable, at(1)) {
			return ".spec." + at(1)
		}
	case "ClusterRoleBinding":
		if at(0) == "roleRef" {
			return ".roleRef"
		}
	}
	return ""
}
