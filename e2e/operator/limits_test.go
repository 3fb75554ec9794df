package operator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// padded is a configuration with so many bytes, in which nothing is left to the operator to set.
func padded(size int) string {
	const line = "# padding padding padding padding padding padding padding padding padding padding\n"
	config := steps.ConfigOTLP + "  telemetry: {metrics: {level: none}}\n"
	return config + strings.Repeat(line, size/len(line)+1)[:size-len(config)]
}

func TestLargeConfig(t *testing.T) {
	t.Parallel()
	const kiB, mib = 1 << 10, 1 << 20
	var before []string
	tooLarge := func(size int) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			s.SetConfig(t, "large", padded(size))
			u := s.WaitCondition(t, "large", "Ready", metav1.ConditionFalse, "InvalidConfig",
				fmt.Sprintf("spec.config: collector.yaml takes %d bytes, a ConfigMap holds at most 1048576", size))
			if message := steps.Conditions(t, u)["Ready"].Message; len(message) > kiB {
				t.Errorf("the message has %d bytes: %s …", len(message), message[:kiB])
			}
			if after := running(t, s, "large"); !slices.Equal(after, before) {
				t.Errorf("what runs has changed from %v to %v", before, after)
			}
		}
	}
	environment.Test(t, steps.Feature("a large configuration").
		Setup(steps.Operator()).
		Setup(create("large", "statefulset")).
		Assess("runs as long as a ConfigMap can hold it", steps.In(func(t *testing.T, s *steps.Scene) {
			s.SetConfig(t, "large", padded(mib-kiB))
			s.WaitReady(t, "large")
			name := wantConfigInUse(t, s, steps.StatefulSets, "large")
			if got := steps.Field(s.Get(t, steps.ConfigMaps, name), "data", "collector.yaml"); got != padded(mib-kiB) {
				t.Errorf("collector.yaml is not the spec's text")
			}
			before = running(t, s, "large")
		})).
		Assess("of 1 MiB changes nothing, and says why", steps.In(tooLarge(mib+1))).
		Assess("of 1.2 MiB neither", steps.In(tooLarge(mib+mib/5))).
		Assess("of 3 MiB is refused at once", steps.In(func(t *testing.T, s *steps.Scene) {
			if _, err := s.TryPatch(t, steps.Collectors, "large", fmt.Sprintf("spec: {config: %q}", padded(3*mib))); err == nil || !strings.Contains(err.Error(), "too large") {
				t.Errorf("error %v, want that it is too large", err)
			}
		})).
		Assess("is repaired by a smaller one", steps.In(func(t *testing.T, s *steps.Scene) {
			s.SetConfig(t, "large", steps.ConfigOTLP)
			u := s.WaitReady(t, "large")
			steps.WithoutCondition(t, u, "Stalled")
		})).
		Feature())
}

func TestLongNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 199)
	environment.Test(t, steps.Feature("a name").
		Setup(steps.Operator()).
		Assess("of 300 characters is refused at once", steps.In(func(t *testing.T, s *steps.Scene) {
			u := steps.Collector(t, strings.Repeat("a", 300), "deployment")
			out, err := s.TryKubectl(t.Context(), manifest(t, u), "create", "-f", "-")
			if err == nil || !strings.Contains(out, "metadata.name") || !strings.Contains(out, "253") {
				t.Errorf("error %v, want that the name has more than 253 characters: %s", err, out)
			}
		})).
		Assess("of 200 characters is cut to what the names of its objects may have", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, long+"b", "deployment"))
			s.WaitReady(t, long+"b")
			if got := len(steps.Names(s.List(t, steps.Deployments, steps.ManagedBy))[0]); got > 63 {
				t.Errorf("the Deployment's name has %d characters", got)
			}
		})).
		Assess("that is cut to the same ones leaves the first alone", steps.In(func(t *testing.T, s *steps.Scene) {
			before := s.List(t, steps.Deployments, steps.ManagedBy)
			s.Create(t, steps.Collector(t, long+"c", "deployment", `replicas: 3`))
			s.WaitCondition(t, long+"c", "Ready", metav1.ConditionFalse, "OwnershipConflict", "belongs to OpenTelemetryCollector "+long+"b")
			after := s.List(t, steps.Deployments, steps.ManagedBy)
			if !slices.Equal(steps.UIDs(after), steps.UIDs(before)) || after[0].GetGeneration() != before[0].GetGeneration() {
				t.Error("the Deployment of the first collector has changed")
			}
			s.WaitReady(t, long+"b")
		})).
		Feature())
}

func TestRefusedAtOnce(t *testing.T) {
	t.Parallel()
	feature := steps.Feature("kubectl apply refuses").Setup(steps.Operator()).Setup(create("good", "deployment"))
	for _, c := range []struct{ name, fields, text string }{
		{"an unknown mode", `mode: cluster`, `spec.mode: Unsupported value: "cluster": supported values: "daemonset", "deployment", "sidecar", "statefulset"`},
		{"another mode", `mode: daemonset`, "does not support modification"},
		{"an empty configuration", `config: ""`, "config must not be empty"},
		{"no configuration", `config: null`, "config must not be empty"},
		{"a misspelt field", `replcas: 3`, ".spec.replcas: field not declared in schema"},
		{"what is no number", `replicas: many`, "spec.replicas"},
		{"fewer than no replicas", `replicas: -1`, "spec.replicas"},
	} {
		feature = feature.Assess(c.name, steps.In(func(t *testing.T, s *steps.Scene) {
			before := s.WaitReady(t, "good")
			out, err := s.TryKubectl(t.Context(), manifest(t, steps.Collector(t, "good", "deployment", c.fields)), "apply", "--server-side", "--force-conflicts", "-f", "-")
			if err == nil || !strings.Contains(out, c.text) {
				t.Errorf("error %v, want one with %q: %s", err, c.text, out)
			}
			if after := s.WaitReady(t, "good"); after.GetGeneration() != before.GetGeneration() {
				t.Error("the collector has changed")
			}
		}))
	}
	environment.Test(t, feature.Feature())
}

func TestUnknownReceiver(t *testing.T) {
	t.Parallel()
	const config = `receivers: {fromthefuture: {endpoint: 0.0.0.0:9999}, otlp: {protocols: {grpc: {endpoint: 0.0.0.0:4317}}}}
exporters: {debug: {}}
service: {pipelines: {traces: {receivers: [fromthefuture, otlp], exporters: [debug]}}}
`
	environment.Test(t, steps.Feature("a receiver that the operator has not heard of").
		Setup(steps.Operator()).
		Assess("is the collector's business", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "ahead", "deployment", fmt.Sprintf("config: %q", config)))
			u := s.WaitReady(t, "ahead")
			steps.WithoutCondition(t, u, "Stalled", "Reconciling", "UnsupportedFields")
			wantConfigInUse(t, s, steps.Deployments, "ahead")
		})).
		Feature())
}
