package reconcile

import (
	_ "embed"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/otelier/otelier/crds"
)

// schemaYAML is the part of client-go's schema that our kinds need. All of it, which can't be freed once it is parsed, takes 7 MB and
// a fifth of a second more.
//
//go:embed schema.yaml
var schemaYAML string

// applied are the kinds that are ever applied.
func applied() []crds.OwnedKind {
	return append(append(crds.OwnedKinds(), crds.ClaimKind(), crds.PodKind()), crds.ClusterKinds()...)
}

// typeName is what the schema calls a built-in kind: io.k8s.api.apps.v1.Deployment.
func typeName(gvk schema.GroupVersionKind) string {
	group, _, _ := strings.Cut(gvk.Group, ".")
	if group == "" {
		group = "core"
	}
	return "io.k8s.api." + group + "." + gvk.Version + "." + gvk.Kind
}

// typed reads u by the schema of its kind. Unknown fields are errors.
func (d *differ) typed(u *unstructured.Unstructured, options ...typed.ValidationOptions) (*typed.TypedValue, error) {
	t := d.parser.Type(typeName(u.GroupVersionKind()))
	if !t.IsValid() {
		return nil, fmt.Errorf("no schema for %s", u.GroupVersionKind())
	}
	return t.FromUnstructured(u.Object, options...)
}

// untyped is the object of a typed value.
func untyped(v *typed.TypedValue) (*unstructured.Unstructured, error) {
	m, ok := v.AsValue().Unstructured().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("got a %T, want an object", v.AsValue().Unstructured())
	}
	return &unstructured.Unstructured{Object: m}, nil
}
