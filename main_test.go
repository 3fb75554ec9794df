package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/internal/manifest"
)

const testImage = "example.com/collector:0.0.0" // as the golden files of render have it

// otelier runs the program.
func otelier(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, streams{in: strings.NewReader(stdin), out: &out, err: &err})
	return code, out.String(), err.String()
}

func TestVersion(t *testing.T) {
	code, out, stderr := otelier(t, "", "version")
	if code != exitOK || out != "otelier dev\n" || stderr != "" {
		t.Errorf("exit %d, stdout %q, stderr %q", code, out, stderr)
	}
}

func TestCRDs(t *testing.T) {
	code, out, stderr := otelier(t, "", "crds")
	if code != exitOK || out != string(crds.YAML()) || stderr != "" {
		t.Errorf("exit %d, %d bytes, stderr %q", code, len(out), stderr)
	}
	for _, o := range parse(t, out) {
		if o.GetKind() != "CustomResourceDefinition" {
			t.Errorf("got a %s", o.GetKind())
		}
	}
}

func TestInstall(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string

		namespace, image string
		replicas         int64
		watch            []string
		vars             string // of the operator's container that have a value, sorted
	}{
		{
			name: "by default", namespace: "otelier-system", image: "ghcr.io/otelier/otelier:dev", replicas: 1,
			vars: "OTELIER_ALLOCATOR_URL=http://otelier.otelier-system.svc:80 OTELIER_LOG_FORMAT=json",
		},
		{
			name:      "all flags",
			args:      []string{"-n", "telemetry", "--image=localhost:5000/otelier@sha256:0123", "--replicas=2", "--namespaces=a,b", "--collector-image=c:1"},
			namespace: "telemetry", image: "localhost:5000/otelier@sha256:0123", replicas: 2, watch: []string{"a", "b"},
			vars: "OTELIER_ALLOCATOR_URL=http://otelier.telemetry.svc:80 OTELIER_COLLECTOR_IMAGE=c:1 OTELIER_LOG_FORMAT=json OTELIER_NAMESPACES=a,b",
		},
		{
			name:      "names that YAML takes for something else",
			args:      []string{"-n", "123", "--namespaces=1e3", "--namespaces=null", "--image=true"},
			namespace: "123", image: "true", replicas: 1, watch: []string{"1e3", "null"},
			vars: "OTELIER_ALLOCATOR_URL=http://otelier.123.svc:80 OTELIER_LOG_FORMAT=json OTELIER_NAMESPACES=1e3,null",
		},
		{
			name: "by environment", env: map[string]string{"OTELIER_NAMESPACE": "x", "OTELIER_IMAGE": "y", "OTELIER_REPLICAS": "0", "OTELIER_NAMESPACES": "a"},
			namespace: "x", image: "y", replicas: 0, watch: []string{"a"}, vars: "OTELIER_ALLOCATOR_URL=http://otelier.x.svc:80 OTELIER_LOG_FORMAT=json OTELIER_NAMESPACES=a",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			code, out, stderr := otelier(t, "", append([]string{"install"}, c.args...)...)
			if code != exitOK || stderr != "" {
				t.Fatalf("exit %d, stderr %q", code, stderr)
			}
			objects := parse(t, out)
			consistent(t, objects, c.namespace, c.watch)
			deployment := find(t, objects, "Deployment", c.namespace, "otelier")
			if n, _, _ := unstructured.NestedInt64(deployment.Object, "spec", "replicas"); n != c.replicas {
				t.Errorf("replicas %d, want %d", n, c.replicas)
			}
			containers, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
			container, _ := containers[0].(map[string]any)
			if container["image"] != c.image {
				t.Errorf("image %q, want %q", container["image"], c.image)
			}
			if got := values(container["env"]); got != c.vars {
				t.Errorf("environment %q, want %q", got, c.vars)
			}
		})
	}
}

