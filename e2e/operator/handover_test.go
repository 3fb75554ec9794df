package operator_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
)

const yielded = "otelier.io/replicas-yielded"

// TestNothingIsUndoneUnseen has an autoscaler scale right after somebody has changed something that the operator takes back: what the
// operator sends must not be for what was there before.
func TestNothingIsUndoneUnseen(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("an autoscaler that scales while the operator is at work").
		Setup(steps.Operator()).
		Setup(create("busy", "deployment", `replicas: 2`)).
		Assess("gets what it wants", steps.In(func(t *testing.T, s *steps.Scene) {
			for i := range 6 {
				s.Patch(t, steps.Deployments, "busy-collector", fmt.Sprintf(`metadata: {labels: {%s: round-%d}}`, versionLabel, i))
				s.Scale(t, steps.Deployments, "busy-collector", 3+i, "kube-controller-manager")
				waitYielded(t, s, "busy", 3+i, "kube-controller-manager")
				waitLabel(t, s, steps.Deployments, "busy-collector", versionLabel, s.Get(t, steps.ServiceAccounts, "busy-collector").GetLabels()[versionLabel])
				if got := steps.Field(s.Get(t, steps.Deployments, "busy-collector"), "spec", "replicas"); got != int64(3+i) {
					t.Fatalf("round %d: %v replicas, want %d", i, got, 3+i)
				}
				s.PatchSpec(t, "busy", fmt.Sprintf(`podAnnotations: {round: "%d"}`, i)) // another intent: nobody is to think that they fight
				s.WaitReady(t, "busy")
			}
		})).
		Feature())
}

// TestReplicasHandOver has autoscalers of users, which set the replicas of a workload through its scale subresource.
func TestReplicasHandOver(t *testing.T) {
	t.Parallel()
	var history *steps.History
	scaled := func(n int, manager string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			s.Scale(t, steps.Deployments, "web-collector", n, manager)
			waitYielded(t, s, "web", n, manager)
		}
	}
	kept := func(patch string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, "web", patch)
			waitYielded(t, s, "web", 4, "keda")
			wantPodsOf(t, s, steps.Deployments, "web")
		}
	}
	environment.Test(t, steps.Feature("replicas that an autoscaler sets").
		Setup(steps.Operator("--workers", "1")).
		Setup(create("canary", "statefulset", `replicas: 0`)).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) { history = s.Watch(t, steps.Deployments, "web-collector") })).
		Setup(create("web", "deployment", `replicas: 2`)).
		Assess("are its own from then on", steps.In(scaled(5, "kube-controller-manager"), scaled(3, "kube-controller-manager"), scaled(4, "keda"))).
		Assess("are noted with what the spec said", steps.In(func(t *testing.T, s *steps.Scene) {
			if got := s.Get(t, steps.Deployments, "web-collector").GetAnnotations()[yielded]; got != "2" {
				t.Errorf("annotation %s is %q, want 2", yielded, got)
			}
		})).
		Assess("stay when the configuration changes", steps.In(kept(fmt.Sprintf("config: %q", configLevel(1))))).
		Assess("stay when the image changes", steps.In(kept(`image: example.com/other:1`))).
		Assess("stay when the operator starts again", steps.In(func(t *testing.T, s *steps.Scene) {
			s.WantQuietRestart(t, 2, "--workers", "1")
			waitYielded(t, s, "web", 4, "keda")
		})).
		Assess("were never another number", steps.In(func(t *testing.T, s *steps.Scene) { wantReplicasHistory(t, s, history, 2, 5, 3, 4) })).
		Assess("are the spec's again when that changes", steps.In(func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, "web", `replicas: 6`)
			u := s.WaitReady(t, "web")
			steps.WithoutCondition(t, u, "ReplicasYielded")
			wantReplicasHistory(t, s, history, 2, 5, 3, 4, 6)
			if got, ok := s.Get(t, steps.Deployments, "web-collector").GetAnnotations()[yielded]; ok {
				t.Errorf("annotation %s is still there: %s", yielded, got)
			}
		})).
		Assess("are no person's", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Kubectl(t, "", "scale", "deployment/web-collector", "--replicas=1")
			s.WaitEvent(t, "web", "FieldTakenBack", "kubectl", ".spec.replicas")
			steps.WithoutCondition(t, s.WaitReady(t, "web"), "ReplicasYielded")
			wantReplicasHistory(t, s, history, 2, 5, 3, 4, 6, 1, 6)
		})).
		Feature())
}

