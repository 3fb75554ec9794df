package operator_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

func TestDryRun(t *testing.T) {
	t.Parallel()
	var (
		observer *program.Process
		since    controlplane.Position
		before   map[string]string
	)
	environment.Test(t, steps.Feature("an operator that only observes").
		Setup(steps.Operator()).
		Setup(create("due", "deployment", `replicas: 2`)).
		Setup(create("set", "statefulset", claimOf("1Gi"))).
		Setup(create("same", "daemonset")).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			s.WaitPasses(t, s.Operators[0], 3)
			if err := s.Operators[0].Stop(); err != nil {
				t.Fatal(err)
			}
			waitBound(t, s, "set")
			s.PatchSpec(t, "due", `replicas: 3`)
			s.PatchSpec(t, "set", claimOf("2Gi"))
			s.Create(t, steps.Collector(t, "new", "deployment"))
			s.Create(t, steps.Collector(t, "bad", "deployment", `config: "{}"`))
			since, before = s.Mark(t), s.Versions(t, "")
			observer = s.StartOperator(t, "--dry-run")
			s.WaitPasses(t, observer, 5)
		})).
		Assess("says in Events what it would do", steps.In(func(t *testing.T, s *steps.Scene) {
			s.WaitEvent(t, "due", "Planned", "deployment/due-collector", ".spec.replicas")
			s.WaitEvent(t, "set", "Planned", "statefulset/set-collector", ".spec.volumeClaimTemplates")
			s.WaitEvent(t, "new", "Planned", "create", "deployment/new-collector")
			if n := s.CountEvents(t, "same", "Planned"); n > 0 {
				t.Errorf("%d Events where nothing is to be done: %+v", n, s.Events(t, "same"))
			}
		})).
		Assess("says it in its log", steps.In(func(t *testing.T, _ *steps.Scene) {
			for _, texts := range [][]string{{"due", "deployment/due-collector", ".spec.replicas"}, {"new", "create", "deployment/new-collector"}} {
				wantLogLine(t, observer, append(texts, "planned")...)
			}
			wantLogLine(t, observer, "bad", "InvalidConfig")
		})).
		Assess("says it in numbers", steps.In(func(t *testing.T, _ *steps.Scene) {
			for action, want := range map[string]float64{"create": 7, "replace": 1} {
				got, err := observer.Metric(t.Context(), fmt.Sprintf(`otelier_planned_changes{action=%q}`, action))
				if err != nil || got != want {
					t.Errorf("otelier_planned_changes of %s is %v, error %v, want %v", action, got, err, want)
				}
			}
		})).
		Assess("has written nothing but Events", steps.In(func(t *testing.T, s *steps.Scene) { wantOnlyObserved(t, s, since, before) })).
		Assess("says what is new when a spec changes", steps.In(func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, "same", `image: example.com/other:1`)
			s.WaitEvent(t, "same", "Planned", "daemonset/same-collector", ".image")
			before["opentelemetrycollector/same"] = s.Get(t, steps.Collectors, "same").GetResourceVersion()
			s.WaitPasses(t, observer, 6)
			wantOnlyObserved(t, s, since, before)
		})).
		Assess("leaves it to another one to do all that", steps.In(func(t *testing.T, s *steps.Scene) {
			s.StartOperator(t)
			for _, name := range []string{"due", "set", "new", "same"} {
				s.WaitReady(t, name)
			}
		})).
		Feature())
}

// wantOnlyObserved fails the test if an operator has had anything stored but Events and a Lease.
func wantOnlyObserved(t *testing.T, s *steps.Scene, since controlplane.Position, before map[string]string) {
	t.Helper()
	if writes := s.Stored(t, since); len(writes) > 0 {
		t.Errorf("%d writes:%s", len(writes), steps.Describe(writes))
	}
	if after := s.Versions(t, ""); !maps.Equal(after, before) {
		t.Errorf("resourceVersions %v, want them as before: %v", after, before)
	}
}

func wantLogLine(t *testing.T, p *program.Process, texts ...string) {
	t.Helper()
	steps.Eventually(t, "log", func() error {
		for line := range strings.Lines(p.Log()) {
			missing := false
			for _, text := range texts {
				missing = missing || !strings.Contains(line, text)
			}
			if !missing {
				return nil
			}
		}
		return fmt.Errorf("no line with %q; the last ones are\n%s", texts, p.Tail())
	})
}

// TestDryRunBeside has an operator that observes in the namespace in which another one is elected.
func TestDryRunBeside(t *testing.T) {
	t.Parallel()
	var (
		since            controlplane.Position
		worker, observer *steps.Replica
	)
	environment.Test(t, steps.Feature("an operator that only observes, beside one that works").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			since = s.Mark(t)
			observer = s.LaunchReplica(t, "observer", "--dry-run")
			observer.WaitLeading(t)
			worker = s.LaunchReplica(t, "worker")
		})).
		Assess("does not keep it from working", steps.In(func(t *testing.T, s *steps.Scene) {
			worker.WaitLeading(t)
			s.Create(t, steps.Collector(t, "both", "deployment"))
			s.WaitReady(t, "both")
			s.PatchSpec(t, "both", `replicas: 3`)
			s.WaitReady(t, "both")
		})).
		Assess("has a Lease of its own", steps.In(func(t *testing.T, s *steps.Scene) {
			holder := steps.Field(s.Get(t, steps.Leases, "otelier-dry-run"), "spec", "holderIdentity")
			if other := steps.Field(s.Get(t, steps.Leases, steps.LeaseName), "spec", "holderIdentity"); holder == "" || holder == other {
				t.Errorf("leases of %v and %v, want two", holder, other)
			}
		})).
		Assess("writes nothing", steps.In(func(t *testing.T, _ *steps.Scene) {
			steps.Eventually(t, "calm", func() error {
				if n, err := observer.Metric(t.Context(), "otelier_planned_changes"); err != nil || n != 0 {
					return errors.Join(fmt.Errorf("%v changes planned", n), err)
				}
				return nil
			})
			if writes := observer.Stored(t, since); len(writes) > 0 {
				t.Errorf("it has written%s", steps.Describe(writes))
			}
			if len(worker.Stored(t, since)) == 0 {
				t.Error("the other one has written nothing")
			}
		})).
		Feature())
}