// TestInstallRightsOfDiscovery leaves out rights, in all namespaces and in some.
func TestInstallRightsOfDiscovery(t *testing.T) {
	for _, c := range []struct {
		args, want, none string
	}{
		{"", "servicemonitors endpointslices ingresses nodes secrets", ""},
		{"--no-secrets", "servicemonitors endpointslices ingresses nodes", "secrets"},
		{"--no-discovery", "", "servicemonitors endpointslices ingresses nodes secrets"},
		{"--namespaces=a", "servicemonitors endpointslices ingresses secrets", "nodes storageclasses"},
		{"--namespaces=a --no-secrets", "servicemonitors endpointslices", "nodes secrets"},
		{"--namespaces=a --no-discovery", "", "servicemonitors secrets"},
	} {
		code, out, stderr := otelier(t, "", append([]string{"install"}, strings.Fields(c.args)...)...)
		if code != exitOK {
			t.Fatalf("%s: exit %d: %s", c.args, code, stderr)
		}
		granted := map[string]bool{}
		for _, o := range parse(t, out) {
			rules, _, _ := unstructured.NestedSlice(o.Object, "rules")
			for _, rule := range rules {
				resources, _, _ := unstructured.NestedStringSlice(rule.(map[string]any), "resources")
				for _, r := range resources {
					granted[r] = true
				}
			}
		}
		for r := range strings.FieldsSeq(c.want) {
			if !granted[r] {
				t.Errorf("install %s does not grant %s", c.args, r)
			}
		}
		for r := range strings.FieldsSeq(c.none) {
			if granted[r] {
				t.Errorf("install %s grants %s", c.args, r)
			}
		}
	}
}

// TestInstallLeadsCollectorsToTheAllocator follows the URL that collectors get, to the Service, and on to the container's port.
func TestInstallLeadsCollectorsToTheAllocator(t *testing.T) {
	_, out, _ := otelier(t, "", "install", "-n", "telemetry")
	objects := parse(t, out)
	service := find(t, objects, "Service", "telemetry", crds.AllocatorService)
	ports, _, _ := unstructured.NestedSlice(service.Object, "spec", "ports")
	port, _ := ports[0].(map[string]any)
	if url := fmt.Sprintf("http://%s.%s.svc:%v", service.GetName(), service.GetNamespace(), port["port"]); url != crds.AllocatorURL("telemetry") {
		t.Errorf("the Service is at %s, collectors ask %s", url, crds.AllocatorURL("telemetry"))
	}
	selector, _, _ := unstructured.NestedStringMap(service.Object, "spec", "selector")
	deployment := find(t, objects, "Deployment", "telemetry", "otelier")
	labels, _, _ := unstructured.NestedStringMap(deployment.Object, "spec", "template", "metadata", "labels")
	for k, v := range selector {
		if labels[k] != v {
			t.Errorf("the Service selects %s=%s, pods have %q", k, v, labels[k])
		}
	}
	containers, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	containerPorts, _, _ := unstructured.NestedSlice(containers[0].(map[string]any), "ports")
	if !slices.ContainsFunc(containerPorts, func(p any) bool {
		return p.(map[string]any)["name"] == port["targetPort"] && p.(map[string]any)["containerPort"] == int64(crds.AllocatorContainerPort)
	}) {
		t.Errorf("the Service leads to port %v, the container has %v", port["targetPort"], containerPorts)
	}
}

func TestAllocatorURL(t *testing.T) {
	const in = "render/testdata/allocation-monitors-alone/in.yaml"
	code, out, stderr := otelier(t, "", "render", "-f", in, "--allocator-url=https://targets.example.com:8443/a/")
	if want := "endpoint: https://targets.example.com:8443/a/pools/monitoring/simplest\n"; code != exitOK || !strings.Contains(out, want) {
		t.Errorf("exit %d, stderr %q, no %q in\n%s", code, stderr, want, out)
	}
	for _, bad := range []string{"", "targets:80", "ftp://x", "http://", "http://${env:X}"} {
		if code, _, stderr := otelier(t, "", "render", "-f", in, "--allocator-url="+bad); code != exitUsage || !strings.Contains(stderr, "--allocator-url") {
			t.Errorf("%q: exit %d, stderr %q", bad, code, stderr)
		}
	}
}

