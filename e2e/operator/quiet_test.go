package operator_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
)

// versionLabel is one that the operator owns in every object, and that selects nothing.
const versionLabel = "app.kubernetes.io/version"

// TestQuiet has an operator with one worker: when it has done what an event asks for, it has done what earlier ones did.
func TestQuiet(t *testing.T) {
	t.Parallel()
	const user = "quiet-operator"
	var (
		start, calm controlplane.Position
		history     *steps.History
	)
	environment.Test(t, steps.Feature("a collector that is ready").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			kubeconfig, err := s.Cluster.KubeconfigAs(user, "system:masters")
			if err != nil {
				t.Fatal(err)
			}
			start = s.Mark(t)
			s.StartOperator(t, "--kubeconfig", kubeconfig, "--workers", "1")
			history = s.Watch(t, steps.Collectors, "quiet")
		})).
		Setup(create("quiet", "statefulset", `replicas: 2`)).
		Setup(create("canary", "statefulset", `replicas: 0`)).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			settle(t, s)
			calm = s.Mark(t)
		})).
		Assess("is left alone when others touch what is not the operator's", steps.In(func(t *testing.T, s *steps.Scene) {
			foreign := `metadata: {labels: {team: blue}, annotations: {note: "ours"}}`
			for _, r := range []schema.GroupVersionResource{steps.StatefulSets, steps.Services, steps.ServiceAccounts, steps.Budgets} {
				s.Patch(t, r, "quiet-collector", foreign)
			}
			s.Patch(t, steps.Collectors, "quiet", `metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: "{}"}}`)
			settle(t, s)
			writes := s.Writes(t, calm)
			if len(writes) == 0 {
				t.Error("the audit log does not even show what was written for the other collector")
			}
			for _, w := range writes {
				if !strings.HasPrefix(w.Name, "canary") {
					t.Errorf("%s %s (dry run %t): nothing had to be written", w, w.Name, w.DryRun)
				}
			}
		})).
		Assess("has had its status written only when that changed", steps.In(func(t *testing.T, s *steps.Scene) {
			written := 0
			for _, w := range s.Writes(t, start) {
				if w.Name == "quiet" && w.Subresource == "status" {
					written++
				}
			}
			steps.Eventually(t, "watch", func() error {
				if changes := history.Changes("status"); changes != written {
					return fmt.Errorf("%d changes of the status by %d writes", changes, written)
				}
				return nil
			})
		})).
		Assess("is as it was after a restart of the operator", steps.In(func(t *testing.T, s *steps.Scene) {
			before := versions(t, s, "quiet")
			if err := s.Operators[0].Stop(); err != nil {
				t.Fatal(err)
			}
			s.StartOperator(t, "--workers", "1")
			settle(t, s)
			if after := versions(t, s, "quiet"); !maps.Equal(after, before) {
				t.Errorf("resourceVersions %v, want them as before: %v", after, before)
			}
		})).
		Assess("was made by requests that say who makes them", steps.In(func(t *testing.T, s *steps.Scene) {
			writes, err := s.NeedsAudit(t).Writes(t.Context(), start, "")
			if err != nil {
				t.Fatal(err)
			}
			seen := 0
			for _, w := range writes {
				if w.User != user {
					continue
				}
				seen++
				if !strings.HasPrefix(w.UserAgent, "otelier/") {
					t.Errorf("%s %s: User-Agent %q", w, w.Name, w.UserAgent)
				}
				if w.Verb == "patch" && w.Resource != "events" && w.FieldManager != "otelier" {
					t.Errorf("%s %s: field manager %q", w, w.Name, w.FieldManager)
				}
			}
			if seen == 0 {
				t.Error("the audit log has no request of the operator")
			}
		})).
		Feature())
}

// settle returns when an operator with one worker has handled every event that there was about collectors and their
// objects: it takes a label from an object of each kind, in the collector called canary, and waits until it
// is back. The annotation makes it another intent each time: one that others undo again and again, the operator gives up.
func settle(t *testing.T, s *steps.Scene) {
	t.Helper()
	const canary, annotation = "canary", "settle"
	u := s.Get(t, steps.Collectors, canary)
	round, version := u.GetResourceVersion(), fmt.Sprint(steps.Field(u, "status", "version"))
	s.Patch(t, steps.Collectors, canary, fmt.Sprintf(`metadata: {annotations: {%s: %q}}`, annotation, round))
	for _, r := range []schema.GroupVersionResource{steps.StatefulSets, steps.Services, steps.ServiceAccounts, steps.Budgets} {
		waitField(t, s, r, canary+"-collector", round, "metadata", "annotations", annotation)
		s.Patch(t, r, canary+"-collector", fmt.Sprintf(`metadata: {labels: {%s: null}}`, versionLabel))
		waitLabel(t, s, r, canary+"-collector", versionLabel, version)
	}
	s.WaitReady(t, canary)
}

func waitLabel(t *testing.T, s *steps.Scene, r schema.GroupVersionResource, name, label, want string) {
	t.Helper()
	steps.Eventually(t, fmt.Sprintf("label %s of %s %s", label, r.Resource, name), func() error {
		if got := s.Get(t, r, name).GetLabels()[label]; got != want {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	})
}

// versions are the resourceVersions of a collector and of everything that belongs to it.
func versions(t *testing.T, s *steps.Scene, name string) map[string]string {
	t.Helper()
	out := map[string]string{name: s.Get(t, steps.Collectors, name).GetResourceVersion()}
	for _, r := range []schema.GroupVersionResource{
		steps.StatefulSets, steps.Services, steps.ServiceAccounts, steps.Budgets, steps.ConfigMaps, steps.Pods,
	} {
		for _, u := range s.List(t, r, instanceOf(s, name)) {
			out[r.Resource+"/"+u.GetName()] = u.GetResourceVersion()
		}
	}
	return out
}
