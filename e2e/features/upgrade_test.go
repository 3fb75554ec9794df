package features_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
)

// fleetSize is how many collectors are running while the operator is upgraded.
const fleetSize = 20

// TestUpgrade is not parallel: it is about the operator of the suite, of which it makes an older one and a newer one again.
func TestUpgrade(t *testing.T) {
	var (
		old, again steps.Version
		before     state
		planned    plan
	)
	environment.Test(t, steps.Feature("an upgrade of the operator").WithLabel("run", "full").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			old, again = olderVersion(t, s), sameVersion(t, s)
			t.Cleanup(func() {
				const patience = 5 * time.Minute
				ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
				defer cancel()
				if err := s.Installed.Replace(ctx, steps.Version{}); err != nil {
					t.Errorf("the operator does not come back: %v", err)
				}
			})
			replace(t, s, old)
			for _, u := range fleetOf(t) {
				s.Create(t, u)
			}
			waitFleet(t, s)
			before = stateOf(t, s)
		})).
		Assess("is predicted by diff of the new version", steps.In(func(t *testing.T, s *steps.Scene) {
			planned = planOf(t, s)
			for _, c := range planned.Collectors {
				if allocated := strings.HasPrefix(c.Name, "allocated"); (len(c.Changes) > 0) != allocated || c.Problem != "" {
					t.Errorf("collector %s: changes %+v %s, want some of those whose targets the new version shares out, and of no others", c.Name, c.Changes, c.Problem)
				}
			}
			if n := len(planned.Collectors); n != fleetSize {
				t.Errorf("the plan has %d collectors, want %d", n, fleetSize)
			}
		})).
		Assess("changes that, and nothing else", steps.In(func(t *testing.T, s *steps.Scene) {
			t.Logf("%d of %d collectors are planned to change, in %d objects", planned.collectorsChanged(), fleetSize, planned.changes())
			replace(t, s, steps.Version{})
			waitPasses(t, s)
			waitFleet(t, s)
			planned.wantCarriedOut(t, before, stateOf(t, s))
		})).
		Assess("changes nothing when only the image is another one", steps.In(func(t *testing.T, s *steps.Scene) {
			before = stateOf(t, s)
			if p := planOf(t, s); p.changes() > 0 {
				t.Errorf("a plan where there is nothing to do: %+v", p)
			}
			var since controlplane.Position
			audited := s.Cluster.Provider() != cluster.Kubeconfig
			if audited {
				since = s.Mark(t)
			}
			replace(t, s, again)
			waitPasses(t, s)
			if audited {
				if writes := s.Requests(t, since); len(writes) > 0 {
					t.Errorf("%d writes:%s", len(writes), steps.Describe(writes))
				}
			}
			plan{}.wantCarriedOut(t, before, stateOf(t, s))
		})).
		Feature())
}

func replace(t *testing.T, s *steps.Scene, v steps.Version) {
	t.Helper()
	if err := s.Installed.Replace(t.Context(), v); err != nil {
		t.Fatal(err)
	}
}

// fleetOf are collectors of all modes, as they are in most clusters: a few with volumes, a few that share targets out.
func fleetOf(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for i := range fleetSize {
		jobs := scrapeConfig(fmt.Sprintf(`{job_name: job-%d, static_configs: [{targets: ["127.0.0.1:9"]}]}`, i))
		switch {
		case i < 7:
			out = append(out, steps.Collector(t, fmt.Sprintf("gateway-%d", i), "deployment", jobs, `ports: [{name: extra, port: 9999}]`))
		case i < 9:
			out = append(out, steps.Collector(t, fmt.Sprintf("allocated-%d", i), "statefulset", jobs, `targetAllocator: {enabled: true}`))
		case i < 11:
			out = append(out, steps.Collector(t, fmt.Sprintf("durable-%d", i), "statefulset", jobs,
				`volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]`))
		case i < 14:
			out = append(out, steps.Collector(t, fmt.Sprintf("set-%d", i), "statefulset", jobs, `replicas: 1`))
		case i == 14:
			out = append(out, steps.Collector(t, fmt.Sprintf("agent-%d", i), "daemonset", jobs))
		default:
			out = append(out, steps.Collector(t, fmt.Sprintf("agent-%d", i), "daemonset", jobs, nowhere))
		}
	}
	return out
}

