package show_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/internal/show"
	"github.com/otelier/otelier/reconcile"
)

var update = flag.Bool("update", false, "write what is printed to testdata instead of comparing with it")

func now() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) }

// TestGolden prints what testdata has, in the formats that its files are named after.
func TestGolden(t *testing.T) {
	for name, c := range map[string]struct {
		collectors []show.Collector
		options    show.Options
	}{
		"fields.text":           {fields(), show.Options{}},
		"fields.color.text":     {fields(), show.Options{Color: true}},
		"fields.json":           {fields(), show.Options{Format: show.JSON}},
		"fields.yaml":           {fields(), show.Options{Format: show.YAML, Unchanged: true}},
		"fields.unchanged.text": {fields(), show.Options{Unchanged: true}},
		"fields.name":           {fields(), show.Options{Format: show.Name}},
		"fields.patch":          {fields(), show.Options{Format: show.Patch}},
		"fields.quiet":          {fields(), show.Options{Quiet: true}},
		"blocked.text":          {blocked(), show.Options{}},
		"blocked.json":          {blocked(), show.Options{Format: show.JSON}},
		"blocked.name":          {blocked(), show.Options{Format: show.Name}},
		"blocked.patch":         {blocked(), show.Options{Format: show.Patch}},
		"blocked.quiet":         {blocked(), show.Options{Quiet: true}},
		"fleet.text":            {fleet(), show.Options{}},
		"fleet.json":            {fleet(), show.Options{Format: show.JSON}},
		"fleet.quiet":           {fleet(), show.Options{Quiet: true}},
		"fleet.unchanged.text":  {fleet(), show.Options{Unchanged: true}},
		"long.text":             {long(), show.Options{}},
		"secrets.text":          {secrets(), show.Options{}},
		"secrets.json":          {secrets(), show.Options{Format: show.JSON}},
		"secrets.shown.text":    {secrets(), show.Options{ShowSecrets: true}},
	} {
		t.Run(name, func(t *testing.T) {
			var stderr bytes.Buffer
			c.options.Errors = &stderr
			out, _ := printed(t, c.collectors, c.options)
			if stderr.Len() > 0 {
				out += "--- errors\n" + stderr.String()
			}
			golden(t, filepath.Join("testdata", name), out)
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got)\n%s\nif that is right: go test ./internal/show -run TestGolden -update", path, diff)
	}
}

func printed(t *testing.T, collectors []show.Collector, o show.Options) (string, show.Summary) {
	t.Helper()
	o.Now = now()
	if o.Format == "" {
		o.Format = show.Text
	}
	var out bytes.Buffer
	summary, err := show.Write(&out, collectors, o)
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), summary
}

// TestNothing is what is printed when there is nothing to do: the counts, although there are warnings and notes.
func TestNothing(t *testing.T) {
	c := named("obs", "gateway")
	for range 14 {
		c.Changes = append(c.Changes, change("Service", "gateway", reconcile.ActionNone))
	}
	c.Warnings = []string{"spec.config: is odd"}
	c.Notes = []reconcile.Note{{Kind: reconcile.NoteReplicasYielded, Message: "replicas are somebody else's"}}
	other := named("obs", "paused")
	other.Paused = true
	for want, collectors := range map[string][]show.Collector{
		"14 unchanged\n": {c, other},
		"0 unchanged\n":  nil,
	} {
		got, summary := printed(t, collectors, show.Options{})
		if got != want || summary.Differences() || summary.Errors > 0 {
			t.Errorf("got %q %+v, want %q", got, summary, want)
		}
	}
}