func TestRenderTellsOfJobsThatAreWithheld(t *testing.T) {
	code, _, stderr := otelier(t, "", "render", "-f", "render/testdata/allocation-environment/in.yaml")
	const want = "warning: spec.config.receivers.prometheus.config.scrape_configs[1]: spec.env sets PASSWORD to what is only known in the pod; no collector scrapes it\n"
	if code != exitOK || !strings.Contains(stderr, want) {
		t.Errorf("exit %d, no %q in stderr:\n%s", code, want, stderr)
	}
}

// consistent checks that what the manifest's objects say about each other is so.
func consistent(t *testing.T, objects []*unstructured.Unstructured, namespace string, watch []string) {
	t.Helper()
	if objects[0].GetKind() != "Namespace" || objects[0].GetName() != namespace {
		t.Errorf("first is %s %s, want the namespace %s", objects[0].GetKind(), objects[0].GetName(), namespace)
	}
	find(t, objects, "ServiceAccount", namespace, "otelier")
	var bindings []string
	for _, o := range objects {
		if !strings.HasSuffix(o.GetKind(), "RoleBinding") {
			continue
		}
		bindings = append(bindings, o.GetNamespace()+"/"+o.GetName())
		role, _, _ := unstructured.NestedStringMap(o.Object, "roleRef")
		find(t, objects, role["kind"], o.GetNamespace(), role["name"])
		subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
		if got, want := fmt.Sprint(subjects), fmt.Sprintf("[map[kind:ServiceAccount name:otelier namespace:%s]]", namespace); got != want {
			t.Errorf("%s %s: subjects %s, want %s", o.GetKind(), o.GetName(), got, want)
		}
	}
	want := []string{"/otelier"} // in the whole cluster
	if len(watch) > 0 {
		want = nil
		for _, w := range watch {
			want = append(want, w+"/otelier")
		}
	}
	if want = append(want, namespace+"/otelier-leader-election"); !slices.Equal(bindings, want) {
		t.Errorf("bindings %v, want %v", bindings, want)
	}
}

func find(t *testing.T, objects []*unstructured.Unstructured, kind, namespace, name string) *unstructured.Unstructured {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() == kind && o.GetNamespace() == namespace && o.GetName() == name {
			return o
		}
	}
	t.Fatalf("no %s %s/%s", kind, namespace, name)
	return nil
}

