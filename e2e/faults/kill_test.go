package faults_test

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
)

func TestAPIServerKilled(t *testing.T) { componentKilled(t, controlplane.APIServer) }

func TestEtcdKilled(t *testing.T) { componentKilled(t, controlplane.Etcd) }

// componentKilled kills a component while collectors come up, and while they change.
func componentKilled(t *testing.T, component string) {
	var pods []string
	restart := func(t *testing.T, s *steps.Scene) {
		if err := s.ControlPlane.Restart(t.Context(), component); err != nil {
			t.Fatal(err)
		}
	}
	environment.Test(t, steps.Feature(component+" is killed").
		Assess("while collectors come up", steps.In(func(t *testing.T, s *steps.Scene) {
			createFleet(t, s)
			since := s.Mark(t)
			waitStored(t, s, s.StartOperator(t), since, fleet*3)
			restart(t, s)
			wantConverged(t, s)
			pods = setPods(t, s)
		})).
		Assess("while they change", steps.In(func(t *testing.T, s *steps.Scene) {
			since := s.Mark(t)
			changeFleet(t, s)
			waitStored(t, s, s.Operators[len(s.Operators)-1], since, fleet)
			restart(t, s)
			wantConverged(t, s)
			wantChanged(t, s, pods)
		})).
		Assess("while nothing is to be done", steps.In(func(t *testing.T, s *steps.Scene) {
			since := s.Mark(t)
			restart(t, s)
			s.PatchSpec(t, name(1), `replicas: 3`) // is noticed, so whatever else the restart brings is too
			s.WaitReady(t, name(1))
			s.WaitPasses(t, s.Operators[len(s.Operators)-1], fleet)
			for _, w := range s.Requests(t, since) {
				if w.Name != name(1) && w.Name != name(1)+"-collector" {
					t.Errorf("%s %s (dry run %t)", w, w.Name, w.DryRun)
				}
			}
			wantConverged(t, s)
		})).
		Feature())
}

// TestOperatorKilled kills the operator after random numbers of writes.
func TestOperatorKilled(t *testing.T) {
	const rounds = 5
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var pods []string
	killed := func(most int) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			for range rounds {
				since, writes := s.Mark(t), 1+random.IntN(most)
				p := s.StartOperator(t)
				waitStored(t, s, p, since, writes)
				if err := p.Signal(syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				steps.WaitExit(t, p)
				t.Logf("killed after %d writes, %d were wanted", len(s.Stored(t, since)), writes)
			}
			s.StartOperator(t)
			wantConverged(t, s)
		}
	}
	environment.Test(t, steps.Feature("the operator is killed").
		Assess("while collectors come up", steps.In(createFleet, killed(fleet*3), func(t *testing.T, s *steps.Scene) { pods = setPods(t, s) })).
		Assess("while they change", steps.In(func(t *testing.T, s *steps.Scene) {
			if err := s.Operators[len(s.Operators)-1].Stop(); err != nil {
				t.Fatal(err)
			}
			changeFleet(t, s)
		}, killed(fleet), func(t *testing.T, s *steps.Scene) { wantChanged(t, s, pods) })).
		Feature())
}
