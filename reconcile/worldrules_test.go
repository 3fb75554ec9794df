package reconcile

import (
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/otelier/otelier/crds"
)

// validate refuses what the API server refuses: the changes of k8s.io/kubernetes/pkg/apis that are not allowed, and growth of claims
// that their class does not allow.
func (w *world) validate(live, next *unstructured.Unstructured) error {
	if w.refuse != nil {
		if err := w.refuse(next); err != nil {
			return err
		}
	}
	var found field.ErrorList
	switch next.GetKind() {
	case "Deployment", "DaemonSet", "StatefulSet":
		found = validateWorkload(live, next)
	case "ConfigMap":
		if was, _, _ := unstructured.NestedBool(treeOf(live), "immutable"); was && digest(live.Object["data"]) != digest(next.Object["data"]) {
			found = append(found, field.Forbidden(field.NewPath("data"), "field is immutable when `immutable` is set"))
		}
	case "ClusterRoleBinding":
		if live != nil && digest(live.Object["roleRef"]) != digest(next.Object["roleRef"]) {
			found = append(found, field.Invalid(field.NewPath("roleRef"), "x", "cannot change roleRef"))
		}
	case "PersistentVolumeClaim":
		return w.validateClaim(live, next)
	}
	if len(found) > 0 {
		return apierrors.NewInvalid(next.GroupVersionKind().GroupKind(), next.GetName(), found)
	}
	return nil
}

func treeOf(u *unstructured.Unstructured) map[string]any {
	if u == nil {
		return nil
	}
	return u.Object
}

func validateWorkload(live, next *unstructured.Unstructured) field.ErrorList {
	var found field.ErrorList
	selector, _, _ := unstructured.NestedStringMap(next.Object, "spec", "selector", "matchLabels")
	labels, _, _ := unstructured.NestedStringMap(next.Object, "spec", "template", "metadata", "labels")
	for k, v := range selector {
		if labels[k] != v {
			found = append(found, field.Invalid(field.NewPath("spec", "template", "metadata", "labels"), labels, "`selector` does not match template `labels`"))
			break
		}
	}
	if n, ok, _ := unstructured.NestedInt64(next.Object, "spec", "replicas"); ok && n < 0 {
		found = append(found, field.Invalid(field.NewPath("spec", "replicas"), n, "must be greater than or equal to 0"))
	}
	if live == nil {
		return found
	}
	if next.GetKind() != "StatefulSet" {
		was, _, _ := unstructured.NestedStringMap(live.Object, "spec", "selector", "matchLabels")
		if !maps.Equal(was, selector) {
			found = append(found, field.Invalid(field.NewPath("spec", "selector"), selector, "field is immutable"))
		}
		return found
	}
	if digest(fixed(live)) != digest(fixed(next)) {
		found = append(found, field.Forbidden(field.NewPath("spec"), "updates to statefulset spec for fields other than 'replicas', … are forbidden"))
	}
	return found
}

// fixed is what can't change in the spec of a StatefulSet.
func fixed(u *unstructured.Unstructured) map[string]any {
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	for _, f := range []string{
		"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
	} {
		delete(spec, f)
	}
	return spec
}

// validateClaim also stands for the admission plugin PersistentVolumeClaimResize.
func (w *world) validateClaim(live, next *unstructured.Unstructured) error {
	if live == nil {
		return nil
	}
	was, is := resource.MustParse(storage(live)), resource.MustParse(storage(next))
	gk, gr := next.GroupVersionKind().GroupKind(), resourceOf(idOf(next))
	switch is.Cmp(was) {
	case -1:
		return apierrors.NewInvalid(gk, next.GetName(), field.ErrorList{
			field.Forbidden(field.NewPath("spec", "resources", "requests", "storage"), "field can not be less than status.capacity"),
		})
	case 1:
		class := w.objects[ID{"storage.k8s.io", "StorageClass", "", nested(live, "spec", "storageClassName")}]
		if allowed, _, _ := unstructured.NestedBool(treeOf(class), "allowVolumeExpansion"); !allowed {
			return apierrors.NewForbidden(gr, next.GetName(), fmt.Errorf("only dynamically provisioned pvc can be resized"))
		}
	}
	return nil
}

func storage(claim *unstructured.Unstructured) string {
	return nested(claim, "spec", "resources", "requests", "storage")
}

// controllers lets the controllers of the cluster act until none of them has anything left to do.
func (w *world) controllers() error {
	for range 50 {
		if w.version == w.rested {
			return nil
		}
		before := w.version
		for _, run := range []func() error{w.orphan, w.collect, w.statefulSets, w.deployments, w.daemonSets, w.claims} {
			if err := run(); err != nil {
				return err
			}
		}
		if w.version == before {
			w.rested = before
		}
	}
	return fmt.Errorf("the controllers find no end: %d objects", len(w.objects))
}