// TestReplicasOfAReplacedSet has the workload made anew while an autoscaler sets its replicas.
func TestReplicasOfAReplacedSet(t *testing.T) {
	t.Parallel()
	var history *steps.History
	environment.Test(t, steps.Feature("replicas of an autoscaler").
		Setup(steps.Operator("--workers", "1")).
		Setup(create("canary", "statefulset", `replicas: 0`)).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) { history = s.Watch(t, steps.StatefulSets, "pool-collector") })).
		Setup(create("pool", "statefulset", claimTemplate, `replicas: 2`)).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			s.Scale(t, steps.StatefulSets, "pool-collector", 4, "kube-controller-manager")
			waitYielded(t, s, "pool", 4, "kube-controller-manager")
			settle(t, s)
		})).
		Assess("survive that a StatefulSet is made anew, and so do the pods", steps.In(func(t *testing.T, s *steps.Scene) {
			before := beforeReplacement(t, s, "pool")
			s.PatchSpec(t, "pool", `podManagementPolicy: OrderedReady`)
			s.WaitReady(t, "pool")
			before.wantReplaced(t, s)
			before.wantSamePods(t, s)
			waitYielded(t, s, "pool", 4)
			settle(t, s)
			before.wantWrites(t, s, map[string]int{"patch statefulsets.apps": 2}) // the second gives the autoscaler its field back
		})).
		Assess("survive a restart of the operator after that", steps.In(func(t *testing.T, s *steps.Scene) {
			s.WantQuietRestart(t, 2, "--workers", "1")
			waitYielded(t, s, "pool", 4)
		})).
		Assess("can still be set by the autoscaler", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Scale(t, steps.StatefulSets, "pool-collector", 3, "kube-controller-manager")
			waitYielded(t, s, "pool", 3, "kube-controller-manager")
			settle(t, s)
			waitYielded(t, s, "pool", 3, "kube-controller-manager")
		})).
		Assess("are the spec's again when that changes, at once", steps.In(func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, "pool", `replicas: 5`)
			steps.WithoutCondition(t, s.WaitReady(t, "pool"), "ReplicasYielded")
			wantReplicasHistory(t, s, history, 2, 4, 3, 5)
		})).
		Feature())
}

// waitYielded waits until a collector is Ready with a number of replicas that its condition says somebody else has set.
func waitYielded(t *testing.T, s *steps.Scene, collector string, n int, texts ...string) {
	t.Helper()
	s.WaitCondition(t, collector, "ReplicasYielded", metav1.ConditionTrue, "ScaledByOther", texts...)
	steps.Eventually(t, fmt.Sprintf("%s with %d replicas", collector, n), func() error {
		u := s.WaitReady(t, collector)
		if got, want := steps.Field(u, "status", "scale", "statusReplicas"), fmt.Sprintf("%d/%d", n, n); got != want {
			return fmt.Errorf("status.scale.statusReplicas is %v, want %s", got, want)
		}
		return nil
	})
}

// wantReplicasHistory holds every number of replicas that a workload was ever to have, one after the other.
func wantReplicasHistory(t *testing.T, s *steps.Scene, h *steps.History, want ...int64) {
	t.Helper()
	states := h.States()
	if len(states) == 0 {
		t.Fatal("nothing was seen of the workload")
	}
	last := states[len(states)-1]
	r := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: map[string]string{"Deployment": "deployments", "StatefulSet": "statefulsets"}[last.GetKind()]}
	now := s.Get(t, r, last.GetName()).GetResourceVersion()
	steps.Eventually(t, "watch", func() error { // until it has seen what there is
		if states = h.States(); !slices.ContainsFunc(states, func(u *unstructured.Unstructured) bool { return u.GetResourceVersion() == now }) {
			return errors.New("behind")
		}
		return nil
	})
	var got []int64
	for _, u := range states {
		if n, ok := steps.Field(u, "spec", "replicas").(int64); ok && (len(got) == 0 || got[len(got)-1] != n) {
			got = append(got, n)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("spec.replicas was %v, want %v", got, want)
	}
}
