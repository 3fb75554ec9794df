package faults_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
)

// TestLeaderKilled kills the leader of two replicas in the midst of its work.
func TestLeaderKilled(t *testing.T) {
	var e election
	environment.Test(t, steps.Feature("the leader of two replicas is killed").
		Setup(steps.In(e.begin)).
		Assess("and the other one goes on", steps.In(func(t *testing.T, s *steps.Scene) {
			e.first.End(t, syscall.SIGKILL)
			e.second.WaitLeading(t)
			e.wantTakenOver(t, s)
		})).
		Feature())
}

// TestLeaderFrozen stops the leader of two replicas without ending it, as a machine does that hangs, and lets it go on when the other
// one has taken over.
func TestLeaderFrozen(t *testing.T) {
	var e election
	environment.Test(t, steps.Feature("the leader of two replicas is frozen").
		Setup(steps.In(e.begin)).
		Assess("and the other one goes on", steps.In(func(t *testing.T, s *steps.Scene) {
			if err := e.first.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = e.first.Signal(syscall.SIGCONT) }) // an error says that it has ended
			e.second.WaitLeading(t)
			changeFleet(t, s) // what the first one would have to do too, if it still worked
			for i := range fleet {
				s.WaitReady(t, name(i))
			}
		})).
		Assess("and ends when it wakes up, without another write", steps.In(func(t *testing.T, s *steps.Scene) {
			e.first.End(t, syscall.SIGCONT)
			if code := e.first.ExitCode(); code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
			if !strings.Contains(e.first.Log(), "the lease was lost") {
				t.Errorf("the log does not say why: %s", e.first.Tail())
			}
			e.wantTakenOver(t, s)
		})).
		Feature())
}

// election is that of two replicas, of which the first one leads.
type election struct {
	first, second *steps.Replica
	since         controlplane.Position
}

// begin returns when the first replica is in the midst of its work.
func (e *election) begin(t *testing.T, s *steps.Scene) {
	createFleet(t, s)
	e.since = s.Mark(t)
	e.first = s.LaunchReplica(t, "first", "--workers", "1")
	e.first.WaitLeading(t)
	waitStored(t, s, e.first.Process, e.since, fleet)
	e.second = s.LaunchReplica(t, "second")
}

// wantTakenOver holds that the second replica has finished the work, and that its first write came after the last one of the first.
func (e *election) wantTakenOver(t *testing.T, s *steps.Scene) {
	t.Helper()
	for i := range fleet {
		s.WaitReady(t, name(i))
	}
	first, second := 0, 0
	for _, w := range s.Stored(t, e.since) { // in the order of the answers
		switch {
		case w.User == e.second.User:
			second++
		case second > 0:
			t.Errorf("the first replica has written %s %s after the second one had begun", w, w.Name)
		default:
			first++
		}
	}
	if first == 0 || second == 0 {
		t.Errorf("%d writes of the first replica and %d of the second, want some of each", first, second)
	}
	wantConverged(t, s)
}
