package operator_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// wantPlanned compares what a plan has said with what the objects were before it was carried out, and are now.
func wantPlanned(t *testing.T, doc plan, before, after map[string]*unstructured.Unstructured) {
	t.Helper()
	said := map[string]planned{}
	for _, c := range doc.Collectors {
		for _, change := range c.Changes {
			said[change.Kind+"/"+change.Name] = change
		}
	}
	for object := range maps.Keys(union(before, after)) {
		change, was, is := said[object], before[object], after[object]
		happened := ""
		switch {
		case was == nil && is.GetKind() == "PersistentVolumeClaim":
			continue // of a new pod
		case was == nil:
			happened = "create"
		case is == nil:
			happened = "delete"
		case was.GetUID() != is.GetUID():
			happened = "replace"
		case len(changedLeaves(was, is)) > 0:
			happened = "update"
		}
		if change.Action != happened {
			t.Errorf("%s: diff has said %q, and what happened is %q: %v", object, change.Action, happened, changedLeaves(was, is))
		}
		if happened == "update" || happened == "replace" {
			wantFields(t, object, change, changedLeaves(was, is))
		}
		delete(said, object)
	}
	for object, change := range said {
		t.Errorf("%s: diff has said %q, and there was and is no such object", object, change.Action)
	}
}

// wantFields holds that every leaf which has changed is in a field that was named, and that every such field has changed.
func wantFields(t *testing.T, object string, change planned, leaves []string) {
	t.Helper()
	var paths []string
	for _, f := range change.Fields {
		if f.Op == "set" || f.Op == "unset" || f.Op == "reorder" {
			paths = append(paths, f.Path)
		}
	}
	for _, leaf := range leaves {
		if !slices.ContainsFunc(paths, func(path string) bool { return strings.HasPrefix(leaf, path) }) {
			t.Errorf("%s: %s has changed, and diff has named only %v", object, leaf, paths)
		}
	}
	for _, path := range paths {
		if !slices.ContainsFunc(leaves, func(leaf string) bool { return strings.HasPrefix(leaf, path) }) {
			t.Errorf("%s: diff has named %s, and only %v have changed", object, path, leaves)
		}
	}
}

func union(a, b map[string]*unstructured.Unstructured) map[string]bool {
	out := map[string]bool{}
	for k := range a {
		out[k] = true
	}
	for k := range b {
		out[k] = true
	}
	return out
}

// changedLeaves are the paths at which two states of an object differ, but for what the API server and the controllers of Kubernetes
// write. Elements of lists are known by their names, as in managedFields.
func changedLeaves(was, is *unstructured.Unstructured) []string {
	if was == nil || is == nil {
		return nil
	}
	a, b := map[string]string{}, map[string]string{}
	leaves(a, "", was.Object)
	leaves(b, "", is.Object)
	var out []string
	for path := range a {
		if b[path] != a[path] {
			out = append(out, path)
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(out, func(path string) bool {
		return slices.ContainsFunc([]string{
			".status", ".metadata.resourceVersion", ".metadata.generation", ".metadata.managedFields", ".metadata.uid", ".metadata.creationTimestamp",
			`.metadata.annotations["deployment.kubernetes.io/revision"]`,
		}, func(theirs string) bool { return strings.HasPrefix(path, theirs) })
	})
}

func leaves(out map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if strings.ContainsAny(k, "./ ") {
				leaves(out, fmt.Sprintf("%s[%q]", path, k), e)
			} else {
				leaves(out, path+"."+k, e)
			}
		}
	case []any:
		for i, e := range v {
			key := fmt.Sprintf("[%d]", i)
			if m, ok := e.(map[string]any); ok && m["name"] != nil {
				key = fmt.Sprintf("[name=%q]", m["name"])
			}
			leaves(out, path+key, e)
		}
	default:
		out[path] = fmt.Sprint(v)
	}
}
