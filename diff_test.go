package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/crds"
)

// TestDiffErrors is what goes wrong before the cluster is asked.
func TestDiffErrors(t *testing.T) {
	dir := t.TempDir()
	empty, config := filepath.Join(dir, "empty"), filepath.Join(dir, "config")
	write(t, empty, "apiVersion: v1\nkind: Config\n")
	write(t, config, "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, namespace: b}}]\n"+
		"clusters: [{name: a, cluster: {server: \"https://127.0.0.1:1\"}}]\n")
	pod := "apiVersion: v1\nkind: Pod\n"
	skipped := "stdin, document 1: skipped, Pod is not a collector\n"
	for _, c := range []struct {
		args  string
		want  string
		lines int
	}{
		{"--kubeconfig=" + empty + ".missing", "no such file", 1},
		{"--kubeconfig=" + empty + " --context=nope", `context "nope" does not exist`, 1},
		{"--kubeconfig=" + config, "connection refused", 1},
		{"--kubeconfig=" + config + " -f -", skipped + "otelier: error: no OpenTelemetryCollector found in what -f names\n", 2},
		{"--kubeconfig=" + config + " -f missing.yaml", "missing.yaml", 1},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, out, stderr := otelier(t, pod, append([]string{"diff"}, strings.Fields(c.args)...)...)
			if code != exitTrouble || out != "" || strings.Count(stderr, "\n") != c.lines || !strings.Contains(stderr, c.want) {
				t.Errorf("exit %d, stdout %q, stderr %q: want exit %d and %q", code, out, stderr, exitTrouble, c.want)
			}
		})
	}
	t.Run("of a collector", func(t *testing.T) {
		in := file(t, "render/testdata/mode-deployment/in.yaml")
		code, out, stderr := otelier(t, in, "diff", "--kubeconfig="+config, "-f", "-")
		if code != exitTrouble || stderr != "" || !strings.HasPrefix(out, "OpenTelemetryCollector b/simplest\nerror: stdin, document 1: ") ||
			!strings.HasSuffix(out, "\n1 error\n") {
			t.Errorf("exit %d, stdout %q, stderr %q", code, out, stderr)
		}
	})
}

func TestPaints(t *testing.T) {
	var notATerminal bytes.Buffer
	for color, want := range map[string]bool{"always": true, "never": false, "auto": false} {
		if got := (formatFlags{Color: color}).paints(&notATerminal); got != want {
			t.Errorf("%s: got %v", color, got)
		}
	}
}

func unmarshalled(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	var u unstructured.Unstructured
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return &u
}

