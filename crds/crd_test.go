package crds

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// TestSpecAndSchemaAgree compares the CRD's properties of the spec and the status with the fields of the Go types: one that only
// the schema has would be ignored in silence, one that only Go has can never be set.
func TestSpecAndSchemaAgree(t *testing.T) {
	// What only the schema has: what is decoded apart, the spellings of v1alpha1, and of the status what older operators wrote
	// and what is not read from there.
	apart := []string{
		"spec.config", "spec.minReplicas", "spec.maxReplicas", "spec.updateStrategy",
		"spec.observability.metrics.DisablePrometheusAnnotations", "spec.targetAllocator.observability.metrics.DisablePrometheusAnnotations",
		"status.messages", "status.replicas", "status.inventory",
	}
	for _, version := range readCRD(t).Spec.Versions {
		t.Run(version.Name, func(t *testing.T) {
			for field, goType := range map[string]reflect.Type{"spec": reflect.TypeFor[Spec](), "status": reflect.TypeFor[Status]()} {
				props := version.Schema.OpenAPIV3Schema.Properties[field]
				compare(t, field, props, goType, apart)
			}
		})
	}
}

func compare(t *testing.T, path string, props apiextensions.JSONSchemaProps, goType reflect.Type, apart []string) {
	t.Helper()
	fields := jsonFields(goType)
	for name := range props.Properties {
		if _, ok := fields[name]; !ok && !slices.Contains(apart, path+"."+name) {
			t.Errorf("%s.%s: in the schema, not in Go's %s", path, name, goType)
		}
	}
	for name, below := range fields {
		prop, ok := props.Properties[name]
		if !ok {
			t.Errorf("%s.%s: in Go's %s, not in the schema", path, name, goType)
			continue
		}
		if below.Kind() == reflect.Slice && prop.Items != nil {
			prop = *prop.Items.Schema
		}
		for below.Kind() == reflect.Pointer || below.Kind() == reflect.Slice {
			below = below.Elem()
		}
		if below.Kind() == reflect.Struct && below.PkgPath() == reflect.TypeFor[Spec]().PkgPath() {
			compare(t, path+"."+name, prop, below, apart)
		}
	}
}

// jsonFields are the types of t's fields by their names in JSON.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name == "" && f.Anonymous:
			maps.Copy(out, jsonFields(f.Type))
		default:
			out[name] = f.Type
		}
	}
	return out
}

func readCRD(t *testing.T) *apiextensions.CustomResourceDefinition {
	t.Helper()
	var crd apiextensions.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(YAML(), &crd); err != nil {
		t.Fatal(err)
	}
	return &crd
}

// TestCRDHasTheNamesOfGo compares what the CRD and the constants say about the same thing.
func TestCRDHasTheNamesOfGo(t *testing.T) {
	crd := readCRD(t)
	if crd.Name != Resource+"."+Group || crd.Spec.Group != Group || crd.Spec.Names.Kind != Kind || crd.Spec.Names.Plural != Resource {
		t.Errorf("the CRD is called %s, of %s %s %s", crd.Name, crd.Spec.Group, crd.Spec.Names.Kind, crd.Spec.Names.Plural)
	}
	served := map[string]bool{}
	for _, v := range crd.Spec.Versions {
		served[v.Name] = v.Served
		if v.Storage != (v.Name == VersionV1Beta1) {
			t.Errorf("%s: storage is %t", v.Name, v.Storage)
		}
		enum := v.Schema.OpenAPIV3Schema.Properties["spec"].Properties["mode"].Enum
		for _, mode := range []string{ModeDeployment, ModeDaemonSet, ModeStatefulSet, ModeSidecar} {
			if !slices.ContainsFunc(enum, func(j apiextensions.JSON) bool { return string(j.Raw) == `"`+mode+`"` }) {
				t.Errorf("%s: mode %s is not accepted", v.Name, mode)
			}
		}
	}
	if !served[VersionV1Beta1] || !served[VersionV1Alpha1] || len(served) != 2 {
		t.Errorf("served: %v", served)
	}
	if got := CollectorResource(); got != (schema.GroupVersionResource{Group: Group, Version: VersionV1Beta1, Resource: Resource}) {
		t.Errorf("CollectorResource is %v", got)
	}
}

func TestYAMLIsACopy(t *testing.T) {
	first := YAML()
	first[0] ^= 0xff
	if first[0] == YAML()[0] {
		t.Error("a change to what YAML has returned shows in what it returns next")
	}
}

func TestKindOf(t *testing.T) {
	var stages []Stage
	for _, want := range OwnedKinds() {
		got, ok := KindOf(want.GVK.GroupKind())
		if !ok || got != want {
			t.Errorf("%s: got %v", want.GVK, got)
		}
		if gvr := got.GVR(); gvr.Group != want.GVK.Group || gvr.Version != want.GVK.Version || gvr.Resource != want.Resource {
			t.Errorf("%s: is at %s", want.GVK, gvr)
		}
		stages = append(stages, got.Stage)
	}
	if !slices.IsSorted(stages) {
		t.Errorf("stages %v are not in the order in which they run", stages)
	}
	for _, gk := range []schema.GroupKind{{Kind: "Node"}, {Kind: "Deployment"}, {Group: "apps", Kind: "Service"}, {}} {
		if k, ok := KindOf(gk); ok {
			t.Errorf("%s: found %v", gk, k)
		}
	}
}

func TestUnsupportedFields(t *testing.T) {
	for spec, want := range map[string]string{
		`{config: {}}`: "",
		`{config: {}, targetAllocator: {enabled: false}, networkPolicy: {enabled: false}, httpRoute: {}, ingress: {hostname: a}}`: "",
		`{config: {}, observability: {metrics: {disablePrometheusAnnotations: true}}}`:                                            "",
		`{config: a, maxReplicas: 3}`:    "spec.autoscaler",
		`{config: {}, mode: sidecar}`:    "spec.mode: sidecar",
		`{config: {}, autoscaler: null}`: "",
		`{config: {}, targetAllocator: {enabled: true, replicas: 1, resources: {}, env: [], observability: {metrics: {}}, mtls: {enabled: false}}}`:                                             "",
		`{config: {}, targetAllocator: {image: a, replicas: 2, mtls: {enabled: true}}}`:                                                                                                         "",
		`{config: {}, targetAllocator: {enabled: true, image: a, replicas: 0, mtls: {enabled: true}}}`:                                                                                          "spec.targetAllocator.image spec.targetAllocator.mtls spec.targetAllocator.replicas",
		`{config: {}, targetAllocator: {enabled: true}, networkPolicy: {enabled: true}, httpRoute: {enabled: true}, ingress: {type: ingress}, observability: {metrics: {enableMetrics: true}}}`: "spec.httpRoute spec.ingress spec.networkPolicy spec.observability.metrics.enableMetrics",
	} {
		c, err := Decode(object(t, VersionV1Beta1, spec))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Spec.UnsupportedFields(), " "); got != want {
			t.Errorf("%s: got %q, want %q", spec, got, want)
		}
	}
}
