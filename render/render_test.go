package render_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/internal/manifest"
	"github.com/otelier/otelier/render"
)

var update = flag.Bool("update", false, "write what is rendered to testdata instead of comparing with it")

// TestGolden renders testdata/CASE/in.yaml and compares with want.yaml, which is what `otelier render` prints, or with
// error.txt for what can't be rendered. warnings.txt holds the warnings, one a line, and pools.yaml the pools of targets. options.yaml
// is of type options.
func TestGolden(t *testing.T) {
	a := newAdmission(t)
	for _, name := range cases(t) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			c, err := decode(a, read(t, dir))
			var result *render.Result
			var pools string
			if err == nil {
				result, err = render.Collector(c, readOptions(t, dir))
				pools = printedPools(t, c, readOptions(t, dir), err)
				if field := new(crds.FieldError); err != nil && !errors.As(err, &field) {
					t.Errorf("got a %T, want a *crds.FieldError", err)
				}
			}
			var got string
			var warnings []string
			if err == nil {
				got, warnings = printed(t, result.Objects), result.Warnings
			}
			golden(t, filepath.Join(dir, "want.yaml"), got)
			golden(t, filepath.Join(dir, "warnings.txt"), lines(warnings...))
			golden(t, filepath.Join(dir, "pools.yaml"), pools)
			golden(t, filepath.Join(dir, "error.txt"), lines(message(err)...))
		})
	}
}

// printedPools are the pools of a collector as YAML, with what there is to scrape as text. What can't be rendered has none, for the same
// reason.
func printedPools(t *testing.T, c *crds.Collector, o render.Options, want error) string {
	t.Helper()
	pools, err := render.Pools(c, o)
	if fmt.Sprint(err) != fmt.Sprint(want) {
		t.Errorf("pools: got error %v, rendering has %v", err, want)
	}
	var out bytes.Buffer
	for _, p := range pools {
		fmt.Fprintf(&out, "---\n# %s is %s at %s, main: %t\n%s", p.Receiver, p.Name, p.Path, p.Main, p.ScrapeConfigs)
		for _, w := range p.Withheld {
			fmt.Fprintf(&out, "# withheld: %s, %s: %s\n", w.Job, w.Reason, w.Message)
		}
	}
	return out.String()
}

// golden compares got with the file, or writes it with -update; an empty text and a missing file are the same.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		writeGolden(t, path, got)
		return
	}
	want, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: %s\nif that is right: go test ./render -run TestGolden -update", path, firstDifference(string(want), got))
	}
}

func writeGolden(t *testing.T, path, got string) {
	t.Helper()
	var err error
	if got != "" {
		err = os.WriteFile(path, []byte(got), 0o644)
	} else if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		t.Fatal(err)
	}
}

func firstDifference(want, got string) string {
	w, g := strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n")
	for i := range max(len(w), len(g)) {
		at := func(s []string) string {
			if i < len(s) {
				return s[i]
			}
			return "(nothing)\n"
		}
		if at(w) != at(g) {
			return fmt.Sprintf("line %d:\nwant ", i+1) + at(w) + "got  " + at(g)
		}
	}
	return "no difference"
}

// TestPure renders every case many times over: the result must not depend on the order of maps, and the collector must not
// be touched.
func TestPure(t *testing.T) {
	for _, c := range renderable(t) {
		t.Run(c.name, func(t *testing.T) {
			before := c.object.DeepCopy()
			collector, err := crds.Decode(c.object)
			if err != nil {
				t.Fatal(err)
			}
			untouched, err := crds.Decode(before)
			if err != nil {
				t.Fatal(err)
			}
			first, err := render.Collector(collector, c.options)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 20 {
				again, err := render.Collector(collector, c.options)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(again, first) {
					t.Fatalf("time %d differs from the first: %s", i+2, firstDifference(printed(t, first.Objects), printed(t, again.Objects)))
				}
			}
			if !reflect.DeepEqual(c.object.Object, before.Object) {
				t.Error("the object that was decoded has been modified")
			}
			if !reflect.DeepEqual(collector, untouched) {
				t.Error("the collector that was rendered has been modified")
			}
		})
	}
}

