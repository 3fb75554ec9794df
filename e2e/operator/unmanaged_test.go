package operator_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
)

func TestUnmanaged(t *testing.T) {
	t.Parallel()
	var (
		paused controlplane.Position
		image  any
	)
	environment.Test(t, steps.Feature("an unmanaged collector").
		Setup(steps.Operator("--workers", "1")).
		Setup(create("manual", "statefulset", `replicas: 2`)).
		Setup(create("canary", "statefulset", `replicas: 0`)).
		Assess("says that it is paused", steps.In(func(t *testing.T, s *steps.Scene) {
			image = imageOf(s.Get(t, steps.StatefulSets, "manual-collector"))
			s.PatchSpec(t, "manual", `managementState: unmanaged`)
			u := s.WaitCondition(t, "manual", "Paused", metav1.ConditionTrue, "Unmanaged", "spec.managementState")
			steps.WithoutCondition(t, u, "Stalled", "Reconciling")
			settle(t, s)
			paused = s.Mark(t)
		})).
		Assess("is left as others make it", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Kubectl(t, "", "set", "image", "statefulset/manual-collector", "otc-container=example.com/mine:1")
			s.Delete(t, steps.Services, "manual-collector", metav1.DeletePropagationBackground)
			s.PatchSpec(t, "manual", "{replicas: 4, image: example.com/new:2}")
			s.WaitCondition(t, "manual", "Paused", metav1.ConditionTrue, "Unmanaged") // of the new generation
			settle(t, s)
			for _, w := range s.Writes(t, paused) {
				if !strings.HasPrefix(w.Name, "canary") && w.Subresource != "status" && w.Resource != "events" {
					t.Errorf("%s %s: an unmanaged collector's objects are not to be touched", w, w.Name)
				}
			}
			set := s.Get(t, steps.StatefulSets, "manual-collector")
			if got := imageOf(set); got != "example.com/mine:1" {
				t.Errorf("image %v, want the one that was set by hand", got)
			}
			if got := steps.Field(set, "spec", "replicas"); got != int64(2) {
				t.Errorf("%v replicas, want the 2 from before", got)
			}
			if s.Find(t, steps.Services, "manual-collector") != nil {
				t.Error("the deleted Service is back")
			}
		})).
		Assess("converges when it is managed again", steps.In(func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, "manual", `managementState: managed`)
			u := s.WaitReady(t, "manual")
			steps.WithoutCondition(t, u, "Paused")
			set := s.Get(t, steps.StatefulSets, "manual-collector")
			if got := imageOf(set); got != "example.com/new:2" {
				t.Errorf("image %v, want the spec's (it was %v at first)", got, image)
			}
			if got := steps.Field(set, "spec", "replicas"); got != int64(4) {
				t.Errorf("%v replicas, want the spec's 4", got)
			}
			s.Get(t, steps.Services, "manual-collector")
		})).
		Feature())
}
