package operator_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

// leaseName is the Lease of the operator's replicas.
const leaseName = "otelier"

// replica is an operator that takes part in an election, under a user's name by which the audit log tells it from others.
type replica struct {
	user    string
	process *program.Process
}

func launchReplica(t *testing.T, s *steps.Scene, user string) *replica {
	t.Helper()
	user += "-" + s.Namespace
	kubeconfig, err := s.Cluster.KubeconfigAs(user, "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{user, s.Launch(t, "--kubeconfig", kubeconfig, "--namespaces", s.Namespace, "--leader-elect", "--leader-elect-namespace", s.Namespace)}
	s.AwaitReady(t, r.process)
	return r
}

// waitLeading waits until the replica works, and returns how long that took.
func (r *replica) waitLeading(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	steps.Eventually(t, r.user+" leads", func() error {
		if !strings.Contains(r.process.Log(), "msg=reconciling") {
			return errors.New("it does not say that it is reconciling:\n" + r.process.Tail())
		}
		return nil
	})
	return time.Since(began)
}

func (r *replica) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := r.process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	waitExit(t, r.process)
}

func waitExit(t *testing.T, p *program.Process) {
	t.Helper()
	select {
	case <-p.Exited():
	case <-time.After(steps.Patience):
		t.Fatalf("the operator has not ended; its last lines:\n%s", p.Tail())
	}
}

// writes are what the replica has had stored, but for its Lease.
func (r *replica) writes(t *testing.T, s *steps.Scene, since controlplane.Position) []string {
	t.Helper()
	var out []string
	for _, w := range controlplane.Persisted(s.Writes(t, since)) {
		if w.User == r.user && w.Resource != "leases" {
			out = append(out, w.String()+" "+w.Name)
		}
	}
	return out
}

func TestLeaderElection(t *testing.T) {
	t.Parallel()
	var (
		start         controlplane.Position
		first, second *replica
	)
	environment.Test(t, steps.Feature("of two replicas").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			start = s.Mark(t)
			first = launchReplica(t, s, "first")
			first.waitLeading(t)
			second = launchReplica(t, s, "second")
		})).
		Assess("one works", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "led", "deployment"))
			s.WaitReady(t, "led")
			if got := first.writes(t, s, start); len(got) == 0 {
				t.Error("the leader has written nothing")
			}
			if got := second.writes(t, s, start); len(got) > 0 {
				t.Errorf("the other one has written %v", got)
			}
		})).
		Assess("the other takes over when it is killed", steps.In(func(t *testing.T, s *steps.Scene) {
			first.signal(t, syscall.SIGKILL)
			took := second.waitLeading(t)
			// 15 s until the lease has run out, and the next attempt after that.
			if limit := 25 * time.Second; took > limit {
				t.Errorf("that took %s, want no more than %s", took, limit)
			}
			s.PatchSpec(t, "led", `replicas: 2`)
			s.WaitReady(t, "led")
		})).
		Assess("the other takes over at once when it is told to end", steps.In(func(t *testing.T, s *steps.Scene) {
			third := launchReplica(t, s, "third")
			second.signal(t, syscall.SIGTERM)
			if code := second.process.ExitCode(); code != 0 {
				t.Errorf("exit status %d, want 0", code)
			}
			// Without the release it would be 15 s.
			if took, limit := third.waitLeading(t), 10*time.Second; took > limit {
				t.Errorf("that took %s, want no more than %s", took, limit)
			}
			s.PatchSpec(t, "led", `replicas: 3`)
			s.WaitReady(t, "led")
		})).
		Feature())
}

func TestLostLease(t *testing.T) {
	t.Parallel()
	var leader *replica
	environment.Test(t, steps.Feature("a leader whose lease is taken away").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			leader = launchReplica(t, s, "leader")
			leader.waitLeading(t)
		})).
		Assess("ends", steps.In(func(t *testing.T, s *steps.Scene) {
			now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
			s.Patch(t, steps.Leases, leaseName, fmt.Sprintf("spec: {holderIdentity: thief, leaseDurationSeconds: 3600, renewTime: %q}", now))
			waitExit(t, leader.process)
			if code := leader.process.ExitCode(); code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
			if log := leader.process.Log(); !strings.Contains(log, "otelier: error: leader election: the lease was lost") {
				t.Errorf("the log does not say why: %s", leader.process.Tail())
			}
			if got := steps.Field(s.Get(t, steps.Leases, leaseName), "spec", "holderIdentity"); got != "thief" {
				t.Errorf("the lease is %v's, want it left to who has it", got)
			}
		})).
		Feature())
}
