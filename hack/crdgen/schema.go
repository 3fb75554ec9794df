package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

const definitionPrefix = "#/definitions/"

// source is the content of the hand-written schema: every *.yaml of a directory, merged.
type source struct {
	// CRD is the CustomResourceDefinition without versions' schemas; one file has it.
	CRD node `json:"crd"`
	// Definitions are schemas to refer to as "#/definitions/NAME".
	Definitions map[string]node `json:"definitions"`
	// Spec and Status are the properties below .spec and .status.
	Spec   map[string]node `json:"spec"`
	Status map[string]node `json:"status"`
	// Rules are the validation rules of .spec.
	Rules []rule `json:"rules"`
}

// loadSource reads dir's files in the order of their names. The same name in two files is an error.
func loadSource(dir string) (source, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return source{}, err
	}
	if len(files) == 0 {
		return source{}, fmt.Errorf("schema: no *.yaml in %s", dir)
	}
	all := source{Definitions: map[string]node{}, Spec: map[string]node{}, Status: map[string]node{}}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return source{}, fmt.Errorf("schema: %w", err)
		}
		var part source
		if err := yaml.UnmarshalStrict(raw, &part); err != nil {
			return source{}, fmt.Errorf("schema: %s: %w", file, err)
		}
		if err := all.add(part); err != nil {
			return source{}, fmt.Errorf("schema: %s: %w", file, err)
		}
	}
	if all.CRD == nil {
		return source{}, fmt.Errorf("schema: no file in %s has the key crd", dir)
	}
	return all, nil
}

func (s *source) add(part source) error {
	if part.CRD != nil {
		if s.CRD != nil {
			return fmt.Errorf("crd: defined twice")
		}
		s.CRD = part.CRD
	}
	for _, section := range []struct {
		name     string
		all, add map[string]node
	}{
		{"definitions", s.Definitions, part.Definitions},
		{"spec", s.Spec, part.Spec},
		{"status", s.Status, part.Status},
	} {
		for _, name := range slices.Sorted(maps.Keys(section.add)) {
			if _, twice := section.all[name]; twice {
				return fmt.Errorf("%s.%s: defined twice", section.name, name)
			}
			section.all[name] = section.add[name]
		}
	}
	s.Rules = append(s.Rules, part.Rules...)
	return nil
}

// resolver replaces the references of the hand-written schema and expands its rules.
type resolver struct {
	definitions map[string]node
	kubernetes  *inliner
}

// properties resolves each of a section's schemas.
func (r *resolver) properties(section map[string]node) (node, error) {
	out := node{}
	for _, name := range slices.Sorted(maps.Keys(section)) {
		schema, err := r.resolve(nil, section[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = schema
	}
	return out, nil
}

// resolve lays schema over base: a "$ref" replaces base, null removes a key, "rules" becomes x-kubernetes-validations.
// base may be nil; it is changed.
func (r *resolver) resolve(base, schema node) (node, error) {
	if ref, ok := schema["$ref"].(string); ok {
		var err error
		if base, err = r.lookup(ref); err != nil {
			return nil, err
		}
	}
	if base == nil {
		base = node{}
	}
	for _, key := range slices.Sorted(maps.Keys(schema)) {
		if err := r.overlay(base, key, schema[key]); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return base, nil
}

// overlay lays one key of a hand-written schema over base.
func (r *resolver) overlay(base node, key string, value any) error {
	child, isObject := value.(node)
	switch {
	case key == "$ref":
	case value == nil:
		delete(base, key)
	case key == "rules":
		rules, err := parseRules(value)
		if err != nil {
			return err
		}
		base["x-kubernetes-validations"], err = expand(rules)
		return err
	case key == "properties" && isObject:
		properties, _ := base[key].(node)
		if properties == nil {
			properties = node{}
			base[key] = properties
		}
		for _, name := range slices.Sorted(maps.Keys(child)) {
			if err := r.overlaySchema(properties, name, child[name]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	case key == "items" || key == "additionalProperties":
		return r.overlaySchema(base, key, value)
	default:
		base[key] = value
	}
	return nil
}

// overlaySchema lays a hand-written schema over the one in parent[key].
func (r *resolver) overlaySchema(parent node, key string, value any) error {
	if value == nil {
		delete(parent, key)
		return nil
	}
	schema, ok := value.(node)
	if !ok {
		return fmt.Errorf("must be an object, is %v", value)
	}
	under, _ := parent[key].(node)
	resolved, err := r.resolve(under, schema)
	parent[key] = resolved
	return err
}

func (r *resolver) lookup(ref string) (node, error) {
	name, local := strings.CutPrefix(ref, definitionPrefix)
	if !local {
		return r.kubernetes.inline(ref)
	}
	definition, ok := r.definitions[name]
	if !ok {
		return nil, fmt.Errorf("%s: no such definition", ref)
	}
	return r.resolve(nil, definition)
}
