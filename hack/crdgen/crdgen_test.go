package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const skeleton = `
crd:
  spec:
    versions:
      - {name: v1}
      - {name: v0, deprecated: true}
`

const types = `{"components": {"schemas": {
  "a.Port": {"type": "object", "description": "A port.", "required": ["number"], "x-kubernetes-group-version-kind": [],
    "properties": {
      "number": {"type": "integer", "default": 0, "enum": [1, 2]},
      "protocol": {"type": "string", "default": "TCP"},
      "target": {"allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.util.intstr.IntOrString"}], "description": "x"},
      "size": {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"}}},
  "a.Ports": {"type": "array", "x-kubernetes-patch-strategy": "merge",
    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["number", "protocol"],
    "items": {"allOf": [{"$ref": "#/components/schemas/a.Port"}], "default": {}}},
  "a.Unkeyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["size"],
    "items": {"$ref": "#/components/schemas/a.Port"}},
  "a.Tree": {"type": "object", "properties": {"child": {"$ref": "#/components/schemas/a.Tree"}}}
}}}`

// generated runs generate on one file of schema.
func generated(t *testing.T, schema string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "crd.yaml"), skeleton)
	write(t, filepath.Join(dir, "fields.yaml"), schema)
	out, err := generate(dir, documents(t))
	return string(out), err
}

// documents is a directory of OpenAPI documents with types in one of them.
func documents(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "api__v1_openapi.json"), types)
	for _, empty := range []string{"apis__apps__v1", "apis__autoscaling__v2", "apis__networking.k8s.io__v1"} {
		write(t, filepath.Join(dir, empty+"_openapi.json"), "{}")
	}
	return dir
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func kubernetesTypes(t *testing.T) *inliner {
	t.Helper()
	all, err := loadOpenAPI(documents(t))
	if err != nil {
		t.Fatal(err)
	}
	return &inliner{types: all}
}

func TestInlineKeepsOnlyWhatAStructuralSchemaNeeds(t *testing.T) {
	got, err := kubernetesTypes(t).inline("a.Ports")
	if err != nil {
		t.Fatal(err)
	}
	want := node{
		"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": []any{"number", "protocol"},
		"items": node{"type": "object", "required": []any{"number"}, "properties": node{
			"number":   node{"type": "integer"},
			"protocol": node{"type": "string", "default": "TCP"},
			"target":   node{"x-kubernetes-int-or-string": true, "anyOf": integerOrString()},
			"size":     node{"x-kubernetes-int-or-string": true, "anyOf": integerOrString(), "pattern": quantityPattern},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestInlineDropsDefaultsThatAreNotOfAKey(t *testing.T) {
	got, err := kubernetesTypes(t).inline("a.Port")
	if err != nil {
		t.Fatal(err)
	}
	if p := got["properties"].(node)["protocol"].(node); !reflect.DeepEqual(p, node{"type": "string"}) {
		t.Errorf("protocol: got %v, want no default", p)
	}
}

func TestResolveLaysOverReferences(t *testing.T) {
	r := &resolver{kubernetes: kubernetesTypes(t), definitions: map[string]node{
		"Named": {"$ref": "a.Port", "description": "from the definition", "required": nil},
	}}
	got, err := r.resolve(nil, node{
		"$ref": "#/definitions/Named", "description": "from the field",
		"properties": node{
			"number": node{"minimum": 1, "description": "n"},
			"target": nil, "protocol": nil, "size": nil,
			"more": node{"type": "string"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := node{"type": "object", "description": "from the field", "properties": node{
		"number": node{"type": "integer", "minimum": 1, "description": "n"},
		"more":   node{"type": "string"},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestExpand(t *testing.T) {
	got, err := expand([]rule{
		{Bad: "X.mode == 'X1' &&\n  has(X.b)", Message: "b: {self.mode} takes no \"b\"", FieldPath: ".b", Reason: "FieldValueForbidden"},
		{Transition: "self.mode == oldSelf.mode", Message: "fixed"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []any{
		node{
			"rule": "!(self.mode == 'X1' && has(self.b)) || " +
				"(oldSelf.hasValue() && (oldSelf.value().mode == 'X1' && has(oldSelf.value().b)))",
			"optionalOldSelf":   true,
			"messageExpression": `"b: " + self.mode + " takes no \"b\""`,
			"fieldPath":         ".b",
			"reason":            "FieldValueForbidden",
		},
		node{"rule": "self.mode == oldSelf.mode", "message": "fixed"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestGenerate(t *testing.T) {
	const schema = `
spec:
  config: {description: The configuration., x-kubernetes-preserve-unknown-fields: true}
  description: {type: string, description: A field of that name.}
rules:
  - {id: R, bad: has(X.description), message: no description}
`
	first, err := generated(t, schema)
	if err != nil {
		t.Fatal(err)
	}
	second, err := generated(t, schema)
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Error("two runs differ")
	}
	for text, times := range map[string]int{
		header: 1, "description: The configuration.": 1, "description: A field of that name.": 1,
		"description:\n                type: string": 1, "x-kubernetes-preserve-unknown-fields: true": 2, "optionalOldSelf: true": 2,
	} {
		if got := strings.Count(first, text); got != times {
			t.Errorf("%q is there %d times, want %d\n%s", text, got, times, first)
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	for name, c := range map[string]struct{ schema, want string }{
		"unknown type":       {"spec: {a: {properties: {b: {$ref: a.Nowhere}}}}", "spec.a: properties: b: type a.Nowhere: not in"},
		"unknown definition": {"status: {a: {$ref: '#/definitions/B'}}", "status.a: #/definitions/B: no such definition"},
		"recursive type":     {"spec: {a: {$ref: a.Tree}}", "recursive"},
		"key without value":  {"spec: {a: {$ref: a.Unkeyed}}", "list-map key size of a.Port: neither required nor defaulted"},
		"second skeleton":    {"crd: {}", "fields.yaml: crd: defined twice"},
		"rule without text":  {"rules: [{id: R, bad: has(X.a)}]", "rule R: message must be set"},
		"rule without X":     {"rules: [{id: R, bad: has(self.a), message: m}]", "rule R: bad does not mention X"},
		"rule of both kinds": {"rules: [{id: R, bad: X.a, transition: self.a, message: m}]", "exactly one of bad and transition"},
		"misspelt rule":      {"spec: {a: {rules: [{id: R, bda: has(X.a), message: m}]}}", `unknown field "bda"`},
		"misspelt section":   {"specs: {}", `unknown field "specs"`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := generated(t, c.schema); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "crd.yaml")
	args := []string{"-out", file}
	if err := run(t.Context(), args, os.Stderr); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), append(args, "-check"), os.Stderr); err != nil {
		t.Errorf("after writing: %v", err)
	}
	write(t, file, header)
	if err := run(t.Context(), append(args, "-check"), os.Stderr); err == nil || !strings.Contains(err.Error(), "run make generate") {
		t.Errorf("of another file: got error %v, want one that says what to run", err)
	}
}
