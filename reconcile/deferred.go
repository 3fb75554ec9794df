package reconcile

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/otelier/otelier/crds"
)

// deferredPaths are fields of workloads that pods are not started anew for, when a version of the operator comes to set them: they come
// with the next change of the template. What they are for must be good to have, and nothing that anything depends on.
func deferredPaths() []fieldpath.Path {
	container := fieldpath.KeyByFields("name", crds.ContainerName)
	return []fieldpath.Path{
		fieldpath.MakePathOrDie("spec", "template", "spec", "containers", container, "terminationMessagePolicy"),
	}
}

// withoutDeferred is want without those deferred fields that have never been set in live: what is there is the API server's default, which
// nobody owns. It is nil when there are none.
func withoutDeferred(want, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	var out *unstructured.Unstructured
	for _, path := range deferredPaths() {
		wanted, set := lookup(want.Object, path)
		is, _ := lookup(live.Object, path)
		if !set || wanted == is {
			continue
		}
		owners, err := ownersOf(live)
		if err != nil {
			return nil, err
		}
		if len(owners.sets) == 0 || ownedByAny(owners.sets, path) {
			continue
		}
		if out == nil {
			out = want.DeepCopy()
		}
		parent, _ := lookup(out.Object, path[:len(path)-1])
		if fields, ok := parent.(map[string]any); ok {
			delete(fields, *path[len(path)-1].FieldName)
		}
	}
	return out, nil
}

func ownedByAny(sets fieldpath.ManagedFields, path fieldpath.Path) bool {
	for _, set := range sets {
		if set.Set().Has(path) {
			return true
		}
	}
	return false
}

// rollsPods tells whether any of these changes starts pods anew.
func rollsPods(changes []FieldChange) bool {
	return slices.ContainsFunc(changes, func(f FieldChange) bool {
		return f.Op != FieldOwn && f.Op != FieldRelease && within(f.Path, ".spec.template")
	})
}

// deferFields takes deferred fields out of a change that would roll pods for them alone.
func (p *Planner) deferFields(c *Change) error {
	without, err := withoutDeferred(c.Want, c.Live)
	if without == nil || err != nil {
		return err
	}
	d, err := p.delta(c.Live, without)
	if err != nil {
		return err
	}
	if fields := d.fields(c.Live); !rollsPods(fields) {
		c.Want, c.delta, c.Fields = without, d, fields
	}
	return nil
}
