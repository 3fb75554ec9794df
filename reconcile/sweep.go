package reconcile

import (
	"context"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
)

// sweep deletes the pods of a collector that is gone if nobody owns them: the collector was deleted while its StatefulSet was being made
// anew around them, so that the garbage collector has no trace of whose they are.
func (e *engine) sweep(ctx context.Context, key types.NamespacedName) error {
	if e.observe {
		return nil
	}
	gone := &crds.Collector{Namespace: key.Namespace, Name: key.Name}
	for _, pod := range e.store.pods(gone) {
		if !leftOver(key, pod) || pod.GetDeletionTimestamp() != nil {
			continue
		}
		if err := deleteOne(ctx, e.cluster, idOf(pod), pod.GetUID(), metav1.DeletePropagationBackground); err != nil {
			return err
		}
		e.log.Info("deleted a pod that nobody owns: its collector is gone", "collector", key.String(), "pod", pod.GetName())
	}
	return nil
}

// leftOver tells whether a pod was made for the StatefulSet of a collector, and nobody owns it.
func leftOver(key types.NamespacedName, pod *unstructured.Unstructured) bool {
	return metav1.GetControllerOfNoCopy(pod) == nil && pod.GetNamespace() == key.Namespace &&
		pod.GetLabels()[crds.LabelInstance] == crds.Instance(key.Namespace, key.Name) && ordinalOf(pod.GetName(), crds.WorkloadName(key.Name))
}

// madeFor is the collector that a pod was made for by its labels alone, if its name was short enough to be in them whole.
func madeFor(pod *unstructured.Unstructured) (types.NamespacedName, bool) {
	name, ok := strings.CutPrefix(pod.GetLabels()[crds.LabelInstance], pod.GetNamespace()+".")
	key := types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}
	return key, ok && leftOver(key, pod)
}
