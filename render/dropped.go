package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/otelier/otelier/crds"
)

// droppedNulls are the paths in the configuration that were null in the manifest and are not there at all: kubectl drops nulls
// when it applies client-side, but remembers them in its annotation.
func droppedNulls(c *crds.Collector) []string {
	var applied struct {
		Spec struct {
			Config any `json:"config"`
		} `json:"spec"`
	}
	if err := json.Unmarshal([]byte(c.Annotations[crds.AnnotationLastApplied]), &applied); err != nil || c.Spec.Config.IsText {
		return nil // not applied so
	}
	tree, _ := applied.Spec.Config.(map[string]any)
	return missingNulls(configPath, tree, c.Spec.Config.Tree)
}

func missingNulls(path string, applied, stored map[string]any) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(applied)) {
		is, there := stored[k]
		if applied[k] == nil && !there {
			out = append(out, path+"."+k)
		}
		if below, ok := applied[k].(map[string]any); ok {
			if tree, ok := is.(map[string]any); ok {
				out = append(out, missingNulls(path+"."+k, below, tree)...)
			}
		}
	}
	return out
}

// withDropped adds to an error about the configuration what kubectl has dropped from it, which may be all that is wrong.
func withDropped(err error, dropped []string) error {
	field, ok := errors.AsType[*crds.FieldError](err)
	if !ok || len(dropped) == 0 {
		return err
	}
	return &crds.FieldError{Path: field.Path, Detail: fmt.Sprintf("%s; kubectl has dropped what was null: %s: write {}, or apply with --server-side",
		field.Detail, strings.Join(dropped, ", "))}
}
