package operator_test

import (
	"fmt"
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/e2e/steps"
)

const partOf = "app.kubernetes.io/part-of"

// TestReplaceSelector has StatefulSets with selectors that an older operator may have made.
func TestReplaceSelector(t *testing.T) {
	t.Parallel()
	var narrow, other replacement
	environment.Test(t, steps.Feature("a StatefulSet with another selector is made anew").
		Setup(steps.Operator("--workers", "1")).
		Setup(create("narrow", "statefulset", claimTemplate, `replicas: 2`)).
		Setup(create("other", "statefulset", claimTemplate, `replicas: 2`)).
		Setup(create("canary", "statefulset", `replicas: 0`)).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			if err := s.Operators[0].Stop(); err != nil {
				t.Fatal(err)
			}
			narrow = predecessor(t, s, "narrow", func(set map[string]any) {
				unstructured.RemoveNestedField(set, "spec", "selector", "matchLabels", partOf)
			})
			other = predecessor(t, s, "other", func(set map[string]any) {
				for _, path := range [][]string{{"spec", "selector", "matchLabels", partOf}, {"spec", "template", "metadata", "labels", partOf}} {
					_ = unstructured.SetNestedField(set, "otherpart", path...) // the paths are there
				}
			})
			s.StartOperator(t, "--workers", "1")
			settle(t, s)
		})).
		Assess("around its pods, where they have all labels", steps.In(func(t *testing.T, s *steps.Scene) {
			s.WaitReady(t, "narrow")
			wantOurSelector(t, s, "narrow")
			narrow.wantReplaced(t, s)
			narrow.wantSamePods(t, s)
		})).
		Assess("around its claims, where the pods have other labels", steps.In(func(t *testing.T, s *steps.Scene) {
			s.WaitReady(t, "other")
			wantOurSelector(t, s, "other")
			other.wantReplaced(t, s)
			wantPodsOf(t, s, steps.StatefulSets, "other")
			if got := s.List(t, steps.Pods, instanceOf(s, "other")+","+partOf+"=otherpart"); len(got) > 0 {
				t.Errorf("pods of the former one are left: %v", steps.Names(got))
			}
		})).
		Assess("by one deletion that leaves the pods", steps.In(func(t *testing.T, s *steps.Scene) {
			for _, r := range []replacement{narrow, other} {
				deletions := 0
				for _, w := range s.Stored(t, r.since) {
					if w.Verb == "delete" && w.Name == r.collector+"-collector" {
						deletions++
						if w.Propagation != "Orphan" || w.PreconditionUID != r.set {
							t.Errorf("%s %s: propagation %q and UID %q, want Orphan and %q", w, w.Name, w.Propagation, w.PreconditionUID, r.set)
						}
					}
				}
				if deletions != 1 {
					t.Errorf("%s: %d deletions, want one", r.collector, deletions)
				}
			}
		})).
		Assess("and leaves nothing to do", steps.In(func(t *testing.T, s *steps.Scene) {
			s.WantQuietRestart(t, 3)
			s.WantNothingLeaked(t)
		})).
		Feature())
}

// predecessor puts a StatefulSet that was changed in the place of a collector's own, by the hands of another client, while no operator
// runs. Pods that it does not select are made anew by it.
func predecessor(t *testing.T, s *steps.Scene, collector string, change func(map[string]any)) replacement {
	t.Helper()
	set := s.Get(t, steps.StatefulSets, collector+"-collector")
	s.Delete(t, steps.StatefulSets, set.GetName(), metav1.DeletePropagationOrphan)
	steps.Eventually(t, "deletion of the StatefulSet", func() error {
		if u := s.Find(t, steps.StatefulSets, set.GetName()); u != nil {
			return fmt.Errorf("%s is there", u.GetName())
		}
		return nil
	})
	change(set.Object)
	delete(set.Object, "status")
	set.SetManagedFields(nil)
	set.SetUID("")
	set.SetResourceVersion("")
	set.SetGeneration(0)
	selected, _, _ := unstructured.NestedStringMap(set.Object, "spec", "selector", "matchLabels")
	for _, pod := range s.List(t, steps.Pods, instanceOf(s, collector)) {
		labels := pod.GetLabels()
		maps.Copy(labels, selected)
		if !maps.Equal(labels, pod.GetLabels()) {
			s.Delete(t, steps.Pods, pod.GetName(), metav1.DeletePropagationBackground)
		}
	}
	s.Kubectl(t, manifest(t, set), "create", "-f", "-")
	s.Kubectl(t, "", "rollout", "status", "statefulset/"+set.GetName(), "--timeout=60s")
	return beforeReplacement(t, s, collector)
}

func wantOurSelector(t *testing.T, s *steps.Scene, collector string) {
	t.Helper()
	want := map[string]string{
		"app.kubernetes.io/managed-by": "opentelemetry-operator",
		"app.kubernetes.io/component":  "opentelemetry-collector",
		"app.kubernetes.io/instance":   s.Namespace + "." + collector,
		partOf:                         "opentelemetry",
	}
	got, _, _ := unstructured.NestedStringMap(s.Get(t, steps.StatefulSets, collector+"-collector").Object, "spec", "selector", "matchLabels")
	if !maps.Equal(got, want) {
		t.Errorf("selector %v, want %v", got, want)
	}
}
