package render_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/otelier/otelier/e2e/steps/program"
)

// refused are the cases whose collector the API server does not take, and why. All others it takes, also those that can't be
// rendered: it does not look into the configuration.
var refused = map[string]string{ //nolint:gochecknoglobals // a table
	"error-allocation-selector-mixed": "a rule of the CRD",
	"error-annotation-not-a-string":   "of another type",
	"error-config-empty-string":       "a rule of the CRD",
	"error-config-missing":            "required",
	"error-spec-missing":              "required",
	"error-unknown-fields":            "kubectl asks for strict validation",
	"error-wrong-type":                "of another type",
	"error-wrong-type-nested":         "of another type",
}

// TestExamples does with every example what its reader would: render it, and apply what that prints.
func TestExamples(t *testing.T) {
	for _, path := range files(t, "examples/*.yaml") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			rendered, warnings := otelierRender(t, path)
			if warnings != "" {
				t.Errorf("otelier render: %s", warnings)
			}
			accepted(t, rendered)
			accepted(t, read(t, path))
		})
	}
}

// TestGolden applies what the golden files have, as one that is updated in a hurry may hold what no API server takes.
func TestGolden(t *testing.T) {
	wanted := files(t, "render/testdata/*/want.yaml")
	for _, namespace := range namespaces(t, wanted) {
		if out, err := kubectl(t, nil, "create", "namespace", namespace); err != nil {
			t.Fatalf("create namespace %s: %v: %s", namespace, err, out)
		}
	}
	for _, path := range wanted {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			t.Parallel()
			accepted(t, read(t, path))
		})
	}
}

// TestGoldenIsPrinted shows that the golden files have what the program prints.
func TestGoldenIsPrinted(t *testing.T) {
	args := []string{"--collector-image", "example.com/collector:0.0.0"}
	var want bytes.Buffer
	for _, path := range files(t, "render/testdata/*/want.yaml") {
		dir := filepath.Dir(path)
		if _, err := os.Stat(filepath.Join(dir, "options.yaml")); err == nil {
			continue // not all of them are flags
		}
		args = append(args, "-f", filepath.Join(dir, "in.yaml"))
		want.Write(read(t, path))
	}
	if got, _ := otelierRender(t, args...); !bytes.Equal(got, want.Bytes()) {
		t.Error("otelier render prints something else than the want.yaml files have: see TestGolden of the package render")
	}
}

// TestCollectors applies the collectors of the golden cases themselves.
func TestCollectors(t *testing.T) {
	inputs := files(t, "render/testdata/*/in.yaml")
	for _, namespace := range namespaces(t, inputs) {
		if _, err := kubectl(t, nil, "get", "namespace", namespace); err != nil {
			if out, err := kubectl(t, nil, "create", "namespace", namespace); err != nil {
				t.Fatalf("create namespace %s: %v: %s", namespace, err, out)
			}
		}
	}
	for _, path := range inputs {
		name := filepath.Base(filepath.Dir(path))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reason, bad := refused[name]
			if !bad {
				accepted(t, read(t, path))
				return
			}
			if out, err := kubectl(t, read(t, path), "apply", "--server-side", "--dry-run=server", "-f", "-"); err == nil {
				t.Errorf("the API server has taken it, it is among the refused (%s): %s", reason, out)
			}
		})
	}
	for name := range refused {
		if !slices.ContainsFunc(inputs, func(path string) bool { return filepath.Base(filepath.Dir(path)) == name }) {
			t.Errorf("%s: among the refused, but there is no such case", name)
		}
	}
}

// accepted has the API server try the manifest, and fails when it refuses it or warns.
func accepted(t *testing.T, manifest []byte) {
	t.Helper()
	out, err := kubectl(t, manifest, "apply", "--server-side", "--dry-run=server", "-f", "-")
	if err != nil {
		t.Errorf("the API server refuses it: %v\n%s", err, out)
		return
	}
	for line := range strings.Lines(out) {
		isOld := strings.HasPrefix(line, "Warning: opentelemetry.io/v1alpha1 OpenTelemetryCollector is deprecated")
		if !isOld && !strings.HasSuffix(line, " serverside-applied (server dry run)\n") {
			t.Errorf("kubectl says: %s", line)
		}
	}
}

// kubectl returns what it prints to stdout and stderr together.
func kubectl(t *testing.T, stdin []byte, args ...string) (string, error) {
	t.Helper()
	cmd := shared.cluster.KubectlCommand(t.Context(), args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// otelierRender returns what is printed to stdout, and to stderr.
func otelierRender(t *testing.T, args ...string) (stdout []byte, stderr string) {
	t.Helper()
	if len(args) == 1 {
		args = append([]string{"-f"}, args...)
	}
	cmd := exec.CommandContext(t.Context(), shared.binary, append([]string{"render"}, args...)...)
	cmd.Env = program.Environment()
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); e != nil {
		t.Fatalf("otelier render: %v\n%s", e, err.String())
	}
	return out.Bytes(), err.String()
}

// namespaces of the objects in the manifests, but for those that every cluster has.
func namespaces(t *testing.T, paths []string) []string {
	t.Helper()
	var out []string
	for _, path := range paths {
		for _, m := range regexp.MustCompile(`(?m)^  namespace: "?([a-z0-9-]+)"?$`).FindAllSubmatch(read(t, path), -1) {
			if name := string(m[1]); name != "default" && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	out, err := filepath.Glob(filepath.Join(shared.root, pattern))
	if err != nil || len(out) == 0 {
		t.Fatalf("%s: found %v, %v", pattern, out, err)
	}
	return out
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
