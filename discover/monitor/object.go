package monitor

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"
)

// annotationWeight is how much one target of the object counts, from 1 on.
const annotationWeight = "otelier.io/target-weight"

// object is a custom resource as it is held: what its jobs depend on and nothing else. It is immutable.
type object struct {
	metav1.ObjectMeta // name, namespace, UID, resourceVersion, generation, labels and annotationWeight

	kind kind
	// since is the last pass that did not know it, by its number. It is set before anybody else has the object.
	since uint64
	// spec is *ServiceMonitorSpec, *PodMonitorSpec, *ProbeSpec or *ScrapeConfigSpec; nil when it can't be read as one.
	spec any
	// err is why there is no spec.
	err error
}

// objectKey identifies an object over its life.
type objectKey struct {
	kind            kind
	namespace, name string
}

func (o *object) key() objectKey { return objectKey{o.kind, o.Namespace, o.Name} }

// newObject reads what the API server gives. An object that is not what its kind says, which a CustomResourceDefinition older or laxer
// than the library lets through, becomes one with an error, so that it does not take a whole list with it.
func newObject(k kind, u *unstructured.Unstructured) *object {
	o := &object{kind: k}
	o.Name, o.Namespace, o.UID = u.GetName(), u.GetNamespace(), u.GetUID()
	o.ResourceVersion, o.Generation, o.Labels = u.GetResourceVersion(), u.GetGeneration(), u.GetLabels()
	if weight, ok := u.GetAnnotations()[annotationWeight]; ok {
		o.Annotations = map[string]string{annotationWeight: weight}
	}
	o.spec = newSpec(k)
	text, err := json.Marshal(u.Object["spec"])
	if err == nil {
		err = json.Unmarshal(text, o.spec)
	}
	if err != nil {
		o.spec, o.err = nil, fmt.Errorf("spec: %w", err)
	}
	return o
}

// newSpec is an empty spec of a kind.
func newSpec(k kind) any {
	switch k {
	case serviceMonitor:
		return new(monitoringv1.ServiceMonitorSpec)
	case podMonitor:
		return new(monitoringv1.PodMonitorSpec)
	case probe:
		return new(monitoringv1.ProbeSpec)
	default:
		return new(monitoringv1alpha1.ScrapeConfigSpec)
	}
}

// transform is for an informer: what it caches are objects.
func transform(k kind) cache.TransformFunc {
	return func(in any) (any, error) {
		if u, ok := in.(*unstructured.Unstructured); ok {
			return newObject(k, u), nil
		}
		return in, nil
	}
}

// same says whether o and b give the same jobs and are selected alike. A status or an annotation that changes is no change.
func (o *object) same(b *object) bool {
	return o.UID == b.UID && maps.Equal(o.Labels, b.Labels) && maps.Equal(o.Annotations, b.Annotations) &&
		(o.err == nil) == (b.err == nil) && equality.Semantic.DeepEqual(o.spec, b.spec)
}

// weight of each target; 0 when the object doesn't say.
func (o *object) weight() (uint32, error) {
	text, ok := o.Annotations[annotationWeight]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("annotation %s is %q, want a number from 1 on: it counts as 1", annotationWeight, text)
	}
	return uint32(n), nil
}

// resource is a new, complete copy of the object, which whoever gets it may change.
func (o *object) resource() any {
	meta := metav1.ObjectMeta{Name: o.Name, Namespace: o.Namespace, UID: o.UID, Generation: o.Generation, Labels: maps.Clone(o.Labels)}
	switch spec := o.spec.(type) {
	case *monitoringv1.ServiceMonitorSpec:
		return &monitoringv1.ServiceMonitor{ObjectMeta: meta, Spec: *spec.DeepCopy()}
	case *monitoringv1.PodMonitorSpec:
		return &monitoringv1.PodMonitor{ObjectMeta: meta, Spec: *spec.DeepCopy()}
	case *monitoringv1.ProbeSpec:
		return &monitoringv1.Probe{ObjectMeta: meta, Spec: *spec.DeepCopy()}
	case *monitoringv1alpha1.ScrapeConfigSpec:
		return &monitoringv1alpha1.ScrapeConfig{ObjectMeta: meta, Spec: *spec.DeepCopy()}
	default:
		return nil
	}
}