// TestSummary is the line of counts.
func TestSummary(t *testing.T) {
	for _, c := range []struct {
		summary show.Summary
		want    string
	}{
		{show.Summary{}, "0 unchanged"},
		{show.Summary{Unchanged: 14}, "14 unchanged"},
		{show.Summary{Change: 1, Fields: 1}, "1 to change (1 field)"},
		{show.Summary{Errors: 1}, "1 error"},
		{
			show.Summary{Create: 2, Change: 1, Fields: 3, TakenBack: 1, Replace: 1, Delete: 1, Unchanged: 14, Errors: 2},
			"2 to create, 1 to change (3 fields, 1 taken back), 1 to replace, 1 to delete, 14 unchanged, 2 errors",
		},
		{show.Summary{Unchanged: 7, Errors: 1, Blocked: 5}, "7 unchanged, 1 error (5 changes blocked)"},
	} {
		if got := c.summary.String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestDocuments shows that JSON and YAML are the same document, and that it is versioned.
func TestDocuments(t *testing.T) {
	asJSON, _ := printed(t, fleet(), show.Options{Format: show.JSON})
	asYAML, _ := printed(t, fleet(), show.Options{Format: show.YAML})
	var a, b map[string]any
	if err := json.Unmarshal([]byte(asJSON), &a); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(asYAML), &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	if a["apiVersion"] != "otelier.io/v1alpha1" || a["kind"] != "Plan" {
		t.Errorf("got %v %v", a["apiVersion"], a["kind"])
	}
}

// TestPatchWithSecrets shows that a patch has its secrets or is none.
func TestPatchWithSecrets(t *testing.T) {
	var out bytes.Buffer
	_, err := show.Write(&out, secrets(), show.Options{Format: show.Patch, Now: now()})
	if !errors.Is(err, show.ErrSecrets) || out.Len() > 0 {
		t.Errorf("got %v and %q, want ErrSecrets and nothing", err, out.String())
	}
	text, _ := printed(t, secrets(), show.Options{Format: show.Patch, ShowSecrets: true})
	if !strings.Contains(text, "hunter2-in-env") {
		t.Errorf("with --show-secrets it lacks them:\n%s", text)
	}
}

// TestControlCharacters shows that values can't hide what is printed after them.
func TestControlCharacters(t *testing.T) {
	c := named("obs", "gateway")
	ch := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
	ch.Fields = []reconcile.FieldChange{
		{Path: ".metadata.annotations.a", Op: reconcile.FieldSet, Old: "one\nline", New: "two\x1b[2J\n\u202eenil"},
		{Path: ".metadata.annotations.b", Op: reconcile.FieldSet, New: "\u202e\x1b[2J"},
	}
	c.Changes = []reconcile.Change{ch}
	got, _ := printed(t, []show.Collector{c}, show.Options{})
	if strings.ContainsAny(got, "\x1b\u202e") || !strings.Contains(got, `two\u001b[2J`) {
		t.Errorf("got %q", got)
	}
}

func named(namespace, name string) show.Collector {
	var c show.Collector
	c.Plan.Collector = types.NamespacedName{Namespace: namespace, Name: name}
	c.Results = map[reconcile.ID]reconcile.Result{}
	return c
}

func change(kind, name string, action reconcile.Action) reconcile.Change {
	groups := map[string]string{"Deployment": "apps", "StatefulSet": "apps", "DaemonSet": "apps", "PodDisruptionBudget": "policy"}
	c := reconcile.Change{ID: reconcile.ID{Group: groups[kind], Kind: kind, Namespace: "obs", Name: name}, Action: action}
	if action != reconcile.ActionDelete {
		c.Want = object(strings.TrimPrefix(c.ID.Group+"/v1", "/"), kind, name)
	}
	return c
}

func object(apiVersion, kind, name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"namespace": "obs", "name": name},
	}}
}

const container = `.spec.template.spec.containers[name="otc-container"]`

