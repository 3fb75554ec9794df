package reconcile

import (
	"fmt"
	"maps"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const revisionLabel = "controller-revision-hash"

// statefulSets adopts, makes, replaces and removes pods, makes claims, and writes the status, as
// k8s.io/kubernetes/pkg/controller/statefulset does; pods are Ready at once.
func (w *world) statefulSets() error {
	for _, set := range w.of("StatefulSet") {
		if set.GetDeletionTimestamp() != nil {
			continue
		}
		if err := w.statefulSet(set); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) statefulSet(set *unstructured.Unstructured) error {
	selector, _, _ := unstructured.NestedStringMap(set.Object, "spec", "selector", "matchLabels")
	revision := revisionOf(set)
	n := intAt(set, "spec", "replicas")
	for _, pod := range w.of("Pod") {
		if err := w.fitPod(set, pod, selector, revision, n); err != nil {
			return err
		}
	}
	ready, updated := int64(0), int64(0)
	for i := range n {
		name := fmt.Sprintf("%s-%d", set.GetName(), i)
		if err := w.newClaims(set, name, selector); err != nil {
			return err
		}
		pod := w.get(ID{"", "Pod", set.GetNamespace(), name})
		if pod == nil {
			if err := w.newPod(set, name, revision); err != nil {
				return err
			}
			pod = w.get(ID{"", "Pod", set.GetNamespace(), name})
		}
		if owner := metav1.GetControllerOfNoCopy(pod); owner == nil || owner.UID != set.GetUID() {
			continue // somebody else's: it is in the way
		}
		ready++
		if pod.GetLabels()[revisionLabel] == revision {
			updated++
		}
	}
	return w.setStatus(set, map[string]any{
		"replicas": ready, "readyReplicas": ready, "availableReplicas": ready, "updatedReplicas": updated, "currentReplicas": updated,
		"currentRevision": revision, "updateRevision": revision,
	})
}

// fitPod adopts a pod that fits, and deletes one of the set's that does not.
func (w *world) fitPod(set, pod *unstructured.Unstructured, selector map[string]string, revision string, n int64) error {
	if !ordinalOf(pod.GetName(), set.GetName()) {
		return nil
	}
	owner := metav1.GetControllerOfNoCopy(pod)
	fits := true
	for k, v := range selector {
		fits = fits && pod.GetLabels()[k] == v
	}
	switch {
	case owner == nil && fits:
		return w.update(idOf(pod), gcManager, "", func(u *unstructured.Unstructured) {
			_ = unstructured.SetNestedSlice(u.Object, []any{ownerReference(set)}, "metadata", "ownerReferences")
		})
	case owner == nil || owner.UID != set.GetUID():
		return nil
	}
	var ordinal int64
	if _, err := fmt.Sscanf(strings.TrimPrefix(pod.GetName(), set.GetName()), "-%d", &ordinal); err != nil {
		return err
	}
	if ordinal >= n || pod.GetLabels()[revisionLabel] != revision {
		_, err := w.delete(idOf(pod), pod.GetUID(), metav1.DeletePropagationBackground)
		return err
	}
	return nil
}

func revisionOf(set *unstructured.Unstructured) string {
	template, _, _ := unstructured.NestedMap(set.Object, "spec", "template")
	return digest(template)[:8]
}

func (w *world) newPod(set *unstructured.Unstructured, name, revision string) error {
	template, _, _ := unstructured.NestedMap(set.Object, "spec", "template")
	pod := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "spec": template["spec"],
		"metadata": map[string]any{"ownerReferences": []any{ownerReference(set)}},
	}}
	labels, _, _ := unstructured.NestedStringMap(template, "metadata", "labels")
	labels = maps.Clone(labels)
	labels[revisionLabel] = revision
	pod.SetLabels(labels)
	pod.SetNamespace(set.GetNamespace())
	pod.SetName(name)
	volumes, _, _ := unstructured.NestedSlice(pod.Object, "spec", "volumes")
	for claim := range templateSizes(set) {
		volumes = append(volumes, map[string]any{"name": claim, "persistentVolumeClaim": map[string]any{"claimName": claim + "-" + name}})
	}
	if err := unstructured.SetNestedSlice(pod.Object, volumes, "spec", "volumes"); err != nil {
		return err
	}
	if err := w.create(pod, gcManager); err != nil {
		return err
	}
	return w.update(idOf(pod), gcManager, "status", func(u *unstructured.Unstructured) {
		u.Object["status"] = map[string]any{"phase": "Running", "conditions": []any{trueCondition("Ready", "PodReady")}}
	})
}

// newClaims makes a pod's claims from their templates, unless they are there from a pod of the same name before. To a pod that is there
// without one nothing is added: that can't be changed.
func (w *world) newClaims(set *unstructured.Unstructured, pod string, labels map[string]string) error {
	templates, _, _ := unstructured.NestedSlice(set.Object, "spec", "volumeClaimTemplates")
	for _, t := range templates {
		m, ok := t.(map[string]any)
		if !ok {
			return fmt.Errorf("template is a %T", t)
		}
		claim := (&unstructured.Unstructured{Object: m}).DeepCopy()
		claim.SetAPIVersion("v1")
		claim.SetKind("PersistentVolumeClaim")
		claim.SetName(claim.GetName() + "-" + pod)
		claim.SetNamespace(set.GetNamespace())
		claim.SetLabels(labels)
		delete(claim.Object, "status")
		if w.get(idOf(claim)) != nil {
			continue
		}
		if err := w.create(claim, gcManager); err != nil {
			return err
		}
	}
	return nil
}
