package operator_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// TestReadyIsTrueOnlyThen holds rollouts that kstatus alone takes for complete.
func TestReadyIsTrueOnlyThen(t *testing.T) {
	t.Parallel()
	notReady := func(name, text string, fields ...string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, name, "statefulset", fields...))
			s.WaitCondition(t, name, "Ready", metav1.ConditionFalse, "Progressing", text)
			for _, state := range s.Watch(t, steps.Collectors, name).States() {
				if c, ok := steps.Conditions(t, state)["Ready"]; ok && c.Status == metav1.ConditionTrue {
					t.Errorf("Ready was true: %s", c.Message)
				}
			}
		}
	}
	environment.Test(t, steps.Feature("a StatefulSet").
		Setup(steps.Operator()).
		Assess("whose pods are not available yet is not ready", steps.In(notReady("slow", "Available: 0/1", `minReadySeconds: 3600`))).
		Assess("whose pods are replaced by hand is not ready without pods", steps.In(
			notReady("byhand", "Ready: 0/1", `{statefulSetUpdateStrategy: {type: OnDelete}, nodeSelector: {no: such}}`),
		)).
		Feature())
}

func TestOwnerReferencesComeBack(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("an owned object").
		Setup(steps.Operator()).
		Setup(create("owner", "deployment")).
		Assess("that loses its owner gets it back", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Patch(t, steps.Deployments, "owner-collector", `metadata: {ownerReferences: null}`)
			steps.Eventually(t, "owner reference", func() error {
				if len(s.Get(t, steps.Deployments, "owner-collector").GetOwnerReferences()) == 0 {
					return errors.New("none")
				}
				return nil
			})
		})).
		Feature())
}

// TestStrategiesChange is about fields that the API server has filled in, and that are in the way of what comes after.
func TestStrategiesChange(t *testing.T) {
	t.Parallel()
	change := func(name, patch string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, name, patch)
			s.WaitReady(t, name)
		}
	}
	environment.Test(t, steps.Feature("a collector that runs").
		Setup(steps.Operator()).
		Setup(create("web", "deployment", `volumes: [{name: v}]`)).
		Setup(create("pool", "statefulset")).
		Setup(create("agent", "daemonset")).
		Assess("changes from rolling updates to Recreate", steps.In(change("web", `{deploymentUpdateStrategy: {type: Recreate}}`))).
		Assess("and back", steps.In(change("web", `{deploymentUpdateStrategy: null}`))).
		Assess("gets a source for a volume that had none", steps.In(
			change("web", `{volumes: [{name: v, configMap: {name: c, optional: true}}]}`),
		)).
		Assess("changes from rolling updates to OnDelete", steps.In(
			change("pool", `{statefulSetUpdateStrategy: {type: OnDelete}}`), change("agent", `{daemonSetUpdateStrategy: {type: OnDelete}}`),
		)).
		Feature())
}

// TestNamesThatCollide has pairs of collectors, made at once, that need objects of the same names.
func TestNamesThatCollide(t *testing.T) {
	t.Parallel()
	const pairs = 6
	environment.Test(t, steps.Feature("of two collectors whose objects have the same names").
		Setup(steps.Operator()).
		Assess("one gets them all, and the other none", steps.In(func(t *testing.T, s *steps.Scene) {
			for i := range pairs {
				s.Create(t, steps.Collector(t, fmt.Sprintf("r%d.x", i), "deployment"))
				s.Create(t, steps.Collector(t, fmt.Sprintf("r%d-x", i), "deployment"))
			}
			for i := range pairs {
				steps.Eventually(t, "one of a pair ready", func() error { return oneOf(t, s, fmt.Sprintf("r%d.x", i), fmt.Sprintf("r%d-x", i)) })
			}
		})).
		Feature())
}

func oneOf(t *testing.T, s *steps.Scene, a, b string) error {
	ready, conflict := "", false
	for _, name := range []string{a, b} {
		c := steps.Conditions(t, s.Get(t, steps.Collectors, name))["Ready"]
		if c.Status == metav1.ConditionTrue {
			ready = name
		}
		conflict = conflict || c.Reason == "OwnershipConflict"
	}
	if ready == "" || !conflict {
		return fmt.Errorf("ready %q, conflict %v", ready, conflict)
	}
	name := strings.ReplaceAll(a, ".", "-") + "-collector"
	for _, r := range []struct{ kind, owner string }{
		{"Deployment", owner(s.Get(t, steps.Deployments, name).GetOwnerReferences())},
		{"ServiceAccount", owner(s.Get(t, steps.ServiceAccounts, name).GetOwnerReferences())},
		{"Service", owner(s.Get(t, steps.Services, name).GetOwnerReferences())},
		{"PodDisruptionBudget", owner(s.Get(t, steps.Budgets, name).GetOwnerReferences())},
	} {
		if r.owner != ready {
			return fmt.Errorf("%s belongs to %q, and %q is ready", r.kind, r.owner, ready)
		}
	}
	return nil
}

func owner(refs []metav1.OwnerReference) string {
	if len(refs) != 1 {
		return fmt.Sprint(refs)
	}
	return refs[0].Name
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("what the API server refuses").
		Setup(steps.Operator()).
		Setup(create("budget", "deployment")).
		Assess("keeps what is sent before it from being sent", steps.In(func(t *testing.T, s *steps.Scene) {
			before := s.Get(t, steps.Deployments, "budget-collector").GetGeneration()
			s.PatchSpec(t, "budget", `{image: "example.com/other:1", podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}}`)
			s.WaitCondition(t, "budget", "Stalled", metav1.ConditionTrue, "InvalidSpec", "poddisruptionbudget/budget-collector")
			if after := s.Get(t, steps.Deployments, "budget-collector").GetGeneration(); after != before {
				t.Errorf("the Deployment has changed")
			}
		})).
		Assess("because something is named twice is no error that passes", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "twice", "deployment",
				`{volumes: [{name: v, emptyDir: {}}], volumeMounts: [{name: v, mountPath: /v}, {name: v, mountPath: /v}]}`))
			s.WaitCondition(t, "twice", "Stalled", metav1.ConditionTrue, "InvalidSpec", "duplicate entries")
		})).
		Assess("is not a host named twice", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "hosts", "deployment",
				`hostAliases: [{ip: 10.0.0.1, hostnames: [a]}, {ip: 10.0.0.1, hostnames: [b]}]`))
			s.WaitReady(t, "hosts")
		})).
		Feature())
}

func claimOf(size string) string {
	return `volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: ` + size + `}}}}]`
}
