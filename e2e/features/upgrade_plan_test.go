package features_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

// plan is the part of what otelier diff -o json prints that is held against what happens.
type plan struct {
	Kind       string
	Collectors []struct {
		Namespace, Name, Problem string
		Changes                  []change
	}
}

type change struct {
	Group, Kind, Name, Action string
	Fields                    []struct {
		Path, Op string
		New      any
	}
}

// changes is how many objects the plan changes.
func (p plan) changes() int {
	n := 0
	for _, c := range p.Collectors {
		n += len(c.Changes)
	}
	return n
}

func (p plan) collectorsChanged() int {
	n := 0
	for _, c := range p.Collectors {
		n += min(1, len(c.Changes))
	}
	return n
}

// rollsPods tells whether pods are started anew by the change.
func (c change) rollsPods() bool {
	for _, f := range c.Fields {
		if strings.HasPrefix(f.Path, ".spec.template") && (f.Op == "set" || f.Op == "unset") {
			return true
		}
	}
	return false
}

// planOf is what otelier diff -A of the suite's version says of the scene, with the settings that its operator will have: those of the
// manifest.
func planOf(t *testing.T, s *steps.Scene) plan {
	t.Helper()
	manifest, err := s.Manifest(t.Context(), s.Installed.Flags()...)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), s.Binary, "diff", "--all-namespaces", "--output", "json", "--exit-code=false", "--kubeconfig", s.Cluster.Kubeconfig())
	cmd.Env = append(program.Environment(), settingsOf(t, manifest)...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	runErr := cmd.Run() // what it says of other scenes is none of this one's business
	var p plan
	if err := json.Unmarshal(out.Bytes(), &p); err != nil || p.Kind != "Plan" {
		t.Fatalf("otelier diff: %v, %v:\n%s\n%s", runErr, err, out.String(), stderr.String())
	}
	there := p.Collectors[:0]
	for _, c := range p.Collectors {
		if c.Namespace == s.Namespace {
			there = append(there, c)
		}
	}
	p.Collectors = there
	return p
}

// settingsOf are the environment variables of the operator in a manifest.
func settingsOf(t *testing.T, manifest []byte) []string {
	t.Helper()
	var out []string
	for text := range strings.SplitSeq(string(manifest), "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
			t.Fatalf("manifest: %v", err)
		}
		containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
		for _, c := range containers {
			container, _ := c.(map[string]any)
			variables, _, _ := unstructured.NestedSlice(container, "env")
			for _, v := range variables {
				if variable, ok := v.(map[string]any); ok && variable["value"] != nil {
					out = append(out, fmt.Sprintf("%v=%v", variable["name"], variable["value"]))
				}
			}
		}
	}
	return out
}

// wantMade fails the test unless an object has become what the change says; the zero change says that nothing is written.
func (c change) wantMade(t *testing.T, key string, before, after *unstructured.Unstructured) {
	t.Helper()
	there := func(u *unstructured.Unstructured) bool { return u != nil }
	switch c.Action {
	case "":
		if !there(before) || !there(after) || !leftAlone(before, after) {
			t.Errorf("%s: is changed, and that was not planned:\nbefore %v\nafter  %v", key, before, after)
		}
	case "create":
		if there(before) || !there(after) {
			t.Errorf("%s: planned to be created; it was there before: %t, after: %t", key, there(before), there(after))
		}
	case "delete":
		if !there(before) || there(after) {
			t.Errorf("%s: planned to be deleted; it was there before: %t, after: %t", key, there(before), there(after))
		}
	default:
		if !there(before) || !there(after) {
			t.Errorf("%s: planned to %s; it was there before: %t, after: %t", key, c.Action, there(before), there(after))
			return
		}
		if replaced := before.GetUID() != after.GetUID(); replaced != (c.Action == "replace") {
			t.Errorf("%s: planned to %s, and was made anew: %t", key, c.Action, replaced)
		}
		c.wantFields(t, key, before, after)
	}
}

// leftAlone tells whether the operator has left an object alone. Controllers of Kubernetes may have written its status.
func leftAlone(before, after *unstructured.Unstructured) bool {
	ours := func(u *unstructured.Unstructured) []any {
		entries, _, _ := unstructured.NestedSlice(u.Object, "metadata", "managedFields")
		return slices.DeleteFunc(entries, func(e any) bool { entry, _ := e.(map[string]any); return entry["manager"] != "otelier" })
	}
	return before.GetUID() == after.GetUID() && before.GetGeneration() == after.GetGeneration() &&
		reflect.DeepEqual(sorted(specified(before)), sorted(specified(after))) && reflect.DeepEqual(ours(before), ours(after))
}