// values are the variables that have one.
func values(env any) string {
	var out []string
	list, _ := env.([]any)
	for _, item := range list {
		if e, _ := item.(map[string]any); e["value"] != nil {
			out = append(out, fmt.Sprintf("%s=%s", e["name"], e["value"]))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestRender prints, for the golden cases of the package render, what is there.
func TestRender(t *testing.T) {
	golden, err := filepath.Glob("render/testdata/*/want.yaml")
	if err != nil || len(golden) == 0 {
		t.Fatalf("found %v, %v", golden, err)
	}
	var (
		args     = []string{"render", "--collector-image", testImage}
		want     strings.Builder
		warnings []string
	)
	for _, path := range golden {
		dir := filepath.Dir(path)
		if _, err := os.Stat(filepath.Join(dir, "options.yaml")); err == nil {
			continue // not all of them are flags
		}
		args = append(args, "-f", filepath.Join(dir, "in.yaml"))
		want.WriteString(file(t, path))
		text, _ := os.ReadFile(filepath.Join(dir, "warnings.txt")) // there need not be any
		for line := range strings.Lines(string(text)) {
			warnings = append(warnings, "warning: "+line)
		}
	}
	code, out, stderr := otelier(t, "", args...)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	wantLines, line := strings.SplitAfter(want.String(), "\n"), 0
	for got := range strings.Lines(out) {
		if line >= len(wantLines) || got != wantLines[line] {
			t.Fatalf("line %d of what is printed, %q, is not what the want.yaml files have; is TestGolden all right?", line+1, got)
		}
		line++
	}
	if len(out) != want.Len() {
		t.Errorf("%d bytes are printed, want %d", len(out), want.Len())
	}
	for _, w := range warnings {
		if !strings.Contains(stderr, w) {
			t.Errorf("stderr has no %q:\n%s", w, stderr)
		}
	}
}

func TestRenderSources(t *testing.T) {
	minimal := file(t, "render/testdata/mode-deployment/in.yaml")
	want := file(t, "render/testdata/mode-deployment/want.yaml")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), minimal)
	write(t, filepath.Join(dir, "b.yaml"), minimal+"---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n")

	for _, c := range []struct {
		name, stdin  string
		args         []string
		want, stderr string
	}{
		{"stdin", minimal, []string{"-f", "-"}, want, ""},
		{"many files", minimal, []string{"-f", filepath.Join(dir, "a.yaml"), "-f", "-"}, want + want, ""},
		{"a directory with other objects", "", []string{"-f", dir}, want + want, dir + "/b.yaml, document 2: skipped, Namespace is not a collector\n"},
		{
			"namespace by flag", minimal,
			[]string{"-f", "-", "-n", "other"},
			strings.NewReplacer("namespace: default", "namespace: other", "instance: default.", "instance: other.").Replace(want), "",
		},
		{
			"namespace of the manifest wins", strings.Replace(minimal, "name: simplest", "name: simplest\n  namespace: other", 1),
			[]string{"-f", "-", "-n", "third"},
			strings.NewReplacer("namespace: default", "namespace: other", "instance: default.", "instance: other.").Replace(want), "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, stderr := otelier(t, c.stdin, append([]string{"render", "--collector-image", testImage}, c.args...)...)
			if code != exitOK || stderr != c.stderr {
				t.Errorf("exit %d, stderr %q, want %q", code, stderr, c.stderr)
			}
			if out != c.want {
				t.Errorf("got\n%s\nwant\n%s", out, c.want)
			}
		})
	}
}

// TestRenderErrors is what happens with manifests that can't be used. Nothing may be printed to stdout then.
func TestRenderErrors(t *testing.T) {
	minimal := file(t, "render/testdata/mode-deployment/in.yaml")
	replace := func(old, now string) string {
		if !strings.Contains(minimal, old) {
			t.Fatalf("%q is not in the manifest", old)
		}
		return strings.Replace(minimal, old, now, 1)
	}
	for _, c := range []struct{ name, stdin, want string }{
		{"nothing", "", "otelier: error: no OpenTelemetryCollector found in what -f names\n"},
		{"no collector", "apiVersion: v1\nkind: Pod\n", "stdin, document 1: skipped, Pod is not a collector\notelier: error: no OpenTelemetryCollector found in what -f names\n"},
		{"bad YAML", minimal + "---\na: [\n", "otelier: error: stdin, document 2: not YAML: line 1: did not find expected node content\n"},
		{
			"an unknown field", replace("  mode:", "  replica: 3\n  mode:"),
			"stdin, document 1: simplest: unknown field \"spec.replica\"\notelier: error: 1 of 1 collectors can't be rendered\n",
		},
		{
			"an unknown mode", replace("mode: deployment", "mode: job"),
			"stdin, document 1: simplest: spec.mode: Unsupported value: \"job\": supported values: \"daemonset\", \"deployment\", \"sidecar\", \"statefulset\"\n" +
				"otelier: error: 1 of 1 collectors can't be rendered\n",
		},
		{
			"an unknown version", replace("opentelemetry.io/v1beta1", "opentelemetry.io/v1"),
			"stdin, document 1: simplest: apiVersion, kind: got opentelemetry.io/v1 OpenTelemetryCollector, want " +
				"opentelemetry.io/v1beta1 or opentelemetry.io/v1alpha1 OpenTelemetryCollector\notelier: error: 1 of 1 collectors can't be rendered\n",
		},
		{
			"a component that is not configured", replace("exporters: [debug]", "exporters: [debugg]"),
			"stdin, document 1: simplest: spec.config.service.pipelines.traces.exporters: uses \"debugg\", which is not configured under exporters or connectors\n" +
				"otelier: error: 1 of 1 collectors can't be rendered\n",
		},
		{
			"one good, one bad", minimal + "---\n" + replace("mode: deployment", "mode: 7"),
			"stdin, document 2: simplest: spec.mode: Invalid value: \"integer\": spec.mode in body must be of type string: \"integer\"\n" +
				"stdin, document 2: simplest: spec.mode: Unsupported value: 7: supported values: \"daemonset\", \"deployment\", \"sidecar\", \"statefulset\"\n" +
				"otelier: error: 1 of 2 collectors can't be rendered\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, stderr := otelier(t, c.stdin, "render", "-f", "-")
			if code != exitError || out != "" {
				t.Errorf("exit %d, stdout %q", code, out)
			}
			if stderr != c.want {
				t.Errorf("stderr\ngot  %s\nwant %s", stderr, c.want)
			}
		})
	}
	t.Run("a name of 300 characters", func(t *testing.T) {
		code, _, stderr := otelier(t, replace("simplest", strings.Repeat("a", 300)), "render", "-f", "-")
		if code != exitError || !strings.Contains(stderr, "metadata.name: Invalid value:") || !strings.Contains(stderr, "must be no more than 253") {
			t.Errorf("exit %d, stderr %q", code, stderr)
		}
	})
	t.Run("a missing file", func(t *testing.T) {
		code, _, stderr := otelier(t, "", "render", "-f", "missing.yaml")
		if code != exitError || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "missing.yaml") {
			t.Errorf("exit %d, stderr %q", code, stderr)
		}
	})
}

