package steps

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps/program"
)

// LeaseName is the Lease of the operator's replicas.
const LeaseName = "otelier"

// Replica is an operator that takes part in an election, under a user's name by which the audit log tells it from others.
type Replica struct {
	*program.Process
	User string

	scene *Scene
}

// LaunchReplica starts an operator that works in the scene's namespace when it is elected there, and waits until it is ready.
func (s *Scene) LaunchReplica(t *testing.T, user string, flags ...string) *Replica {
	t.Helper()
	user += "-" + s.Namespace
	kubeconfig, err := s.Cluster.KubeconfigAs(user, "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	p := s.Launch(t, append([]string{
		"--kubeconfig", kubeconfig, "--namespaces", s.Namespace, "--leader-elect", "--leader-elect-namespace", s.Namespace,
	}, flags...)...)
	s.AwaitReady(t, p)
	return &Replica{p, user, s}
}

// WaitLeading waits until the replica works, and returns how long that took.
func (r *Replica) WaitLeading(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	Eventually(t, r.User+" leads", func() error {
		if !strings.Contains(r.Log(), "msg=reconciling") {
			return errors.New("it does not say that it is reconciling:\n" + r.Tail())
		}
		return nil
	})
	return time.Since(began)
}

// End sends a signal that ends the replica, and waits for that.
func (r *Replica) End(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := r.Signal(sig); err != nil {
		t.Fatal(err)
	}
	WaitExit(t, r.Process)
}

// WaitExit waits until a process has ended.
func WaitExit(t *testing.T, p *program.Process) {
	t.Helper()
	select {
	case <-p.Exited():
	case <-time.After(Patience):
		t.Fatalf("the operator has not ended; its last lines:\n%s", p.Tail())
	}
}

// Stored is what the replica has had stored since a position of the audit log, but for its Lease and its Events.
func (r *Replica) Stored(t *testing.T, since controlplane.Position) []controlplane.Write {
	t.Helper()
	return slices.DeleteFunc(r.scene.Stored(t, since), func(w controlplane.Write) bool { return w.User != r.User })
}