// wantFields makes the planned changes to what was there, and compares the result with what is there now.
func (c change) wantFields(t *testing.T, key string, before, after *unstructured.Unstructured) {
	t.Helper()
	was, is := specified(before), specified(after)
	predicted := specified(before)
	for _, f := range c.Fields {
		if f.Op != "set" && f.Op != "unset" {
			continue
		}
		path := parsePath(t, f.Path)
		now, there := valueAt(is, path)
		if old, had := valueAt(was, path); there == had && reflect.DeepEqual(old, now) {
			t.Errorf("%s: %s was planned to be %s, and is as before: %v", key, f.Path, f.Op, now)
		}
		predicted = withValue(predicted, path, now, there).(map[string]any)
	}
	if got, want := sorted(is), sorted(predicted); !reflect.DeepEqual(got, want) {
		t.Errorf("%s: there are changes besides those planned, which are %+v:\nplanned %v\nis      %v", key, c.Fields, want, got)
	}
}

// specified is an object without what others than the operator write into it, and what counts the writes.
func specified(u *unstructured.Unstructured) map[string]any {
	out := u.DeepCopy()
	delete(out.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"} {
		unstructured.RemoveNestedField(out.Object, "metadata", field)
	}
	for _, annotation := range []string{"deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation"} {
		unstructured.RemoveNestedField(out.Object, "metadata", "annotations", annotation)
	}
	return out.Object
}

// step is one of a path: a field, or the element of a list that has these values.
type step struct {
	field string
	keys  map[string]string
}

// parsePath reads a path as diff prints it: .spec.ports[name="a",protocol="TCP"].port, .metadata.labels["example.com/a"].
func parsePath(t *testing.T, path string) []step {
	t.Helper()
	var out []step
	rest := path
	for rest != "" {
		switch m := regexp.MustCompile(`^\.([A-Za-z0-9_-]+)|^\["((?:[^"\\]|\\.)*)"\]|^\[([^"\]]+=(?:"(?:[^"\\]|\\.)*"|[^\],]+)(?:,[^\]]*)?)\]`).FindStringSubmatch(rest); {
		case m == nil:
			t.Fatalf("path %s: can't read %s", path, rest)
		case m[1] != "":
			out, rest = append(out, step{field: m[1]}), rest[len(m[0]):]
		case m[3] != "":
			keys := map[string]string{}
			for _, k := range regexp.MustCompile(`([A-Za-z0-9]+)=("(?:[^"\\]|\\.)*"|[^,]+)`).FindAllStringSubmatch(m[3], -1) {
				value := k[2]
				if text, err := strconv.Unquote(value); err == nil {
					value = text
				}
				keys[k[1]] = value
			}
			out, rest = append(out, step{keys: keys}), rest[len(m[0]):]
		default:
			out, rest = append(out, step{field: m[2]}), rest[len(m[0]):]
		}
	}
	return out
}

func (s step) index(list []any) int {
	return slices.IndexFunc(list, func(e any) bool {
		m, ok := e.(map[string]any)
		for k, v := range s.keys {
			ok = ok && fmt.Sprint(m[k]) == v
		}
		return ok
	})
}

func valueAt(root any, path []step) (any, bool) {
	for _, s := range path {
		if s.keys == nil {
			m, _ := root.(map[string]any)
			v, ok := m[s.field]
			if !ok {
				return nil, false
			}
			root = v
			continue
		}
		list, _ := root.([]any)
		i := s.index(list)
		if i < 0 {
			return nil, false
		}
		root = list[i]
	}
	return root, true
}

// withValue is root with another value at a path, or with none.
func withValue(root any, path []step, value any, there bool) any {
	if len(path) == 0 {
		return value
	}
	s, last := path[0], len(path) == 1
	if s.keys == nil {
		m, _ := root.(map[string]any)
		if m == nil {
			m = map[string]any{}
		}
		if last && !there {
			delete(m, s.field)
			return m
		}
		m[s.field] = withValue(m[s.field], path[1:], value, there)
		return m
	}
	list, _ := root.([]any)
	i := s.index(list)
	switch {
	case last && !there && i >= 0:
		return slices.Delete(slices.Clone(list), i, i+1)
	case i < 0 && there:
		return append(slices.Clone(list), withValue(nil, path[1:], value, there))
	case i >= 0:
		list[i] = withValue(list[i], path[1:], value, there)
	}
	return list
}

// sorted puts the elements of lists of objects into an order that does not depend on who has added which first.
func sorted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = sorted(v[k])
		}
	case []any:
		for i := range v {
			v[i] = sorted(v[i])
		}
		if len(v) > 0 {
			if _, objects := v[0].(map[string]any); objects {
				slices.SortFunc(v, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			}
		}
	}
	return v
}
