package reconcile

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// keepStored restores what a request can't change.
func keepStored(live, next *unstructured.Unstructured, subresource string) {
	if subresource == "status" {
		kept := live.DeepCopy()
		kept.SetManagedFields(next.GetManagedFields())
		kept.Object["status"] = next.Object["status"]
		if next.Object["status"] == nil {
			delete(kept.Object, "status")
		}
		next.Object = kept.Object
		return
	}
	delete(next.Object, "status")
	if s, ok := live.Object["status"]; ok {
		next.Object["status"] = runtime.DeepCopyJSONValue(s)
	}
	next.SetUID(live.GetUID())
	next.SetResourceVersion(live.GetResourceVersion())
	next.SetGeneration(live.GetGeneration())
	next.SetCreationTimestamp(live.GetCreationTimestamp())
	next.SetDeletionTimestamp(live.GetDeletionTimestamp())
}

// sameButTimes tells whether two objects differ in nothing but the times of managedFields
// (k8s.io/apiserver/pkg/endpoints/handlers/fieldmanager/equality.go).
func sameButTimes(a, b *unstructured.Unstructured) bool {
	return equalTrees(a.Object, b.Object, nil)
}

// equalTrees compares trees of JSON, leaving out what is at paths in the metadata that skipped names, and the times of managedFields.
func equalTrees(a, b any, skipped map[string]bool) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok {
			return false
		}
		_, entry := a["fieldsV1"]
		n := 0
		for k, v := range a {
			if entry && k == "time" || skipped[k] {
				continue
			}
			w, there := b[k]
			if !there || !equalTrees(v, w, skipped) {
				return false
			}
			n++
		}
		for k := range b {
			if entry && k == "time" || skipped[k] {
				continue
			}
			n--
		}
		return n == 0
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, func(x, y any) bool { return equalTrees(x, y, skipped) })
	default:
		return a == b
	}
}

// contentOf is what counts for the generation.
func contentOf(u *unstructured.Unstructured) *unstructured.Unstructured {
	out := maps.Clone(u.Object)
	delete(out, "metadata")
	delete(out, "status")
	return &unstructured.Unstructured{Object: out}
}