// fields are one collector with every kind of change.
func fields() []show.Collector {
	c := named("obs", "gateway")
	d := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
	d.Fields = []reconcile.FieldChange{
		{Path: ".metadata.annotations.team", Op: reconcile.FieldOwn, Old: "a", New: "a"},
		{Path: ".metadata.labels.tier", Op: reconcile.FieldUnset, Old: "gold"},
		{Path: `.metadata.labels["app.kubernetes.io/version"]`, Op: reconcile.FieldSet, Old: "0.157.0", New: "0.158.0"},
		{Path: ".spec.paused", Op: reconcile.FieldUnset, Old: true, New: false},
		{
			Path: ".spec.replicas", Op: reconcile.FieldSet, Old: int64(5), New: int64(3),
			TakenFrom: []reconcile.Owner{{Manager: "kubectl", Operation: "Update", Subresource: "scale"}},
		},
		{Path: ".spec.revisionHistoryLimit", Op: reconcile.FieldRelease, Old: int64(3), New: int64(3)},
		{
			Path: ".spec.minReadySeconds", Op: reconcile.FieldRelease, Old: int64(3), New: int64(3),
			TakenFrom: []reconcile.Owner{{Manager: "helm", Operation: "Apply"}},
		},
		{Path: container + ".args", Op: reconcile.FieldReorder, Old: []any{"--a", "--b"}, New: []any{"--b", "--a"}},
		{Path: container + `.env[name="GOMEMLIMIT"]`, Op: reconcile.FieldSet, New: map[string]any{"name": "GOMEMLIMIT", "value": "80MiB"}},
		{
			Path: container + ".image", Op: reconcile.FieldSet, Old: "example.com/collector:0.157.0", New: "example.com/collector:0.158.0",
			TakenFrom: []reconcile.Owner{
				{Manager: "kubectl-edit", Operation: "Update", Time: now().Add(-2 * time.Hour)},
				{Manager: "helm", Operation: "Apply", Time: now().Add(-40 * 24 * time.Hour)},
			},
		},
		{Path: ".metadata.annotations.été", Op: reconcile.FieldSet, Old: "<Ünï & çødé 日本>", New: ""},
	}
	s := change("StatefulSet", "gateway-collector", reconcile.ActionReplace)
	s.Immutable = []string{".spec.serviceName", ".spec.podManagementPolicy"}
	s.Fields = []reconcile.FieldChange{{Path: ".spec.serviceName", Op: reconcile.FieldSet, Old: "a", New: "b"}}
	ds := change("DaemonSet", "gateway-collector", reconcile.ActionReplace)
	ds.Immutable = []string{".spec.selector"}
	predicted := change("Service", "gateway-collector", reconcile.ActionUpdate)
	predicted.Fields = []reconcile.FieldChange{{Path: ".spec.type", Op: reconcile.FieldUnset, Old: "LoadBalancer"}}
	refused := change("PodDisruptionBudget", "gateway-collector", reconcile.ActionCreate)
	same := change("Service", "gateway-collector-headless", reconcile.ActionUpdate)
	taken := change("ServiceAccount", "gateway-collector", reconcile.ActionUpdate)
	taken.Problem = &reconcile.Problem{Message: "serviceaccount/gateway-collector: belongs to somebody else"}
	gone := change("ConfigMap", "gateway-collector-41c9be70", reconcile.ActionDelete)
	c.Changes = []reconcile.Change{
		taken, change("ConfigMap", "gateway-collector-8d1f02aa", reconcile.ActionCreate), predicted, same, d, ds, s, refused,
		change("Service", "gateway-collector-monitoring", reconcile.ActionNone), gone,
	}
	c.Results[d.ID] = reconcile.Result{Object: d.Want, Fields: d.Fields}
	c.Results[same.ID] = reconcile.Result{Object: same.Want}
	c.Results[predicted.ID] = reconcile.Result{Fields: predicted.Fields, Predicted: "may not patch services in namespace obs"}
	c.Results[refused.ID] = reconcile.Result{Err: &reconcile.Problem{Message: "refused by the API server:\nspec.minAvailable: Invalid value"}}
	c.Configs = &reconcile.ConfigChange{
		OldName: "gateway-collector-41c9be70", NewName: "gateway-collector-8d1f02aa",
		Old: configText("1s", "info"), New: configText("5s", "debug"),
	}
	c.Notes = []reconcile.Note{{
		Kind: reconcile.NoteClaimsNotExpanded, ID: reconcile.ID{Kind: "PersistentVolumeClaim", Namespace: "obs", Name: "data-0"},
		Reason: "Shrinking", Message: "stays at 1Gi instead of 2Gi: claims can't shrink",
	}}
	c.Warnings = []string{"spec.config: is odd"}
	c.Unsupported = []string{"spec.ingress"}
	return []show.Collector{c}
}

