package manifest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/internal/manifest"
)

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string // kind/name (source) of each object
	}{
		{"one document", object("Pod", "a"), []string{"Pod/a (stdin, document 1)"}},
		{"many documents", object("Pod", "a") + "---\n" + object("Service", "b"), []string{"Pod/a (stdin, document 1)", "Service/b (stdin, document 2)"}},
		{
			"empty documents", "---\n# nothing\n---\n" + object("Pod", "a") + "---\n---\n~\n--- # last\n" + object("Pod", "b") + "---\n",
			[]string{"Pod/a (stdin, document 2)", "Pod/b (stdin, document 4)"},
		},
		{"line ends of Windows", strings.ReplaceAll(object("Pod", "a")+"---\n"+object("Pod", "b"), "\n", "\r\n"), []string{"Pod/a (stdin, document 1)", "Pod/b (stdin, document 2)"}},
		{"JSON", `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}`, []string{"Pod/a (stdin, document 1)"}},
		{"a list", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n- {apiVersion: v1, kind: Pod, metadata: {name: b}}\n", []string{"Pod/a (stdin, document 1)", "Pod/b (stdin, document 1)"}},
		{"a list of a kind", "apiVersion: v1\nkind: PodList\nitems: [{apiVersion: v1, kind: Pod, metadata: {name: a}}]\n", []string{"Pod/a (stdin, document 1)"}},
		{"an empty list", "apiVersion: v1\nkind: List\nitems: []\n", nil},
		{"nothing", "", nil},
		{"comments only", "# nothing\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, err := manifest.Read("-", strings.NewReader(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := names(objects); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"not YAML", object("Pod", "a") + "---\na: [\n", "stdin, document 2: not YAML: line 1: did not find expected node content"},
		{"repeated keys", "apiVersion: v1\nkind: Pod\nkind: Pod\napiVersion: v1\n", `stdin, document 1: not YAML: line 3: key "kind" already set in map line 4: key "apiVersion" already set in map`},
		{"garbage", "\x00\x01\x02", "stdin, document 1: not YAML: control characters are not allowed"},
		{"text", "hello\n", "stdin, document 1: not a Kubernetes object: want a mapping with apiVersion and kind"},
		{"items without their list", "- a\n", "stdin, document 1: not a Kubernetes object: want a mapping with apiVersion and kind"},
		{"no kind", "apiVersion: v1\n", "stdin, document 1: not a Kubernetes object: apiVersion or kind is missing"},
		{"no apiVersion", "kind: Pod\n", "stdin, document 1: not a Kubernetes object: apiVersion or kind is missing"},
		{"a list with something else", "apiVersion: v1\nkind: List\nitems: [a]\n", "stdin, document 1: item 1 of the list: not a Kubernetes object: apiVersion or kind is missing"},
		{"a list with an object of no kind", "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod}, {a: b}]\n", "stdin, document 1: item 2 of the list: not a Kubernetes object: apiVersion or kind is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, err := manifest.Read("-", strings.NewReader(c.in))
			if err == nil {
				t.Fatalf("got %v, want an error", names(objects))
			}
			if err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestReadNumbers shows that numbers are what they are when an API server sends them.
func TestReadNumbers(t *testing.T) {
	objects, err := manifest.Read("-", strings.NewReader(object("Pod", "a")+"spec: {int: 9007199254740993, float: 1.5}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if n, _, err := unstructured.NestedInt64(objects[0].Object, "spec", "int"); err != nil || n != 9007199254740993 {
		t.Errorf("int: got %d, %v", n, err)
	}
	if f, _, err := unstructured.NestedFloat64(objects[0].Object, "spec", "float"); err != nil || f != 1.5 {
		t.Errorf("float: got %v, %v", f, err)
	}
}

func TestReadDirectory(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"b.yaml":         object("Pod", "b"),
		"a.yml":          object("Pod", "a1") + "---\n" + object("Pod", "a2"),
		"c/nested.yaml":  object("Pod", "nested"),
		"c.json":         `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "json"}}`,
		"README.md":      "not a manifest",
		"empty.yaml":     "",
		"d.yaml/in.yaml": object("Pod", "in-a-directory-with-a-file's-name"),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{dir, link, dir + "/"} {
		objects, err := manifest.Read(source, nil)
		if err != nil {
			t.Fatal(err)
		}
		at := strings.TrimSuffix(source, "/")
		want := []string{
			"Pod/a1 (" + at + "/a.yml, document 1)", "Pod/a2 (" + at + "/a.yml, document 2)", "Pod/b (" + at + "/b.yaml, document 1)",
			"Pod/nested (" + at + "/c/nested.yaml, document 1)", "Pod/json (" + at + "/c.json, document 1)",
			"Pod/in-a-directory-with-a-file's-name (" + at + "/d.yaml/in.yaml, document 1)",
		}
		if got := names(objects); !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %v\nwant %v", source, got, want)
		}
	}
}

func TestReadMissing(t *testing.T) {
	dir := t.TempDir()
	_, err := manifest.Read(filepath.Join(dir, "missing.yaml"), nil)
	if err == nil || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("got %v, want an error that names the file", err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "broken.yaml")); err != nil {
		t.Fatal(err)
	}
	if _, err = manifest.Read(dir, nil); err == nil || !strings.Contains(err.Error(), "broken.yaml") {
		t.Errorf("got %v, want an error that names the broken link", err)
	}
}

func TestWrite(t *testing.T) {
	in := object("Pod", "a") + "spec:\n  text: |\n    two\n    lines\n" + "---\n" + object("Service", "b")
	objects, err := manifest.Read("-", strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	var all []*unstructured.Unstructured
	for _, o := range objects {
		all = append(all, o.Unstructured)
	}
	var out bytes.Buffer
	if err := manifest.Write(&out, all); err != nil {
		t.Fatal(err)
	}
	if want := "---\n" + in; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
	if err := manifest.Write(failing{}, all); err == nil {
		t.Error("a failing writer: got no error")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

func object(kind, name string) string {
	return "apiVersion: v1\nkind: " + kind + "\nmetadata:\n  name: " + name + "\n"
}

func names(objects []manifest.Object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.GetKind()+"/"+o.GetName()+" ("+o.Source+")")
	}
	return out
}
