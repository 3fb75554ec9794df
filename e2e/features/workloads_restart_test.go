package features_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/otelier/otelier/e2e/steps"
)

// TestOperatorRestart is not parallel: it is about the operator that all the others need.
func TestOperatorRestart(t *testing.T) {
	var d *data
	environment.Test(t, steps.Feature("when the operator starts anew").
		WithLabel("run", "full").
		Setup(steps.In(steps.RealPods, createSeed, func(t *testing.T, s *steps.Scene) {
			d = newData(t, s, 3)
			for name, mode := range map[string]string{"gateway": "deployment", "agent": "daemonset"} {
				s.Create(t, steps.Collector(t, name, mode, withConfig(configured("one"))))
				s.WaitReady(t, name)
			}
		})).
		Assess("nothing is written, and no pod is restarted", steps.In(func(t *testing.T, s *steps.Scene) {
			since, before := s.Mark(t), map[string]life{}
			fleets := []fleet{d.fleet, {s, "gateway"}, {s, "agent"}}
			for _, f := range fleets {
				maps.Copy(before, f.lives(t))
			}
			operators, err := s.Installed.Pods(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s.Kubectl(t, "", "rollout", "restart", "deployment/otelier", "--namespace", s.Installed.Namespace)
			s.Kubectl(t, "", "rollout", "status", "deployment/otelier", "--namespace", s.Installed.Namespace, "--timeout=3m")
			s.Eventually(t, "passes of another operator", func() error { return passesOfAnother(t, s, operators) })
			if writes := s.Requests(t, since); len(writes) > 0 {
				t.Errorf("a restart with nothing to do asked for %d changes:%s", len(writes), steps.Describe(writes))
			}
			for _, f := range fleets {
				wantAmong(t, "pod", f.lives(t), before)
			}
			d.wantKept(t)
		})).
		Assess("it works", steps.In(func(t *testing.T, _ *steps.Scene) { d.scale(t, 4) })).
		Feature())
}

// passesOfAnother is nil when the operator runs in other pods than these, has made a pass over each of three collectors, and has
// nothing more to do.
func passesOfAnother(t *testing.T, s *steps.Scene, former []string) error {
	pods, err := s.Installed.Pods(t.Context())
	if err != nil {
		return err
	}
	for _, name := range former {
		for _, pod := range pods {
			if pod == name {
				return fmt.Errorf("pod %s is there", pod)
			}
		}
	}
	metrics, err := s.Installed.Get(t.Context(), "/metrics")
	if err != nil {
		return err
	}
	passes, depth, working := sample(metrics, "otelier_reconcile_duration_seconds_count"), sample(metrics, "workqueue_depth"),
		sample(metrics, "workqueue_unfinished_work_seconds")
	if passes < 3 || depth > 0 || working > 0 {
		return fmt.Errorf("%v passes, %v in the queue, %v s of work unfinished", passes, depth, working)
	}
	return nil
}

// sample is the sum of the samples of a metric.
func sample(metrics, name string) float64 {
	sum := 0.0
	for line := range strings.Lines(metrics) {
		series, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		metric, _, _ := strings.Cut(series, "{")
		var v float64
		if _, err := fmt.Sscan(value, &v); ok && metric == name && err == nil {
			sum += v
		}
	}
	return sum
}
