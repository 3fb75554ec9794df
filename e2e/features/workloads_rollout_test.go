package features_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// TestRollouts is about new configurations, read from the collectors that work with them.
func TestRollouts(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("a new configuration reaches the collectors of a").
		WithLabel("run", "full").
		Assess("Deployment", steps.In(func(t *testing.T, s *steps.Scene) {
			rolledOver(t, fleet{s, "gateway"}, "deployment", 2, `replicas: 2`)
		})).
		Assess("DaemonSet, which has one on each node", steps.In(func(t *testing.T, s *steps.Scene) {
			nodes := schedulable(t, s)
			f := fleet{s, "agent"}
			rolledOver(t, f, "daemonset", len(nodes))
			var on []string
			for _, u := range f.pods(t) {
				node, _ := steps.Field(&u, "spec", "nodeName").(string)
				on = append(on, node)
			}
			if slices.Sort(on); !slices.Equal(on, nodes) {
				t.Errorf("pods on the nodes %v, want one on each of %v", on, nodes)
			}
		})).
		Assess("StatefulSet", steps.In(func(t *testing.T, s *steps.Scene) {
			rolledOver(t, fleet{s, "pool"}, "statefulset", 2, `replicas: 2`)
		})).
		Assess("and nothing is left behind", steps.In(func(t *testing.T, s *steps.Scene) { s.WantNothingLeaked(t) })).
		Feature())
}

// rolledOver creates a collector that keeps one former configuration, and gives it two more.
func rolledOver(t *testing.T, f fleet, mode string, count int, fields ...string) {
	t.Helper()
	f.Create(t, steps.Collector(t, f.name, mode, append(fields, withConfig(configured("one")), `configVersions: 1`)...))
	f.wantRolledOut(t, "one", count)
	first := f.configMaps(t)
	for _, version := range []string{"two", "three"} {
		f.SetConfig(t, f.name, configured(version))
		f.wantRolledOut(t, version, count)
	}
	now := f.configMaps(t)
	if len(first) != 1 || len(now) != 2 || slices.Contains(now, first[0]) {
		t.Errorf("ConfigMaps %v, want two, without the first: %v", now, first)
	}
}

func (f fleet) configMaps(t *testing.T) []string {
	t.Helper()
	return steps.Names(f.List(t, steps.ConfigMaps, f.selector()))
}

// TestModeSwitch has a collector made anew as one of another kind, as the API says that it is done.
func TestModeSwitch(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("a collector").
		WithLabel("run", "full").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "gateway", "deployment", `replicas: 2`, withConfig(configured("one"))))
			fleet{s, "gateway"}.wantRolledOut(t, "one", 2)
		})).
		Assess("does not change its mode, and stays as it is", steps.In(func(t *testing.T, s *steps.Scene) {
			f := fleet{s, "gateway"}
			before := f.lives(t)
			_, err := s.TryPatch(t, steps.Collectors, "gateway", `spec: {mode: statefulset}`)
			if err == nil || !strings.Contains(err.Error(), "delete it and create it anew") {
				t.Errorf("error %v, want one that says what to do", err)
			}
			wantAmong(t, "pod", before, f.lives(t))
			f.wantRolledOut(t, "one", 2)
		})).
		Assess("becomes a StatefulSet when it is made anew at once", steps.In(switchedTo("statefulset", 2, `replicas: 2`))).
		Assess("and a DaemonSet", steps.In(func(t *testing.T, s *steps.Scene) {
			switchedTo("daemonset", len(schedulable(t, s)))(t, s)
		})).
		Assess("and a Deployment again", steps.In(switchedTo("deployment", 2, `replicas: 2`))).
		Assess("of mode sidecar has no pods, and says so", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "beside", "sidecar", withConfig(configured("one"))))
			s.WaitCondition(t, "beside", "Ready", "False", "NotImplemented", "sidecars are not injected")
			if pods := (fleet{s, "beside"}).pods(t); len(pods) > 0 {
				t.Errorf("pods %v", steps.Names(pods))
			}
		})).
		Feature())
}

// switchedTo deletes the collector and creates one of its name and another mode, without waiting for what the first one leaves.
func switchedTo(mode string, count int, fields ...string) steps.Act {
	return func(t *testing.T, s *steps.Scene) {
		t.Helper()
		f := fleet{s, "gateway"}
		former := f.lives(t)
		s.Delete(t, steps.Collectors, "gateway", metav1.DeletePropagationBackground)
		s.Create(t, steps.Collector(t, "gateway", mode, append(fields, withConfig(configured("one")))...))
		s.Eventually(t, "the end of the former pods", func() error {
			for name := range former {
				if u := s.Find(t, steps.Pods, name); u != nil && string(u.GetUID()) == former[name].uid {
					return fmt.Errorf("pod %s is there", name)
				}
			}
			return nil
		})
		f.wantRolledOut(t, "one", count)
		s.Eventually(t, "the end of what the former collector had", func() error { return f.alone(t, mode) })
		s.WantNothingLeaked(t)
	}
}

// alone is nil when all that there is belongs to the collector that there is, and the only workload is of this mode.
func (f fleet) alone(t *testing.T, mode string) error {
	owner, workloads := f.Get(t, steps.Collectors, f.name).GetUID(), []string{}
	for _, r := range steps.Made() {
		for _, u := range f.List(t, r, f.selector()) {
			kind := strings.ToLower(u.GetKind())
			if o := metav1.GetControllerOf(&u); o == nil || o.UID != owner {
				return fmt.Errorf("%s %s is not the collector's", kind, u.GetName())
			}
			if r.Group == "apps" {
				workloads = append(workloads, kind)
			}
		}
	}
	if !slices.Equal(workloads, []string{mode}) {
		return fmt.Errorf("%v are there, want a %s alone", workloads, mode)
	}
	return nil
}