// waitFleet waits until all collectors are ready, and nobody changes anything any more.
func waitFleet(t *testing.T, s *steps.Scene) {
	t.Helper()
	for _, name := range steps.Names(s.List(t, steps.Collectors, "")) {
		s.WaitReady(t, name)
	}
	settledVersions(t, s)
}

// waitPasses waits until the installed operator, which has just been started, has looked at the whole fleet, and has nothing left to do.
func waitPasses(t *testing.T, s *steps.Scene) {
	t.Helper()
	s.Eventually(t, "a pass over every collector", func() error {
		text, err := s.Installed.Get(t.Context(), "/metrics")
		if err != nil {
			return err
		}
		passes, waiting := sumOf(t, text, "otelier_reconcile_duration_seconds_count"), sumOf(t, text, "workqueue_depth")
		if working := sumOf(t, text, "workqueue_unfinished_work_seconds"); passes < fleetSize || waiting > 0 || working > 0 {
			return fmt.Errorf("%v passes, %v in the queue, %v s of work unfinished", passes, waiting, working)
		}
		return nil
	})
}

// state is what there is of the collectors of a scene.
type state struct {
	objects map[string]*unstructured.Unstructured // by group, kind and name
	pods    map[string]string                     // by name: who they are, and how often their containers were started anew
}

func stateOf(t *testing.T, s *steps.Scene) state {
	t.Helper()
	settledVersions(t, s)
	out := state{map[string]*unstructured.Unstructured{}, map[string]string{}}
	for _, r := range steps.Made() {
		for _, u := range s.List(t, r, steps.ManagedBy) {
			out.objects[keyOf(r.Group, u.GetKind(), u.GetName())] = &u
		}
	}
	for _, u := range s.List(t, steps.Pods, steps.ManagedBy) {
		restarts := int64(0)
		statuses, _, _ := unstructured.NestedSlice(u.Object, "status", "containerStatuses")
		for _, c := range statuses {
			container, _ := c.(map[string]any)
			n, _, _ := unstructured.NestedInt64(container, "restartCount")
			restarts += n
		}
		out.pods[u.GetName()] = fmt.Sprintf("%s, %d restarts", u.GetUID(), restarts)
	}
	return out
}

func keyOf(group, kind, name string) string { return group + "/" + kind + "/" + name }

// wantCarriedOut fails the test unless the plan says exactly what has become of one state in another: each object and each field, and
// which pods are new.
func (p plan) wantCarriedOut(t *testing.T, before, after state) {
	t.Helper()
	planned := map[string]change{}
	var rolled []string
	for _, c := range p.Collectors {
		for _, ch := range c.Changes {
			planned[keyOf(ch.Group, ch.Kind, ch.Name)] = ch
			if ch.rollsPods() {
				rolled = append(rolled, ch.Name+"-")
			}
		}
	}
	keys := slices.Sorted(maps.Keys(before.objects))
	for key := range after.objects {
		if before.objects[key] == nil {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		planned[key].wantMade(t, key, before.objects[key], after.objects[key])
	}
	for key, ch := range planned {
		if !slices.Contains(keys, key) {
			t.Errorf("%s: planned to %s, and is not there", key, ch.Action)
		}
	}
	for name, was := range before.pods {
		rolls := slices.ContainsFunc(rolled, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if is := after.pods[name]; !rolls && is != was {
			t.Errorf("pod %s: %q, want it as before, since nothing that it reads changes: %q", name, is, was)
		} else if rolls && is == was {
			t.Errorf("pod %s: as before, and it was planned to change", name)
		}
	}
}