// TestRenderLargeConfig takes a configuration to the size of a ConfigMap, and beyond.
func TestRenderLargeConfig(t *testing.T) {
	manifestOf := func(size int) string {
		text := "receivers: {otlp: {protocols: {grpc: {endpoint: \"0.0.0.0:4317\"}}}}\nexporters: {debug: {}}\nservice:\n" +
			"  telemetry: {metrics: {level: none}}\n  pipelines: {traces: {receivers: [otlp], exporters: [debug]}}\n#"
		text += strings.Repeat("x", size-len(text))
		return "apiVersion: opentelemetry.io/v1alpha1\nkind: OpenTelemetryCollector\nmetadata: {name: large}\nspec:\n  config: |-\n    " +
			strings.ReplaceAll(text, "\n", "\n    ") + "\n"
	}
	code, out, stderr := otelier(t, manifestOf(1<<20), "render", "-f", "-")
	if code != exitOK {
		t.Fatalf("1 MiB: exit %d: %s", code, stderr)
	}
	for _, o := range parse(t, out) {
		if o.GetKind() == "ConfigMap" {
			if text, _, _ := unstructured.NestedString(o.Object, "data", "collector.yaml"); len(text) != 1<<20 {
				t.Errorf("1 MiB: %d bytes have arrived", len(text))
			}
		}
	}
	code, out, stderr = otelier(t, manifestOf(1<<20+1), "render", "-f", "-")
	want := "stdin, document 1: large: spec.config: collector.yaml takes 1048577 bytes, a ConfigMap holds at most 1048576\n" +
		"otelier: error: 1 of 1 collectors can't be rendered\n"
	if code != exitError || out != "" || stderr != want {
		t.Errorf("one byte more: exit %d, stderr %q", code, stderr)
	}
}

func TestRenderUnsupportedFields(t *testing.T) {
	code, _, stderr := otelier(t, "", "render", "-f", "render/testdata/fields-for-later/in.yaml", "-f", "render/testdata/allocation-every-field/in.yaml")
	for _, path := range []string{
		"httpRoute", "ingress", "networkPolicy", "observability.metrics.enableMetrics",
		"targetAllocator.replicas", "targetAllocator.image", "targetAllocator.mtls",
	} {
		if want := "warning: spec." + path + ": set, but not acted on by this version\n"; !strings.Contains(stderr, want) {
			t.Errorf("stderr has no %q:\n%s", want, stderr)
		}
	}
	if code != exitOK {
		t.Errorf("exit %d", code)
	}
}

