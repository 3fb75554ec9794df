package operator_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

func TestDeletion(t *testing.T) {
	t.Parallel()
	deleted := func(name string, left ...string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			s.Kubectl(t, "", "delete", "otelcol", name, "--timeout=60s")
			steps.Eventually(t, "what is left of "+name, func() error {
				if got := s.Labelled(t, steps.ManagedBy+","+instanceOf(s, name)); !slices.Equal(got, left) {
					return fmt.Errorf("%v, want %v", got, left)
				}
				return nil
			})
		}
	}
	environment.Test(t, steps.Feature("kubectl delete").
		Setup(steps.Operator()).
		Setup(create("clean", "statefulset", claimTemplate, `{replicas: 2, persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}}`)).
		Setup(create("keeps", "statefulset", claimTemplate, `replicas: 2`)).
		Setup(create("plain", "deployment")).
		Assess("leaves nothing", steps.In(deleted("plain"))).
		Assess("leaves no claim where the spec says so", steps.In(deleted("clean"))).
		Assess("leaves the claims otherwise, and nothing else", steps.In(
			deleted("keeps", "persistentvolumeclaim/data-keeps-collector-0", "persistentvolumeclaim/data-keeps-collector-1"),
		)).
		Assess("leaves no pods while the StatefulSet is being made anew", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "half", "statefulset", `replicas: 2`))
			s.WaitReady(t, "half")
			if err := s.Operators[0].Stop(); err != nil {
				t.Fatal(err)
			}
			s.Delete(t, steps.StatefulSets, "half-collector", metav1.DeletePropagationOrphan) // as far as a killed operator has come
			steps.Eventually(t, "the end of the StatefulSet", func() error {
				if s.Find(t, steps.StatefulSets, "half-collector") != nil {
					return errors.New("it is there")
				}
				return nil
			})
			s.Kubectl(t, "", "delete", "otelcol", "half", "--timeout=60s")
			if got := s.List(t, steps.Pods, instanceOf(s, "half")); len(got) != 2 {
				t.Fatalf("%d pods are left to delete, want 2", len(got))
			}
			s.StartOperator(t)
			steps.Eventually(t, "pods", func() error {
				if got := s.List(t, steps.Pods, instanceOf(s, "half")); len(got) > 0 {
					return fmt.Errorf("%d are left", len(got))
				}
				return nil
			})
		})).
		Assess("leaves nothing in the namespace but that", steps.In(func(t *testing.T, s *steps.Scene) {
			want := []string{"persistentvolumeclaim/data-keeps-collector-0", "persistentvolumeclaim/data-keeps-collector-1"}
			got := slices.DeleteFunc(s.Labelled(t, steps.ManagedBy), func(name string) bool {
				return strings.HasPrefix(name, "controllerrevision/half-collector-") // orphaned with the StatefulSet, and seen by nobody
			})
			if !slices.Equal(got, want) {
				t.Errorf("%v is left, want %v", got, want)
			}
		})).
		Feature())
}
