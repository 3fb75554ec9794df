package reconcile

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/schema"

	"github.com/otelier/otelier/crds"
)

var update = flag.Bool("update", false, "rewrite schema.yaml")

// TestSchema keeps schema.yaml what client-go says of the kinds that collectors own.
func TestSchema(t *testing.T) {
	want := schema.Schema{}
	for _, k := range applied() {
		tv, err := applyconfigurations.NewTypeConverter(scheme.Scheme).ObjectToTyped(&unstructured.Unstructured{Object: map[string]any{
			"apiVersion": k.GVK.GroupVersion().String(), "kind": k.GVK.Kind,
		}})
		if err != nil {
			t.Fatal(err)
		}
		ref := tv.TypeRef()
		if *ref.NamedType != typeName(k.GVK) {
			t.Fatalf("%s is called %s", k.GVK, *ref.NamedType)
		}
		reach(t, tv.Schema(), ref, &want)
	}
	slices.SortFunc(want.Types, func(a, b schema.TypeDef) int { return strings.Compare(a.Name, b.Name) })
	data, err := yaml.Marshal(&want)
	if err != nil {
		t.Fatal(err)
	}
	text := "# The schemas of what collectors own, for server-side apply: from k8s.io/client-go/applyconfigurations by `make generate`.\n" + string(data)
	if *update {
		if err := os.WriteFile("schema.yaml", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return // what is embedded is the former one
	}
	if text != schemaYAML {
		t.Error("schema.yaml is not what client-go has: run `make generate`")
	}
}

// reach adds a type and all that it refers to.
func reach(t *testing.T, from *schema.Schema, ref schema.TypeRef, into *schema.Schema) {
	t.Helper()
	atom := ref.Inlined
	if ref.NamedType != nil {
		if slices.ContainsFunc(into.Types, func(d schema.TypeDef) bool { return d.Name == *ref.NamedType }) {
			return
		}
		def, ok := from.FindNamedType(*ref.NamedType)
		if !ok {
			t.Fatalf("no type %s", *ref.NamedType)
		}
		into.Types = append(into.Types, def)
		atom = def.Atom
	}
	if atom.Map != nil {
		for _, f := range atom.Fields {
			reach(t, from, f.Type, into)
		}
		reach(t, from, atom.Map.ElementType, into)
	}
	if atom.List != nil {
		reach(t, from, atom.List.ElementType, into)
	}
}

func TestEveryAppliedKindHasASchema(t *testing.T) {
	for _, k := range append(crds.OwnedKinds(), crds.ClaimKind(), crds.PodKind()) {
		if !slices.Contains(applied(), k) {
			t.Errorf("%s: not in the schema", k.GVK)
		}
	}
}
