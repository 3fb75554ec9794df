package features_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
)

// otherImage is a collector's image that an observer has for those that name none, so that it has something to plan.
const otherImage = "otelier.test/collector:another"

// TestDryRunDeployment has an operator that only observes beside the one that works, as a Deployment with rights that would let it do
// everything.
func TestDryRunDeployment(t *testing.T) {
	t.Parallel()
	var (
		observer *steps.Installed
		before   map[string]string
		audit    *controlplane.Audit
		since    controlplane.Position
	)
	names := []string{"observed-deployment", "observed-statefulset", "observed-daemonset"}
	environment.Test(t, steps.Feature("an operator that only observes, deployed beside the one that works").WithLabel("run", "smoke").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			for _, name := range names {
				s.Create(t, idle(t, name, strings.TrimPrefix(name, "observed-")))
			}
			for _, name := range names {
				s.WaitReady(t, name)
			}
			if s.Cluster.Provider() == cluster.Kubeconfig {
				t.Log("there is no audit log: that nothing is written is told from resourceVersions alone")
			} else {
				audit = s.NeedsAudit(t)
				since = mark(t, audit)
			}
			before = settledVersions(t, s)
			observer = s.InstallObserver(t, "--collector-image", otherImage)
		})).
		Assess("says in Events what it would do", steps.In(func(t *testing.T, s *steps.Scene) {
			for _, name := range names {
				kind := strings.TrimPrefix(name, "observed-")
				s.WaitEvent(t, name, "Planned", kind+"/"+name+"-collector", ".image")
			}
		})).
		Assess("says it in numbers", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Eventually(t, "otelier_planned_changes", func() error {
				text, err := observer.Get(t.Context(), "/metrics")
				if n := strings.Count(text, "otelier_planned_changes{"); err == nil && n == 0 {
					err = fmt.Errorf("no sample:\n%s", text)
				}
				return err
			})
		})).
		Assess("sees what changes, while the other one works", steps.In(func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, names[0], `podAnnotations: {changed: "1"}`)
			s.WaitReady(t, names[0])
			for key := range before { // the other's doing
				if strings.Contains(key, "/"+names[0]) {
					delete(before, key)
				}
			}
			text, err := observer.Log(t.Context())
			if err != nil || !strings.Contains(text, "planned") {
				t.Errorf("its log has no line of what is planned, error %v:\n%s", err, text)
			}
		})).
		Assess("has written nothing but Events and its own Lease", steps.In(func(t *testing.T, s *steps.Scene) {
			after := settledVersions(t, s)
			maps.DeleteFunc(after, func(key, _ string) bool { return strings.Contains(key, "/"+names[0]) })
			if !maps.Equal(after, before) {
				t.Errorf("resourceVersions %v, want them as before: %v", after, before)
			}
			for _, e := range slices.Concat(s.Events(t, names[1]), s.Events(t, names[2])) {
				if strings.Contains(e.Note, otherImage) && e.Reason != "Planned" {
					t.Errorf("an Event other than of a plan: %+v", e)
				}
			}
			if audit != nil {
				wantOnlyObserved(t, audit, since, observer.Namespace)
			}
		})).
		Feature())
}

// wantOnlyObserved fails the test if the operator of a namespace has had anything stored but Events and the Lease of observers.
func wantOnlyObserved(t *testing.T, audit *controlplane.Audit, since controlplane.Position, namespace string) {
	t.Helper()
	writes, err := audit.Writes(t.Context(), since, "otelier/")
	if err != nil {
		t.Fatal(err)
	}
	stored := map[string]int{}
	for _, w := range controlplane.Persisted(writes) {
		if w.User != userOf(namespace) {
			continue
		}
		stored[w.Resource]++
		lease := w.Resource == "leases" && w.Namespace == namespace && (w.Name == "otelier-dry-run" || w.Name == "" && w.Verb == "create")
		if !lease && w.Resource != "events" {
			t.Errorf("it has written: %s %s/%s", w, w.Namespace, w.Name)
		}
	}
	if stored["events"] == 0 || stored["leases"] == 0 {
		t.Errorf("it has stored %v, want Events and a Lease: is this its user?", stored)
	}
}

func mark(t *testing.T, audit *controlplane.Audit) controlplane.Position {
	t.Helper()
	at, err := audit.Mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// settledVersions are the resourceVersions of collectors and of what belongs to them, but for pods, once nobody changes them any more.
func settledVersions(t *testing.T, s *steps.Scene) map[string]string {
	t.Helper()
	versions := func() map[string]string {
		out := s.Versions(t, steps.ManagedBy)
		for _, u := range s.List(t, steps.Collectors, "") {
			out["opentelemetrycollector/"+u.GetName()] = u.GetResourceVersion()
		}
		maps.DeleteFunc(out, func(key, _ string) bool {
			return strings.HasPrefix(key, "pod/") || strings.HasPrefix(key, "podmetrics/")
		})
		return out
	}
	last, since := versions(), time.Now()
	s.Eventually(t, "nobody changes anything", func() error {
		if now := versions(); !maps.Equal(now, last) {
			last, since = now, time.Now()
		}
		const long = 5 * time.Second // the cluster's controllers may be slow
		if same := time.Since(since); same < long {
			return fmt.Errorf("the same for %s", same)
		}
		return nil
	})
	return last
}