func TestRenderFilters(t *testing.T) {
	in := strings.Replace(file(t, "render/testdata/mode-deployment/in.yaml"), "  name: simplest\n",
		"  name: simplest\n  labels: {drop/a: b, keep: b}\n  annotations: {drop/c: d, keep/c: d}\n", 1)
	check := func(t *testing.T, args ...string) {
		t.Helper()
		code, out, stderr := otelier(t, in, append([]string{"render", "-f", "-"}, args...)...)
		if code != exitOK || strings.Contains(out, "drop/") || !strings.Contains(out, "keep/c: d") || !strings.Contains(out, "keep: b") {
			t.Errorf("exit %d, stderr %q, stdout\n%s", code, stderr, out)
		}
	}
	t.Run("by flag", func(t *testing.T) {
		check(t, "--annotations-filter=^nothing{1,2}$", "--annotations-filter=^drop/", "--labels-filter=^drop/")
	})
	t.Run("by environment", func(t *testing.T) {
		t.Setenv("OTELIER_ANNOTATIONS_FILTER", "^(drop|nothing{1,2})/")
		t.Setenv("OTELIER_LABELS_FILTER", "^drop/")
		check(t)
	})
}

func TestImageByEnvironment(t *testing.T) {
	t.Setenv("OTELIER_COLLECTOR_IMAGE", "of/the:environment")
	for want, args := range map[string][]string{"of/the:environment": nil, "of/the:flag": {"--collector-image=of/the:flag"}} {
		_, out, _ := otelier(t, "", append([]string{"render", "-f", "render/testdata/mode-deployment/in.yaml"}, args...)...)
		if !strings.Contains(out, "image: "+want+"\n") {
			t.Errorf("%v: image %s is not in the output", args, want)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, `expected one of "run", "diff", "render", "crds", "install", ...`},
		{[]string{"dance"}, "unexpected argument dance"},
		{[]string{"version", "--unknown"}, "unknown flag --unknown"},
		{[]string{"version", "more"}, "unexpected argument more"},
		{[]string{"render"}, "missing flags: --filename=FILE,..."},
		{[]string{"render", "-f", "x", "--log-level=loud"}, `--log-level must be one of "debug","info","warn","error" but got "loud"`},
		{[]string{"render", "-f", "x", "--annotations-filter=("}, "--annotations-filter: error parsing regexp: missing closing ): `(`"},
		{[]string{"render", "-f", "x", "--labels-filter=("}, "--labels-filter: error parsing regexp: missing closing ): `(`"},
		{[]string{"diff", "a", "-A"}, "a name and --all-namespaces exclude each other"},
		{[]string{"diff", "-A", "-f", "x"}, "--filename excludes a name and --all-namespaces"},
		{[]string{"diff", "a", "-f", "x"}, "--filename excludes a name and --all-namespaces"},
		{[]string{"diff", "a", "b"}, "unexpected argument b"},
		{[]string{"diff", "-n", "a/b"}, `--namespace: "a/b" is not the name of a namespace`},
		{[]string{"diff", "-o", "table"}, `--output must be one of "text","json","yaml","name","patch" but got "table"`},
		{[]string{"diff", "--color=blue"}, `--color must be one of "auto","always","never" but got "blue"`},
		{[]string{"diff", "-q", "-o", "json"}, "--quiet is for --output=text"},
		{[]string{"diff", "--labels-filter=("}, "--labels-filter: error parsing regexp: missing closing ): `(`"},
		{[]string{"run", "--workers=0"}, "--workers must be at least 1"},
		{[]string{"run", "--workers=many"}, `--workers: expected a valid 64 bit int but got "many"`},
		{[]string{"install", "--replicas=x"}, `--replicas: expected a valid 64 bit int but got "x"`},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			code, out, stderr := otelier(t, "", c.args...)
			if code != exitUsage || out != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "otelier: error: ") {
				t.Errorf("exit %d, stdout %q, stderr %q: want exit %d and one line", code, out, stderr, exitUsage)
			}
			if !strings.Contains(stderr, c.want) {
				t.Errorf("stderr %q, want %q in it", stderr, c.want)
			}
		})
	}
}

