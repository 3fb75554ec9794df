package features_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/steps"
)

const (
	// apiAwayFor is longer than a leader may go without renewing its Lease, so that it ends.
	apiAwayFor = 30 * time.Second
	// apiBack is within what time the operator has done something once the API server is back. All watches wait for as much as 30 s, and
	// jitter doubles that, between two attempts (k8s.io/client-go/tools/cache): those of the operator, and before them those of
	// kube-proxy, which has to learn of the API server's address. And a Lease that nobody has given back lasts 15 s.
	apiBack = 2 * time.Minute
	// apiManifest is the static pod of the API server, which kubeadm has put there.
	apiManifest = "/etc/kubernetes/manifests/kube-apiserver.yaml"
)

// TestAPIServerAway kills the API server, which the kubelet starts again, and then keeps it away for longer.
func TestAPIServerAway(t *testing.T) {
	environment.Test(t, steps.Feature("the API server is away").
		WithLabel("run", "full").
		Assess("and nothing is lost of any target", steps.In(steps.RealPods, func(t *testing.T, scene *steps.Scene) {
			f := startFaulty(t, scene, 3)
			nodes, err := f.nodes.Nodes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			f.apiServerAway(t, "API server killed", func(t *testing.T) {
				f.kill(t, "kube-system", "kube-apiserver-"+nodes[0])
				f.waitAPIGone(t)
			})
			f.apiServerAway(t, "API server away for 30 s", func(t *testing.T) {
				restore := f.removeAPIServer(t, nodes[0])
				f.waitAPIGone(t)
				until := time.Now().Add(apiAwayFor)
				steps.Within(t, apiAwayFor+time.Minute, "the API server stays away", func() error {
					if left := time.Until(until); left > 0 {
						return fmt.Errorf("%s to go", left)
					}
					return nil
				})
				restore()
			})
		})).
		Feature())
}

// apiServerAway judges an incident in which the API server goes.
func (f *faulty) apiServerAway(t *testing.T, name string, do func(t *testing.T)) {
	i := f.incident(t, name)
	do(t)
	within(t, steps.RealPatience, "the API server is ready", func() error { return f.apiReady(t.Context()) })
	back := time.Now()
	i.note(t, "it was ready again after %s", i.passed())
	late := fmt.Sprintf("after-%d", len(f.losses))
	f.Create(t, steps.Collector(t, late, "deployment", configDebug))
	f.WaitReady(t, late)
	took := time.Since(back)
	i.note(t, "a collector created then was Ready %s after", took.Round(time.Second/10))
	if took > apiBack {
		t.Errorf("%s: a collector was Ready %s after the API server was back, want %s at most", name, took, apiBack)
	}
	i.over(t, judged{
		expected: expected{members: members(3)}, stay: true, groups: []group{untouched()}, pods: f.operator,
	})
	f.waitOperators(t, 1)
	i.noteRestarts(t)
	f.WaitReady(t, pool)
}

func (f *faulty) apiReady(ctx context.Context) error {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return f.client.CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

func (f *faulty) waitAPIGone(t *testing.T) {
	t.Helper()
	within(t, steps.RealPatience, "the API server does not answer", func() error {
		if err := f.apiReady(t.Context()); err == nil {
			return errors.New("it does")
		}
		return nil
	})
}

// removeAPIServer has the kubelet end the API server, until the function that it returns is called or the test ends.
func (f *faulty) removeAPIServer(t *testing.T, node string) (restore func()) {
	t.Helper()
	const aside = "/etc/kubernetes/kube-apiserver.yaml.aside"
	ctx, removed := context.WithoutCancel(t.Context()), false
	restore = func() {
		if !removed {
			return
		}
		if _, err := f.nodes.Exec(ctx, node, "mv", aside, apiManifest); err != nil {
			t.Errorf("node %s: %v", node, err)
		}
		removed = false
	}
	t.Cleanup(func() {
		restore()
		ctx, cancel := context.WithTimeout(ctx, steps.RealPatience)
		defer cancel()
		wait(ctx, t, "the API server is ready", func() error { return f.apiReady(ctx) })
	})
	if _, err := f.nodes.Exec(t.Context(), node, "mv", apiManifest, aside); err != nil {
		t.Fatalf("node %s: %v", node, err)
	}
	removed = true
	return restore
}

// noteRestarts notes how often the operator's containers were started again.
func (i *incident) noteRestarts(t *testing.T) {
	t.Helper()
	now, err := i.podsNow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range now {
		if i.operator(name) {
			i.note(t, "the operator's container was started again %d times", p.restarts-i.pods[name].restarts)
		}
	}
}
