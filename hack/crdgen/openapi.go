package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	refPrefix   = "#/components/schemas/"
	intOrString = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
	quantity    = "io.k8s.apimachinery.pkg.api.resource.Quantity"
	objectMeta  = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

	// quantityPattern accepts what resource.ParseQuantity does
	// (k8s.io/apimachinery/pkg/api/resource/quantity.go, the grammar of its doc comment).
	quantityPattern = `^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$`
)

// node is one JSON object of a schema.
type node = map[string]any

// openAPIDirectory finds api/openapi-spec/v3 of the version of k8s.io/kubernetes that the module in dir requires;
// Go downloads it if it is not in the module cache yet.
func openAPIDirectory(ctx context.Context, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", "k8s.io/kubernetes")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("find k8s.io/kubernetes from %s: %w", dir, err)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return "", fmt.Errorf("find k8s.io/kubernetes from %s: %w", dir, err)
	}
	return filepath.Join(module.Dir, "api", "openapi-spec", "v3"), nil
}

// loadOpenAPI merges the component schemas of the OpenAPI v3 documents that hold the types a collector embeds.
func loadOpenAPI(dir string) (map[string]node, error) {
	all := map[string]node{}
	for _, api := range []string{"api__v1", "apis__apps__v1", "apis__autoscaling__v2", "apis__networking.k8s.io__v1"} {
		file := filepath.Join(dir, api+"_openapi.json")
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("kubernetes OpenAPI: %w", err)
		}
		var doc struct {
			Components struct {
				Schemas map[string]node `json:"schemas"`
			} `json:"components"`
		}
		if err := json.Unmarshal(raw, &doc); err != nil {
			return nil, fmt.Errorf("kubernetes OpenAPI: %s: %w", file, err)
		}
		maps.Copy(all, doc.Components.Schemas)
	}
	return all, nil
}

// inliner turns Kubernetes' OpenAPI types into structural schemas: no references, descriptions, defaults, enums or
// patch strategies. Enums are left to the API server that gets the rendered object: it may know newer values.
type inliner struct {
	types map[string]node
	stack []string
}

// inline returns a fresh structural schema of the named type.
func (in *inliner) inline(name string) (node, error) {
	switch name {
	case intOrString:
		return node{"x-kubernetes-int-or-string": true, "anyOf": integerOrString()}, nil
	case quantity:
		return node{"x-kubernetes-int-or-string": true, "anyOf": integerOrString(), "pattern": quantityPattern}, nil
	case objectMeta:
		return embeddedObjectMeta(), nil
	}
	if slices.Contains(in.stack, name) {
		return nil, fmt.Errorf("type %s: recursive: %s", name, strings.Join(in.stack, " > "))
	}
	typ, ok := in.types[name]
	if !ok {
		return nil, fmt.Errorf("type %s: not in Kubernetes' OpenAPI documents", name)
	}
	in.stack = append(in.stack, name)
	defer func() { in.stack = in.stack[:len(in.stack)-1] }()
	out, err := in.convert(typ)
	if err != nil {
		return nil, fmt.Errorf("type %s: %w", name, err)
	}
	return out, nil
}

// convert copies what a structural schema may hold of one OpenAPI schema.
func (in *inliner) convert(schema node) (node, error) {
	if name, ok := reference(schema); ok {
		return in.inline(name)
	}
	out := node{}
	for _, key := range []string{
		"type", "format", "required",
		"x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
	} {
		if value, ok := schema[key]; ok {
			out[key] = value
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		child, ok := schema[key].(node)
		if !ok {
			continue
		}
		converted, err := in.convert(child)
		if err != nil {
			return nil, err
		}
		out[key] = converted
	}
	if properties, ok := schema["properties"].(node); ok {
		converted := node{}
		for name, property := range properties {
			p, err := in.convert(property.(node))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			converted[name] = p
		}
		out["properties"] = converted
	}
	return out, in.keepKeyDefaults(schema, out)
}

// keepKeyDefaults copies the defaults of the keys of a list map: without it an optional key would make the schema
// invalid (apiextensions wants each key required or defaulted).
func (in *inliner) keepKeyDefaults(schema, out node) error {
	keys, _ := schema["x-kubernetes-list-map-keys"].([]any)
	if len(keys) == 0 {
		return nil
	}
	name, ok := reference(schema["items"].(node))
	if !ok {
		return nil
	}
	source, _ := in.types[name]["properties"].(node)
	items := out["items"].(node)
	required, _ := items["required"].([]any)
	for _, key := range keys {
		if slices.Contains(required, key) {
			continue
		}
		value, ok := source[key.(string)].(node)["default"]
		if !ok || value == "" {
			return fmt.Errorf("list-map key %v of %s: neither required nor defaulted", key, name)
		}
		items["properties"].(node)[key.(string)].(node)["default"] = value
	}
	return nil
}

// reference returns the type's name of a {"$ref"} or a {"allOf": [{"$ref"}]} schema.
func reference(schema node) (string, bool) {
	if all, ok := schema["allOf"].([]any); ok && len(all) == 1 {
		schema = all[0].(node)
	}
	ref, ok := schema["$ref"].(string)
	return strings.TrimPrefix(ref, refPrefix), ok
}

func integerOrString() []any {
	return []any{node{"type": "integer"}, node{"type": "string"}}
}

// embeddedObjectMeta is the part of ObjectMeta that a template may carry. creationTimestamp is there because Go programs
// print it as null in every template: a declared field's null is dropped, an undeclared field is an error.
func embeddedObjectMeta() node {
	text := func() node { return node{"type": "string"} }
	texts := func() node { return node{"type": "object", "additionalProperties": text()} }
	return node{"type": "object", "properties": node{
		"annotations":       texts(),
		"creationTimestamp": node{"type": "string", "format": "date-time", "nullable": true},
		"finalizers":        node{"type": "array", "items": text(), "x-kubernetes-list-type": "set"},
		"labels":            texts(),
		"name":              text(),
		"namespace":         text(),
	}}
}
