package operator_test

import (
	"fmt"
	"slices"
	"testing"

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
		Assess("leaves nothing in the namespace but that", steps.In(func(t *testing.T, s *steps.Scene) {
			want := []string{"persistentvolumeclaim/data-keeps-collector-0", "persistentvolumeclaim/data-keeps-collector-1"}
			if got := s.Labelled(t, steps.ManagedBy); !slices.Equal(got, want) {
				t.Errorf("%v is left, want %v", got, want)
			}
		})).
		Feature())
}