func (w *world) all() []*unstructured.Unstructured {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.objects), func(a, b *unstructured.Unstructured) int {
		return slices.Compare([]string{a.GetKind(), a.GetName()}, []string{b.GetKind(), b.GetName()})
	})
}

const gcManager = "kube-controller-manager"

// orphan takes owner references away from the dependents of what was deleted with orphan propagation, and then lets it go: one step at a
// time.
func (w *world) orphan() error {
	for _, u := range w.all() {
		if u.GetDeletionTimestamp() == nil || !slices.Contains(u.GetFinalizers(), "orphan") {
			continue
		}
		freed := false
		for _, d := range w.all() {
			refs := d.GetOwnerReferences()
			for i, ref := range refs {
				if ref.UID == u.GetUID() {
					freed = true
					rest := slices.Delete(slices.Clone(refs), i, i+1)
					if err := w.update(idOf(d), gcManager, "", func(d *unstructured.Unstructured) { d.SetOwnerReferences(rest) }); err != nil {
						return err
					}
				}
			}
		}
		if freed {
			continue
		}
		if err := w.update(idOf(u), gcManager, "", func(u *unstructured.Unstructured) {
			u.SetFinalizers(slices.DeleteFunc(u.GetFinalizers(), func(f string) bool { return f == "orphan" }))
		}); err != nil {
			return err
		}
	}
	return nil
}

// collect deletes what had owners, none of which is there any more.
func (w *world) collect() error {
	there := map[string]bool{}
	for _, u := range w.all() {
		there[string(u.GetUID())] = true
	}
	for _, u := range w.all() {
		owners := u.GetOwnerReferences()
		gone := len(owners) > 0
		for _, ref := range owners {
			gone = gone && !there[string(ref.UID)]
		}
		if gone {
			if _, err := w.delete(idOf(u), u.GetUID(), "Background"); err != nil {
				return err
			}
		}
	}
	return nil
}

func intAt(u *unstructured.Unstructured, path ...string) int64 {
	n, _, _ := unstructured.NestedInt64(u.Object, path...)
	return n
}

func (w *world) setStatus(u *unstructured.Unstructured, status map[string]any) error {
	status["observedGeneration"] = u.GetGeneration()
	if equalTrees(u.Object["status"], status, nil) {
		return nil
	}
	return w.update(idOf(u), gcManager, "status", func(u *unstructured.Unstructured) { u.Object["status"] = status })
}

func trueCondition(kind, reason string) map[string]any {
	return map[string]any{"type": kind, "status": "True", "reason": reason}
}

func (w *world) deployments() error {
	for _, u := range w.of("Deployment") {
		n := intAt(u, "spec", "replicas")
		if err := w.setStatus(u, map[string]any{
			"replicas": n, "updatedReplicas": n, "readyReplicas": n, "availableReplicas": n,
			"conditions": []any{trueCondition("Available", "MinimumReplicasAvailable"), trueCondition("Progressing", "NewReplicaSetAvailable")},
		}); err != nil {
			return err
		}
	}
	return nil
}

// daemonSets run on two nodes.
func (w *world) daemonSets() error {
	for _, u := range w.of("DaemonSet") {
		n := int64(2)
		if err := w.setStatus(u, map[string]any{
			"desiredNumberScheduled": n, "currentNumberScheduled": n, "numberReady": n, "numberAvailable": n, "updatedNumberScheduled": n, "numberMisscheduled": int64(0),
		}); err != nil {
			return err
		}
	}
	return nil
}

// claims have the capacity that they ask for at once.
func (w *world) claims() error {
	for _, u := range w.of("PersistentVolumeClaim") {
		status := map[string]any{"phase": "Bound", "capacity": map[string]any{"storage": storage(u)}}
		if equalTrees(u.Object["status"], status, nil) {
			continue
		}
		if err := w.update(idOf(u), gcManager, "status", func(u *unstructured.Unstructured) { u.Object["status"] = status }); err != nil {
			return err
		}
	}
	return nil
}

func ownerReference(u *unstructured.Unstructured) map[string]any {
	return map[string]any{
		"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(), "name": u.GetName(), "uid": string(u.GetUID()), "controller": true, "blockOwnerDeletion": true,
	}
}

// collectorID is the collector that everything here is about.
func collectorID() ID { return ID{crds.Group, crds.Kind, "ns", "a"} }