// TestMergePatch is what kubectl apply sends for a collector, by how it was made.
func TestMergePatch(t *testing.T) {
	const head = "apiVersion: opentelemetry.io/v1beta1\nkind: OpenTelemetryCollector\n"
	wanted := unmarshalled(t, head+"metadata: {name: a, namespace: b}\nspec: {mode: deployment, replicas: 3}\n")
	live := head + "metadata: {name: a, namespace: b}\nspec: {mode: deployment, replicas: 2, image: x, managementState: managed}\n"
	last := `{"apiVersion":"opentelemetry.io/v1beta1","kind":"OpenTelemetryCollector","metadata":{"name":"a","namespace":"b"},` +
		`"spec":{"image":"x","mode":"deployment","replicas":2}}`

	t.Run("applied client-side", func(t *testing.T) {
		u := unmarshalled(t, live)
		setLastApplied(u, last)
		if serverSide(u) {
			t.Error("it is taken for applied server-side")
		}
		patch := patched(t, wanted, u)
		annotations, _, _ := unstructured.NestedStringMap(patch, "metadata", "annotations")
		if text := annotations[crds.AnnotationLastApplied]; !strings.Contains(text, `"replicas":3`) || strings.Contains(text, "last-applied") {
			t.Errorf("last applied: %s", text)
		}
		if diff := cmp.Diff(map[string]any{"replicas": 3.0, "image": nil}, patch["spec"]); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("applied server-side", func(t *testing.T) {
		u := unmarshalled(t, live)
		u.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: kubectlServerSide, Operation: metav1.ManagedFieldsOperationApply,
			FieldsV1: metav1.NewFieldsV1(`{"f:spec":{".":{},"f:image":{},"f:mode":{},"f:gone":{}}}`),
		}})
		if !serverSide(u) {
			t.Error("it is not taken for applied server-side")
		}
		if diff := cmp.Diff(map[string]any{"replicas": 3.0, "image": nil}, patched(t, wanted, u)["spec"]); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("created", func(t *testing.T) {
		u := unmarshalled(t, live)
		if serverSide(u) {
			t.Error("it is taken for applied server-side")
		}
		if diff := cmp.Diff(map[string]any{"spec": map[string]any{"replicas": 3.0}}, patched(t, wanted, u)); diff != "" {
			t.Error(diff)
		}
	})
}

func patched(t *testing.T, file, live *unstructured.Unstructured) map[string]any {
	t.Helper()
	patch, err := mergePatch(file, live)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(patch, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSubmitted shows that the output of kubectl get can be a file.
func TestSubmitted(t *testing.T) {
	u := unmarshalled(t, `
metadata:
  name: a
  uid: b
  resourceVersion: "1"
  generation: 2
  creationTimestamp: "2026-01-01T00:00:00Z"
  managedFields: []
  annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}", keep: me}
spec: {mode: deployment}
status: {version: "1"}
`)
	want := map[string]any{
		"metadata": map[string]any{"name": "a", "annotations": map[string]any{"keep": "me"}}, "spec": map[string]any{"mode": "deployment"},
	}
	if diff := cmp.Diff(want, submitted(u).Object); diff != "" {
		t.Error(diff)
	}
	if u.GetUID() != "b" {
		t.Error("the file itself was changed")
	}
}

// TestNotAllowed tells those who may not from those whose object is refused.
func TestNotAllowed(t *testing.T) {
	resource := schema.GroupResource{Group: crds.Group, Resource: crds.Resource}
	forbidden := func(message string) error { return apierrors.NewForbidden(resource, "a", errors.New(message)) }
	for _, c := range []struct {
		err  error
		verb string
		ok   bool
	}{
		{forbidden(`User "x" cannot patch resource "opentelemetrycollectors" in API group "opentelemetry.io" in the namespace "b"`), "patch", true},
		{forbidden(`User "x" cannot create resource "opentelemetrycollectors" in API group "opentelemetry.io" in the namespace "b"`), "create", true},
		{forbidden("denied by a policy"), "", false},
		{forbidden("unable to create new content in namespace b because it is being terminated"), "", false},
		{apierrors.NewNotFound(resource, "a"), "", false},
		{errors.New(`User "x" cannot patch resource`), "", false},
	} {
		if verb, ok := notAllowed(c.err); ok != c.ok || ok && verb != c.verb {
			t.Errorf("%v: got %q, %v", c.err, verb, ok)
		}
	}
}

// TestRefused shows that errors say what is wrong without quoting values.
func TestRefused(t *testing.T) {
	err := &apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusUnprocessableEntity, Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{
		{Field: "spec.a", Message: `Invalid value: "x: y": must be z`},
		{Field: "spec.b", Message: `Invalid value: {"x":"y: z"}: must be w`},
		{Field: "spec.c", Message: `Unsupported value: "a": supported values: "b"`},
		{Field: "patch", Message: `Invalid value: "{\"a\":\"b\"}": strict decoding error: unknown field "spec.d"`},
		{Field: "<nil>", Message: "Invalid value: null: some validation rules were not checked"},
		{Field: "spec.e", Message: "Invalid value: 7"},
	}}}}
	want := "spec.a: must be z\nspec.b: must be w\nspec.c: Unsupported value: \"a\": supported values: \"b\"\n" +
		"strict decoding error: unknown field \"spec.d\"\nspec.e: invalid value"
	if got := refused(err).Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if other := errors.New("other"); !errors.Is(refused(other), other) {
		t.Error("another error is not left as it is")
	}
}
