package operator_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
)

const claimTemplate = `volumeClaimTemplates:
- metadata: {name: data}
  spec:
    accessModes: [ReadWriteOnce]
    resources: {requests: {storage: 1Gi}}
`

func TestScale(t *testing.T) {
	t.Parallel()
	var history *steps.History
	environment.Test(t, steps.Feature("scaling").
		Setup(steps.Operator()).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) { history = s.Watch(t, steps.Collectors, "pool") })).
		Setup(create("pool", "statefulset", claimTemplate, `replicas: 3`)).
		Assess("up with kubectl scale", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Kubectl(t, "", "scale", "otelcol/pool", "--replicas=5")
			s.Kubectl(t, "", "wait", "--for=condition=Ready", "--timeout=60s", "otelcol/pool")
			wantReplicas(t, s, 5)
		})).
		Assess("down by its spec", steps.In(func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, "pool", `replicas: 2`)
			s.Kubectl(t, "", "wait", "--for=condition=Ready", "--timeout=60s", "otelcol/pool")
			wantReplicas(t, s, 2)
		})).
		Assess("to nothing and back", steps.In(func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, "pool", `replicas: 0`)
			s.WaitReady(t, "pool")
			wantReplicas(t, s, 0)
			s.PatchSpec(t, "pool", `replicas: 1`)
			s.WaitReady(t, "pool")
			wantReplicas(t, s, 1)
		})).
		Assess("makes the collector unready for as long as it takes", steps.In(func(t *testing.T, _ *steps.Scene) {
			unready := map[int64]bool{} // generations
			for _, u := range history.States() {
				n := steps.Field(u, "spec", "replicas")
				scale, ready := steps.Field(u, "status", "scale", "statusReplicas"), steps.Conditions(t, u)["Ready"]
				switch {
				case !steps.Observed(u) || ready.Status != metav1.ConditionTrue:
					unready[u.GetGeneration()] = true
				case scale != fmt.Sprintf("%v/%v", n, n):
					t.Errorf("ready with %v replicas while the spec wants %v", scale, n)
				}
			}
			if len(unready) != 5 {
				t.Errorf("unready in generations %v, want so in each of five", unready)
			}
		})).
		Feature())
}

// create is a step that creates a collector and waits until it is ready.
func create(name, mode string, fields ...string) features.Func {
	return steps.In(func(t *testing.T, s *steps.Scene) {
		t.Helper()
		s.Create(t, steps.Collector(t, name, mode, fields...))
		s.WaitReady(t, name)
	})
}

// wantReplicas says what has to be true at the very moment at which the collector called pool calls itself ready.
func wantReplicas(t *testing.T, s *steps.Scene, n int) {
	t.Helper()
	u := s.WaitReady(t, "pool")
	if got, want := steps.Field(u, "status", "scale", "statusReplicas"), fmt.Sprintf("%d/%d", n, n); got != want {
		t.Errorf("status.scale.statusReplicas is %v, want %s", got, want)
	}
	if got := steps.Field(u, "status", "scale", "replicas"); got != int64(n) {
		t.Errorf("status.scale.replicas is %v, want %d", got, n)
	}
	wantPhases(t, s.List(t, steps.Pods, steps.ManagedBy), n, "Running")
}

// TestFrozenRollout is not parallel: it stops what runs the pods of all tests.
func TestFrozenRollout(t *testing.T) {
	var thaw func()
	environment.Test(t, steps.Feature("pods that don't come up").
		Setup(steps.Operator()).
		Setup(create("pool", "statefulset", `replicas: 1`)).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			var err error
			if thaw, err = s.ControlPlane.Freeze(controlplane.Kwok); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(thaw)
			s.PatchSpec(t, "pool", `replicas: 3`)
		})).
		Assess("make the collector unready", steps.In(func(t *testing.T, s *steps.Scene) {
			u := s.WaitCondition(t, "pool", "Ready", metav1.ConditionFalse, "Progressing", "statefulset/pool-collector")
			steps.WithoutCondition(t, u, "Stalled")
			s.WaitCondition(t, "pool", "Reconciling", metav1.ConditionTrue, "Progressing", "statefulset/pool-collector")
		})).
		Assess("stay told from ready ones for as long as they are not", steps.In(func(t *testing.T, s *steps.Scene) {
			out, err := s.TryKubectl(t.Context(), "", "wait", "--for=condition=Ready", "--timeout=2s", "otelcol/pool")
			if err == nil || !strings.Contains(out, "timed out") {
				t.Errorf("kubectl wait: error %v, want that it timed out: %s", err, out)
			}
			if got := steps.Field(s.Get(t, steps.Collectors, "pool"), "status", "scale", "statusReplicas"); got != "1/3" {
				t.Errorf("status.scale.statusReplicas is %v, want 1/3", got)
			}
		})).
		Assess("make it ready when they do", steps.In(func(t *testing.T, s *steps.Scene) {
			thaw()
			u := s.WaitReady(t, "pool")
			steps.WithoutCondition(t, u, "Reconciling", "Stalled")
			wantReplicas(t, s, 3)
		})).
		Feature())
}
