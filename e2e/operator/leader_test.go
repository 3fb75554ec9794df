package operator_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
)

func TestLeaderElection(t *testing.T) {
	t.Parallel()
	var (
		start         controlplane.Position
		first, second *steps.Replica
	)
	environment.Test(t, steps.Feature("of two replicas").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			start = s.Mark(t)
			first = s.LaunchReplica(t, "first")
			first.WaitLeading(t)
			second = s.LaunchReplica(t, "second")
		})).
		Assess("one works", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "led", "deployment"))
			s.WaitReady(t, "led")
			if got := first.Stored(t, start); len(got) == 0 {
				t.Error("the leader has written nothing")
			}
			if got := second.Stored(t, start); len(got) > 0 {
				t.Errorf("the other one has written %v", got)
			}
		})).
		Assess("the other takes over when it is killed", steps.In(func(t *testing.T, s *steps.Scene) {
			first.End(t, syscall.SIGKILL)
			took := second.WaitLeading(t)
			// 15 s until the lease has run out, and the next attempt after that.
			if limit := 25 * time.Second; took > limit {
				t.Errorf("that took %s, want no more than %s", took, limit)
			}
			s.PatchSpec(t, "led", `replicas: 2`)
			s.WaitReady(t, "led")
		})).
		Assess("the other takes over at once when it is told to end", steps.In(func(t *testing.T, s *steps.Scene) {
			third := s.LaunchReplica(t, "third")
			second.End(t, syscall.SIGTERM)
			if code := second.ExitCode(); code != 0 {
				t.Errorf("exit status %d, want 0", code)
			}
			// Without the release it would be 15 s.
			if took, limit := third.WaitLeading(t), 10*time.Second; took > limit {
				t.Errorf("that took %s, want no more than %s", took, limit)
			}
			s.PatchSpec(t, "led", `replicas: 3`)
			s.WaitReady(t, "led")
		})).
		Feature())
}

func TestLostLease(t *testing.T) {
	t.Parallel()
	var leader *steps.Replica
	environment.Test(t, steps.Feature("a leader whose lease is taken away").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			leader = s.LaunchReplica(t, "leader")
			leader.WaitLeading(t)
		})).
		Assess("ends", steps.In(func(t *testing.T, s *steps.Scene) {
			now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
			s.Patch(t, steps.Leases, steps.LeaseName, fmt.Sprintf("spec: {holderIdentity: thief, leaseDurationSeconds: 3600, renewTime: %q}", now))
			steps.WaitExit(t, leader.Process)
			if code := leader.ExitCode(); code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
			if log := leader.Log(); !strings.Contains(log, "otelier: error: leader election: the lease was lost") {
				t.Errorf("the log does not say why: %s", leader.Tail())
			}
			if got := steps.Field(s.Get(t, steps.Leases, steps.LeaseName), "spec", "holderIdentity"); got != "thief" {
				t.Errorf("the lease is %v's, want it left to who has it", got)
			}
		})).
		Feature())
}
