package operator_test

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// unsupported are all fields that this version accepts and does not act on, but for mode sidecar.
const unsupported = `autoscaler: {minReplicas: 1, maxReplicas: 3}
httpRoute: {enabled: true, gateway: gateway, hostnames: [otel.example.com]}
ingress: {type: ingress, hostname: otel.example.com}
networkPolicy: {enabled: true}
observability: {metrics: {enableMetrics: true}}
`

func TestModes(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("a collector of mode").
		Setup(steps.Operator()).
		Setup(create("web", "deployment", `replicas: 2`)).
		Setup(create("agent", "daemonset")).
		Setup(create("pool", "statefulset", `replicas: 2`)).
		Assess("deployment has its replicas", steps.In(func(t *testing.T, s *steps.Scene) {
			wantPods(t, s, "web", "2/2", 2)
		})).
		Assess("daemonset has a pod on each node", steps.In(func(t *testing.T, s *steps.Scene) {
			wantPods(t, s, "agent", "3/3", 3)
			nodes := map[any]bool{}
			for _, p := range s.List(t, steps.Pods, instanceOf(s, "agent")) {
				nodes[steps.Field(&p, "spec", "nodeName")] = true
			}
			if len(nodes) != 3 {
				t.Errorf("pods on %d nodes, want 3: %v", len(nodes), nodes)
			}
			if s.Find(t, steps.Budgets, "agent-collector") != nil {
				t.Error("a DaemonSet has a PodDisruptionBudget")
			}
		})).
		Assess("statefulset has pods with names that last", steps.In(func(t *testing.T, s *steps.Scene) {
			wantPods(t, s, "pool", "2/2", 2)
			want := []string{"pool-collector-0", "pool-collector-1"}
			if got := steps.Names(s.List(t, steps.Pods, instanceOf(s, "pool"))); !slices.Equal(got, want) {
				t.Errorf("pods %v, want %v", got, want)
			}
		})).
		Assess("sidecar has no workload, and says so", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "beside", "sidecar"))
			s.WaitCondition(t, "beside", "UnsupportedFields", metav1.ConditionTrue, "NotImplemented", "spec.mode: sidecar")
			s.WaitCondition(t, "beside", "Ready", metav1.ConditionFalse, "NotImplemented", "sidecars are not injected")
			got := s.Labelled(t, steps.ManagedBy+","+instanceOf(s, "beside"))
			if len(got) != 2 || !strings.HasPrefix(got[0], "configmap/") || got[1] != "serviceaccount/beside-collector" {
				t.Errorf("%v, want a ConfigMap and a ServiceAccount", got)
			}
		})).
		Feature())
}

func TestUnsupportedFields(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("fields that are not acted on yet").
		Setup(steps.Operator()).
		Assess("are named in a condition, and the rest runs", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "ahead", "statefulset", unsupported))
			s.WaitCondition(t, "ahead", "UnsupportedFields", metav1.ConditionTrue, "NotImplemented",
				"spec.autoscaler", "spec.httpRoute", "spec.ingress", "spec.networkPolicy",
				"spec.observability.metrics.enableMetrics")
			s.WaitReady(t, "ahead")
			if n := s.CountEvents(t, "ahead", "NotImplemented"); n != 1 {
				t.Errorf("%d Events, want one: %v", n, s.Events(t, "ahead"))
			}
		})).
		Assess("are no longer named when they are unset", steps.In(func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, "ahead", "{autoscaler: null, httpRoute: null, ingress: null, networkPolicy: null, observability: null}")
			steps.WithoutCondition(t, s.WaitReady(t, "ahead"), "UnsupportedFields")
		})).
		Feature())
}

// instanceOf selects what belongs to one collector.
func instanceOf(s *steps.Scene, collector string) string {
	return "app.kubernetes.io/instance=" + s.Namespace + "." + collector
}

func wantPods(t *testing.T, s *steps.Scene, collector, scale string, n int) {
	t.Helper()
	u := s.WaitReady(t, collector)
	if got := steps.Field(u, "status", "scale", "statusReplicas"); got != scale {
		t.Errorf("status.scale.statusReplicas is %v, want %s", got, scale)
	}
	wantPhases(t, s.List(t, steps.Pods, instanceOf(s, collector)), n, "Running")
}
