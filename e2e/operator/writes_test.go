package operator_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
)

// TestWrites counts what a fleet costs the API server.
func TestWrites(t *testing.T) {
	t.Parallel()
	const (
		collectors = 10
		objects    = 7 // of each: ServiceAccount, ConfigMap, three Services, StatefulSet, PodDisruptionBudget
		statuses   = 4 // and inventories: what a collector may take beside its objects
	)
	var start controlplane.Position
	environment.Test(t, steps.Feature("a fleet").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			start = s.Mark(t)
			s.StartOperator(t)
			for i := range collectors {
				s.Create(t, steps.Collector(t, fmt.Sprintf("fleet-%d", i), "statefulset", claimTemplate, `replicas: 3`))
			}
			for i := range collectors {
				s.WaitReady(t, fmt.Sprintf("fleet-%d", i))
			}
			s.WaitPasses(t, s.Operators[0], collectors)
			if err := s.Operators[0].Stop(); err != nil {
				t.Fatal(err)
			}
		})).
		Assess("is made by one write for each object, and few more", steps.In(func(t *testing.T, s *steps.Scene) {
			writes, created := s.Stored(t, start), 0
			for _, w := range writes {
				if w.Code == http.StatusCreated {
					created++
				}
			}
			if created != collectors*objects {
				t.Errorf("%d objects were created, want %d: %v", created, collectors*objects, controlplane.Counts(writes))
			}
			if limit := created + collectors*statuses; len(writes) > limit {
				t.Errorf("%d writes, want no more than %d: %v", len(writes), limit, controlplane.Counts(writes))
			}
		})).
		Assess("takes no write and no dry run when the operator starts again", steps.In(func(t *testing.T, s *steps.Scene) {
			s.WantQuietRestart(t, collectors)
		})).
		Assess("leaves nothing that no inventory knows of", steps.In(func(t *testing.T, s *steps.Scene) {
			s.WantNothingLeaked(t)
		})).
		Feature())
}
