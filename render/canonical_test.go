package render

import (
	"testing"

	"k8s.io/client-go/applyconfigurations"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/schema"

	"github.com/otelier/otelier/crds"
)

// TestIsAtomic holds isAtomic against the schema of all kinds that are rendered: a structure's field must be among its keys when it
// is atomic, and must not be called like one of them when it isn't.
func TestIsAtomic(t *testing.T) {
	converter := applyconfigurations.NewTypeConverter(scheme.Scheme)
	walk := atomicWalk{found: map[string]string{}, at: map[string]bool{}}
	for _, mode := range []string{crds.ModeDeployment, crds.ModeDaemonSet, crds.ModeStatefulSet} {
		result, err := Collector(&crds.Collector{Namespace: "default", Name: "simplest", Spec: crds.Spec{
			Mode: mode, Config: crds.Config{IsText: true}, Args: map[string]string{"set": "x=y"},
		}}, Options{Image: "example.com/collector:1"})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range result.Objects {
			typed, err := converter.ObjectToTyped(o)
			if err != nil {
				t.Fatal(err)
			}
			walk.schema = typed.Schema()
			walk.fields(t, o.GetKind(), typed.TypeRef())
		}
	}
	for _, key := range []string{"selector", "fieldRef", "sources", "volumeClaimTemplates"} {
		if walk.found[key] == "" {
			t.Errorf("%s: not found in the schema, so the walk can't show anything", key)
		}
	}
}

type atomicWalk struct {
	schema *schema.Schema
	found  map[string]string // a path of each atomic field
	at     map[string]bool   // the types on the way, to which they may lead back
}

func (w *atomicWalk) fields(t *testing.T, path string, ref schema.TypeRef) {
	t.Helper()
	atom, ok := w.schema.Resolve(ref)
	if !ok {
		t.Fatalf("%s: has no type", path)
	}
	if atom.List != nil {
		w.fields(t, path+"[]", atom.List.ElementType)
		return
	}
	if atom.Map == nil || ref.NamedType != nil && w.at[*ref.NamedType] {
		return
	}
	if ref.NamedType != nil {
		w.at[*ref.NamedType] = true
		defer delete(w.at, *ref.NamedType)
	}
	for _, f := range atom.Fields {
		if f.Name == "status" { // which is not rendered
			continue
		}
		below := path + "." + f.Name
		switch structured, atomic := w.kind(f.Type); {
		case structured && atomic:
			w.found[f.Name] = below
			if !isAtomic(f.Name) {
				t.Errorf("%s is atomic, but not among the keys that are", below)
			}
		case structured:
			if isAtomic(f.Name) {
				t.Errorf("%s is not atomic, but called like one that is", below)
			}
			w.fields(t, below, f.Type)
		}
	}
}

// kind tells whether the type is a structure or a list of structures, and whether it, or each of the list, is atomic.
func (w *atomicWalk) kind(ref schema.TypeRef) (structured, atomic bool) {
	atom, ok := w.schema.Resolve(ref)
	switch {
	case ok && atom.List != nil:
		structured, atomic = w.kind(atom.List.ElementType)
		return structured, atomic || atom.List.ElementRelationship == schema.Atomic
	case ok && atom.Map != nil:
		return len(atom.Fields) > 0, atom.Map.ElementRelationship == schema.Atomic
	default:
		return false, false
	}
}

// TestToUnstructuredOfAnotherKind shows that a new kind of object can't be rendered without telling its API type.
func TestToUnstructuredOfAnotherKind(t *testing.T) {
	if u, err := toUnstructured(core.Secret("a", "b")); err == nil {
		t.Errorf("got %v, want an error", u)
	}
}
