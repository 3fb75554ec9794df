package crds

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apivalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// Admission does offline what an API server with our CRDs does when a collector is created: it is made of the same code, so
// that what passes here passes there.
type Admission struct {
	versions map[string]*versionAdmission
}

type versionAdmission struct {
	structural *schema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
}

// NewAdmission reads the CRDs. It takes some 100 ms, most of it for compiling the rules.
func NewAdmission() (*Admission, error) {
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(collectorCRD, &crd); err != nil {
		return nil, fmt.Errorf("read the CRD: %w", err)
	}
	a := &Admission{versions: map[string]*versionAdmission{}}
	for _, v := range crd.Spec.Versions {
		var props apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &props, nil); err != nil {
			return nil, fmt.Errorf("read the CRD: version %s: %w", v.Name, err)
		}
		structural, err := schema.NewStructural(&props)
		if err != nil {
			return nil, fmt.Errorf("read the CRD: version %s: %w", v.Name, err)
		}
		validator, _, err := validation.NewSchemaValidator(&props)
		if err != nil {
			return nil, fmt.Errorf("read the CRD: version %s: %w", v.Name, err)
		}
		a.versions[v.Name] = &versionAdmission{structural, validator, cel.NewValidator(structural, true, celconfig.PerCallLimit)}
	}
	return a, nil
}

// Create returns u as an API server would store it: with the defaults of the schema. Errors name the fields that it would
// refuse, and, as kubectl asks for by default, those that it does not know. u is not modified.
func (a *Admission) Create(ctx context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	gvk := u.GroupVersionKind()
	v, ok := a.versions[gvk.Version]
	if gvk.Group != Group || gvk.Kind != Kind || !ok {
		return nil, &FieldError{"apiVersion, kind", fmt.Sprintf("got %s %s, want %s/%s or %s/%s %s",
			u.GetAPIVersion(), u.GetKind(), Group, VersionV1Beta1, Group, VersionV1Alpha1, Kind)}
	}
	out := u.DeepCopy()
	var errs []error
	for _, p := range pruning.PruneWithOptions(out.Object, v.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		errs = append(errs, fmt.Errorf("unknown field %q", p))
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(out.Object, v.structural)
	defaulting.Default(out.Object, v.structural)
	found := slices.Concat(
		nameErrors(out.GetName()),
		validation.ValidateCustomResource(nil, out.UnstructuredContent(), v.validator),
		listtype.ValidateListSetsAndMaps(nil, v.structural, out.Object),
	)
	if len(found) == 0 { // rules rely on the types, as on the server
		found, _ = v.rules.Validate(ctx, nil, v.structural, out.Object, nil, celconfig.RuntimeCELCostBudget)
	}
	for _, e := range found {
		errs = append(errs, e)
	}
	return out, errors.Join(errs...)
}

// nameErrors are those of a name that is no DNS subdomain, which is what names of custom resources are.
func nameErrors(name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(field.NewPath("metadata", "name"), "a collector needs a name")}
	}
	var out field.ErrorList
	for _, msg := range apivalidation.IsDNS1123Subdomain(name) {
		out = append(out, field.Invalid(field.NewPath("metadata", "name"), name, msg))
	}
	return out
}
