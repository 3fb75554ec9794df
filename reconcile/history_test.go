package reconcile

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"github.com/otelier/otelier/crds"
)

// fixture is what all properties share: the schemas take long to parse.
type fixture struct {
	planner  *Planner
	managers *fieldManagers
}

// history is a world in which an object has been through something.
type history struct {
	*fixture
	world *world
	id    ID
}

func (f *fixture) world() *world {
	w := newWorldOf(f.managers)
	if err := w.create(collectorObject(baseSpec(crds.ModeDeployment)), "user"); err != nil {
		panic(err)
	}
	return w
}

// drawHistory applies an intent, has others edit what came of it, and may have the API server forget whose it is.
func (f *fixture) drawHistory(t *rapid.T) *history {
	first := drawWant(t)
	h := &history{f, f.world(), idOf(first)}
	if chance(t, "made by somebody else") {
		err := h.world.create(drawKind(t, h.id.Kind), "kubectl-create")
		h.refused(t, err)
	}
	_, _, err := h.world.apply(first, crds.FieldManager, "", false)
	h.refused(t, err)
	for range rapid.IntRange(0, 3).Draw(t, "edits") {
		h.edit(t)
	}
	return h
}

// refused gives up what the API server does not take: that is no live object.
func (h *history) refused(t *rapid.T, err error) {
	if err != nil {
		t.Skip("refused: " + err.Error())
	}
}

func (h *history) live() *unstructured.Unstructured { return h.world.get(h.id) }

// edit is something that others do.
func (h *history) edit(t *rapid.T) {
	manager := rapid.SampledFrom([]string{"kubectl-edit", "helm", crds.FieldManager}).Draw(t, "manager")
	var err error
	switch rapid.SampledFrom([]string{"merge", "replace", "remove", "apply", "scale", "reset"}).Draw(t, "edit") {
	case "merge":
		other := drawKind(t, h.id.Kind)
		err = h.world.update(h.id, manager, "", func(u *unstructured.Unstructured) { mergeInto(u.Object, other.Object) })
	case "replace":
		other := drawKind(t, h.id.Kind)
		err = h.world.update(h.id, manager, "", func(u *unstructured.Unstructured) {
			for k, v := range other.Object {
				if k != "metadata" {
					u.Object[k] = v
				}
			}
			u.SetLabels(other.GetLabels())
			u.SetAnnotations(other.GetAnnotations())
		})
	case "remove":
		err = h.world.update(h.id, manager, "", func(u *unstructured.Unstructured) { removeSome(t, u.Object) })
	case "apply":
		_, _, err = h.world.apply(drawKind(t, h.id.Kind), rapid.SampledFrom([]string{"flux", "kubectl"}).Draw(t, "applier"), "", false)
	case "scale":
		n := rapid.Int64Range(0, 5).Draw(t, "scaled to")
		if h.id.Kind == "Deployment" || h.id.Kind == "StatefulSet" {
			err = h.world.update(h.id, "kube-controller-manager", "scale", setting(n, "spec", "replicas"))
		}
	case "reset":
		err = h.world.update(h.id, manager, "", func(u *unstructured.Unstructured) {
			_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{}}, "metadata", "managedFields")
		})
	}
	h.refused(t, err)
}

func mergeInto(to, from map[string]any) {
	for k, v := range from {
		m, ok := v.(map[string]any)
		if there, isMap := to[k].(map[string]any); ok && isMap {
			mergeInto(there, m)
		} else {
			to[k] = v
		}
	}
}

// removeSome removes labels, annotations and fields of the first container.
func removeSome(t *rapid.T, tree map[string]any) {
	for _, path := range [][]string{{"metadata", "labels"}, {"metadata", "annotations"}, {"data"}, {"spec", "template", "metadata", "labels"}} {
		m, _, _ := unstructured.NestedMap(tree, path...)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if len(k) == 1 && chance(t, "remove "+k) {
				unstructured.RemoveNestedField(tree, append(slices.Clone(path), k)...)
			}
		}
	}
	containers, _, _ := unstructured.NestedSlice(tree, "spec", "template", "spec", "containers")
	if len(containers) > 0 {
		c, _ := containers[0].(map[string]any)
		for _, k := range []string{"env", "ports", "args", "resources", "livenessProbe"} {
			if chance(t, "remove "+k) {
				delete(c, k)
			}
		}
		_ = unstructured.SetNestedSlice(tree, containers, "spec", "template", "spec", "containers")
	}
}