func TestInstallErrors(t *testing.T) {
	for _, args := range [][]string{{"-n", "a b"}, {"-n", "Upper"}, {"--namespaces=a,b/c"}, {"--namespaces="}, {"--namespaces=a,"}, {"--image=a b"}, {"--collector-image=a\"b"}, {"--replicas=-1"}} {
		code, out, stderr := otelier(t, "", append([]string{"install"}, args...)...)
		if code == exitOK || out != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit %d, stdout %q, stderr %q: want an error of one line", args, code, out, stderr)
		}
	}
}

// TestHelp checks that the help of every command groups its flags, and names the environment variable of each.
func TestHelp(t *testing.T) {
	groups := map[string][]string{
		"":        {"Logging"},
		"run":     {"Logging", "Cluster", "Serving", "Leader election", "Rendering"},
		"diff":    {"Logging", "Cluster", "Output", "Rendering"},
		"render":  {"Logging", "Rendering"},
		"crds":    {"Logging"},
		"install": {"Logging"},
		"version": {"Logging"},

		"allocate serve": {"Logging", "Cluster"},
		"allocate plan":  {"Logging", "Cluster"},
	}
	flag := regexp.MustCompile(`^  (?:-\w, |    )?--(?:\[no-\])?([a-z-]+)`)
	for command, want := range groups {
		t.Run("otelier "+command, func(t *testing.T) {
			code, out, stderr := otelier(t, "", append(strings.Fields(command), "--help")...)
			if code != exitOK || stderr != "" {
				t.Fatalf("exit %d, stderr %q", code, stderr)
			}
			for _, group := range want {
				if !strings.Contains(out, "\n"+group+"\n") {
					t.Errorf("there is no group %q", group)
				}
			}
			// A flag's help goes on until the next line that is indented as little, so it is joined to the flag's own line.
			joined := regexp.MustCompile(`\n {8,}`).ReplaceAllString(out, " ")
			for line := range strings.Lines(joined) {
				m := flag.FindStringSubmatch(line)
				if m == nil || m[1] == "help" {
					continue
				}
				env := "$OTELIER_" + strings.ToUpper(strings.ReplaceAll(m[1], "-", "_"))
				if !strings.Contains(line, "("+env+")") {
					t.Errorf("--%s: its help does not name %s", m[1], env)
				}
			}
		})
	}
}

func TestLogFormat(t *testing.T) {
	for format, want := range map[string]string{"json": `"msg":"hello"`, "text": "msg=hello"} {
		var out bytes.Buffer
		log := newLogger(logFlags{Format: format, Level: "warn"}, &out)
		log.Info("not to be seen")
		log.Warn("hello")
		if got := out.String(); !strings.Contains(got, want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: %q", format, got)
		}
	}
}

// TestRunWithoutCluster shows that a kubeconfig that can't be used is one clear line.
func TestRunWithoutCluster(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kubeconfig")
	write(t, path, "apiVersion: v1\nkind: Config\n")
	for args, want := range map[string]string{
		"--kubeconfig=" + path + ".missing":        "no such file",
		"--kubeconfig=" + path + " --context=nope": `context "nope" does not exist`,
	} {
		code, out, stderr := otelier(t, "", append([]string{"run"}, strings.Fields(args)...)...)
		if code != exitError || out != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d, stdout %q, stderr %q: want one line with %q", args, code, out, stderr, want)
		}
	}
}

func parse(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := manifest.Read("-", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) == 0 {
		t.Fatal("there are no objects in it")
	}
	var out []*unstructured.Unstructured
	for _, o := range objects {
		out = append(out, o.Unstructured)
	}
	return out
}

func file(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