// TestObjects checks what holds for the objects of every case.
func TestObjects(t *testing.T) {
	for _, from := range renderable(t) {
		t.Run(from.name, func(t *testing.T) {
			c, result, err := from.render()
			if err != nil {
				t.Fatal(err)
			}
			var stages []crds.Stage
			for _, o := range result.Objects {
				kind, ok := crds.KindOf(o.GroupVersionKind().GroupKind())
				if !ok || kind.GVK != o.GroupVersionKind() {
					t.Errorf("%s is not among crds.OwnedKinds", o.GroupVersionKind())
				}
				stages = append(stages, kind.Stage)
				if o.GetNamespace() != c.Namespace {
					t.Errorf("%s %s: namespace %q, want the collector's", o.GetKind(), o.GetName(), o.GetNamespace())
				}
				for k, v := range crds.SelectorLabels(c.Namespace, c.Name) {
					if o.GetLabels()[k] != v {
						t.Errorf("%s %s: label %s is %q, want %q", o.GetKind(), o.GetName(), k, o.GetLabels()[k], v)
					}
				}
				if _, ok := o.Object["status"]; ok {
					t.Errorf("%s %s has a status", o.GetKind(), o.GetName())
				}
			}
			if !slices.IsSorted(stages) {
				t.Errorf("stages %v: objects are not in the order in which they are applied", stages)
			}
		})
	}
}

// options are render.Options as a file has them.
type options struct {
	Image             string            `json:"image"`
	Env               map[string]string `json:"env"`
	AnnotationsFilter []string          `json:"annotationsFilter"`
	LabelsFilter      []string          `json:"labelsFilter"`
	AllocatorURL      string            `json:"allocatorURL"`
}

func readOptions(t testing.TB, dir string) render.Options {
	t.Helper()
	from := options{
		Image: "example.com/collector:0.0.0", AnnotationsFilter: []string{crds.AnnotationsFilter},
		AllocatorURL: crds.AllocatorURL(crds.DefaultNamespace),
	}
	data, err := os.ReadFile(filepath.Join(dir, "options.yaml"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(data, &from); err != nil {
		t.Fatal(err)
	}
	return render.Options{
		Image: from.Image, Env: from.Env, AllocatorURL: from.AllocatorURL,
		AnnotationsFilter: compile(from.AnnotationsFilter), LabelsFilter: compile(from.LabelsFilter),
	}
}

func compile(patterns []string) []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, p := range patterns {
		out = append(out, regexp.MustCompile(p))
	}
	return out
}

func cases(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "fuzz" { // the go tool's own
			out = append(out, e.Name())
		}
	}
	return out
}

// read is the object of in.yaml.
func read(t testing.TB, dir string) *unstructured.Unstructured {
	t.Helper()
	objects, err := manifest.Read(filepath.Join(dir, "in.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != 1 {
		t.Fatalf("%s: %d objects, want 1", dir, len(objects))
	}
	u := objects[0].Unstructured
	if u.GetNamespace() == "" {
		u.SetNamespace("default")
	}
	return u
}

var admission = sync.OnceValues(crds.NewAdmission) //nolint:gochecknoglobals // all tests share it, as it takes long to make

func newAdmission(t testing.TB) *crds.Admission {
	t.Helper()
	a, err := admission()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// decode takes the object through what the API server does to it.
func decode(a *crds.Admission, u *unstructured.Unstructured) (*crds.Collector, error) {
	stored, err := a.Create(context.Background(), u)
	if err != nil {
		return nil, err
	}
	return crds.Decode(stored)
}

// renderableCase is a case that can be rendered; object is what the API server has stored.
type renderableCase struct {
	name    string
	object  *unstructured.Unstructured
	options render.Options
}

func renderable(t testing.TB) []renderableCase {
	t.Helper()
	a := newAdmission(t)
	var out []renderableCase
	for _, name := range cases(t) {
		dir := filepath.Join("testdata", name)
		stored, err := a.Create(t.Context(), read(t, dir))
		if err != nil {
			continue
		}
		c := renderableCase{name, stored, readOptions(t, dir)}
		if _, _, err := c.render(); err == nil {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		t.Fatal("no case can be rendered")
	}
	return out
}

func (c renderableCase) render() (*crds.Collector, *render.Result, error) {
	collector, err := crds.Decode(c.object)
	if err != nil {
		return nil, nil, err
	}
	result, err := render.Collector(collector, c.options)
	return collector, result, err
}

// outcome is everything that comes of a case, as text.
func (c renderableCase) outcome(t testing.TB) (string, error) {
	t.Helper()
	collector, result, err := c.render()
	if err != nil {
		return "", err
	}
	return printed(t, result.Objects) + lines(result.Warnings...) + lines(collector.Spec.UnsupportedFields()...), nil
}

func printed(t testing.TB, objects []*unstructured.Unstructured) string {
	t.Helper()
	var out bytes.Buffer
	if err := manifest.Write(&out, objects); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func message(err error) []string {
	if err == nil {
		return nil
	}
	return []string{err.Error()}
}

func lines(s ...string) string {
	if len(s) == 0 {
		return ""
	}
	return strings.Join(s, "\n") + "\n"
}