func configText(timeout, level string) string {
	return `receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 0.0.0.0:4317
      http:
        endpoint: 0.0.0.0:4318
processors:
  batch:
    timeout: ` + timeout + `
    send_batch_size: 1000
exporters:
  debug:
    verbosity: basic
service:
  pipelines:
    traces:
      receivers: [otlp]
      processors: [batch]
      exporters: [debug]
  telemetry:
    logs:
      level: ` + level + "\n"
}

// fleet are collectors of all sorts.
func fleet() []show.Collector {
	bad := named("a", "bad")
	bad.Problem = &reconcile.Problem{Message: "spec.mode: Unsupported value: \"job\""}
	proposed := named("a", "proposed")
	proposed.Predicted = "may not patch opentelemetrycollectors.opentelemetry.io"
	proposed.Changes = []reconcile.Change{change("Service", "proposed", reconcile.ActionCreate)}
	quiet := named("b", "quiet")
	quiet.Changes = []reconcile.Change{change("Service", "quiet", reconcile.ActionNone)}
	paused := named("b", "paused")
	paused.Paused = true
	back := named("b", "rolled-back") // to a ConfigMap that is there
	d := change("Deployment", "rolled-back-collector", reconcile.ActionUpdate)
	d.Fields = []reconcile.FieldChange{{Path: ".spec.x", Op: reconcile.FieldSet, New: map[string]any{"b": int64(1), "a": []any{true, nil, 1.5}}}}
	back.Changes = []reconcile.Change{change("ConfigMap", "one", reconcile.ActionNone), d}
	back.Configs = &reconcile.ConfigChange{OldName: "two", NewName: "one", Old: "a: 1\nb: 2", New: "a: 1\nb: 2\n"}
	return []show.Collector{bad, proposed, quiet, paused, back}
}

// blocked are a collector whose workload is refused, so that nothing is changed, and one that has no errors.
func blocked() []show.Collector {
	c := named("obs", "gateway")
	c.Blocked = true
	d := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
	d.Fields = []reconcile.FieldChange{{Path: ".spec.replicas", Op: reconcile.FieldSet, Old: int64(5), New: int64(3)}}
	s := change("Service", "gateway-collector", reconcile.ActionUpdate)
	s.Fields = []reconcile.FieldChange{{
		Path: ".spec.type", Op: reconcile.FieldSet, Old: "NodePort", New: "ClusterIP", TakenFrom: []reconcile.Owner{{Manager: "kubectl-edit", Operation: "Update"}},
	}}
	c.Changes = []reconcile.Change{
		change("ConfigMap", "gateway-collector-8d1f02aa", reconcile.ActionCreate), s, d, change("ServiceAccount", "gateway-collector", reconcile.ActionNone),
		change("ConfigMap", "gateway-collector-41c9be70", reconcile.ActionDelete),
	}
	c.Results[d.ID] = reconcile.Result{Fields: d.Fields, Err: &reconcile.Problem{Message: "refused by the API server: no"}}
	free := named("obs", "other")
	free.Changes = []reconcile.Change{change("Service", "other-collector", reconcile.ActionCreate)}
	return []show.Collector{c, free}
}

// long are values that don't fit on a line.
func long() []show.Collector {
	c := named("obs", "gateway")
	d := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
	image := "registry.example.com/" + strings.Repeat("long/", 20) + "collector:"
	d.Fields = []reconcile.FieldChange{
		{Path: container + ".image", Op: reconcile.FieldSet, Old: image + "1", New: image + "2"},
		{Path: container + ".args", Op: reconcile.FieldSet, Old: []any{"--config=/conf/collector.yaml"}, New: []any{
			"--config=/conf/collector.yaml", "--feature-gates=one.that.has.a.long.name,and.another.one", "--set=a=" + strings.Repeat("b", 40),
		}},
		{Path: `.spec.template.spec.containers[name="sidecar"]`, Op: reconcile.FieldUnset, Old: map[string]any{
			"name": "sidecar", "image": "example.com/sidecar:1", "command": []any{"sh", "-c", "true"},
			"resources": map[string]any{"limits": map[string]any{"memory": "64Mi"}},
		}},
		{Path: ".metadata.annotations.text", Op: reconcile.FieldSet, Old: "one\ntwo", New: "one\ntwo\nthree"},
	}
	c.Changes = []reconcile.Change{d}
	return []show.Collector{c}
}
