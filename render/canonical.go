package render

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	policy "k8s.io/client-go/applyconfigurations/policy/v1"
)

// toUnstructured converts an apply configuration to what the API server will print of it, so that comparing the two shows true
// changes alone. What the configuration leaves unset is not in the result, nor is what the API server does not store: "", [],
// {} where it says nothing, and 0 in place of a default. Values are spelt as it spells them, such as 500m for 0.5.
func toUnstructured(config any) (*unstructured.Unstructured, error) {
	stored, err := storedType(config)
	if err != nil {
		return nil, err
	}
	want, err := runtime.DefaultUnstructuredConverter.ToUnstructured(config)
	if err != nil {
		return nil, fmt.Errorf("render: convert %T: %w", config, err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(want, stored, true); err != nil {
		return nil, fmt.Errorf("render: convert %T to %T: %w", config, stored, err)
	}
	spellOut(stored)
	printed, err := runtime.DefaultUnstructuredConverter.ToUnstructured(stored)
	if err != nil {
		return nil, fmt.Errorf("render: convert %T: %w", stored, err)
	}
	asPrinted(want, printed)
	return &unstructured.Unstructured{Object: want}, nil
}

// storedType is a new object of the type that the API server decodes what config becomes with.
func storedType(config any) (any, error) {
	switch config.(type) {
	case *core.ServiceAccountApplyConfiguration:
		return &corev1.ServiceAccount{}, nil
	case *core.ConfigMapApplyConfiguration:
		return &corev1.ConfigMap{}, nil
	case *core.ServiceApplyConfiguration:
		return &corev1.Service{}, nil
	case *apps.DeploymentApplyConfiguration:
		return &appsv1.Deployment{}, nil
	case *apps.DaemonSetApplyConfiguration:
		return &appsv1.DaemonSet{}, nil
	case *apps.StatefulSetApplyConfiguration:
		return &appsv1.StatefulSet{}, nil
	case *policy.PodDisruptionBudgetApplyConfiguration:
		return &policyv1.PodDisruptionBudget{}, nil
	default:
		return nil, fmt.Errorf("render: convert %T: its API type is not known", config)
	}
}

// asPrinted makes want what is printed of it. Keys that are only printed stay out, as they would become ours; but what is atomic
// is one value, and taken whole.
func asPrinted(want, printed map[string]any) {
	for k, v := range want {
		p, ok := printed[k]
		switch {
		case !ok:
			delete(want, k)
		case isAtomic(k):
			want[k] = p
		default:
			want[k] = valueAsPrinted(v, p)
			if m, ok := want[k].(map[string]any); ok && len(m) == 0 && saysNothingEmpty(k) {
				delete(want, k)
			}
		}
	}
}

func valueAsPrinted(want, printed any) any {
	switch w := want.(type) {
	case map[string]any:
		if p, ok := printed.(map[string]any); ok {
			asPrinted(w, p)
			return w
		}
	case []any:
		if p, ok := printed.([]any); ok && len(p) == len(w) {
			for i := range w {
				w[i] = valueAsPrinted(w[i], p[i])
			}
			return w
		}
	}
	return printed
}

// isAtomic tells whether a field called key is a structure, or a list of structures, that has one owner as a whole, in each of
// our kinds that has such a field (x-kubernetes-map-type and x-kubernetes-list-type in the API server's OpenAPI). Maps with keys of the
// user's choice need no telling apart: their values are scalars.
func isAtomic(key string) bool {
	switch key {
	case "selector", "labelSelector", "ownerReferences", "managedFields", "secrets",
		// of a pod
		"preferredDuringSchedulingIgnoredDuringExecution", "requiredDuringSchedulingIgnoredDuringExecution",
		"tolerations", "readinessGates", "imagePullSecrets", "sysctls", "options",
		// of a container
		"configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef", "envFrom", "httpHeaders", "resizePolicy",
		"restartPolicyRules",
		// of a volume or a claim
		"items", "sources", "secretRef", "nodePublishSecretRef", "dataSource", "volumeClaimTemplates":
		return true
	default:
		return false
	}
}

// saysNothingEmpty tells whether {} means the same as no field called key at all. Such structures stay out: when one that was filled
// becomes {}, the API server only stores that at the second try. Many others are markers, such as emptyDir, or a selector, which
// matches everything when it is empty.
func saysNothingEmpty(key string) bool {
	switch key {
	case "affinity", "nodeAffinity", "podAffinity", "podAntiAffinity", "lifecycle", "resources", "securityContext",
		"ordinals", "persistentVolumeClaimRetentionPolicy", "sessionAffinityConfig", "clientIP":
		return true
	default:
		return false
	}
}
