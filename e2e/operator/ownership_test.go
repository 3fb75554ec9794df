package operator_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
)

func manifest(t *testing.T, u *unstructured.Unstructured) string {
	t.Helper()
	data, err := json.Marshal(u.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestForeignObjects has users who made objects under names that a collector needs.
func TestForeignObjects(t *testing.T) {
	t.Parallel()
	const account = `{apiVersion: v1, kind: ServiceAccount, metadata: {name: taken-collector}}`
	const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: busy-collector}
spec:
  replicas: 0
  selector: {matchLabels: {app: mine}}
  template:
    metadata: {labels: {app: mine}}
    spec: {containers: [{name: mine, image: example.com/mine}]}
`
	foreign := func(collector string, r schema.GroupVersionResource, object, text string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			u := steps.Parse(t, object)
			before := s.CreateIn(t, r, u)
			s.Create(t, steps.Collector(t, collector, "deployment"))
			s.WaitCondition(t, collector, "Ready", metav1.ConditionFalse, "OwnershipConflict", text)
			s.WaitCondition(t, collector, "Stalled", metav1.ConditionTrue, "OwnershipConflict", text)
			after := s.Get(t, r, u.GetName())
			for _, field := range []string{"spec", "secrets"} {
				if fmt.Sprint(after.Object[field]) != fmt.Sprint(before.Object[field]) {
					t.Errorf("%s has changed from %v to %v", field, before.Object[field], after.Object[field])
				}
			}
			if len(after.GetOwnerReferences()) > 0 || len(after.GetLabels()) > 0 {
				t.Errorf("it was taken over: owners %v, labels %v", after.GetOwnerReferences(), after.GetLabels())
			}
			s.Delete(t, r, u.GetName(), metav1.DeletePropagationBackground)
			s.PatchSpec(t, collector, `{podAnnotations: {again: "1"}}`) // nobody watches other people's objects
			s.WaitReady(t, collector)
		}
	}
	environment.Test(t, steps.Feature("an object that somebody else made").
		Setup(steps.Operator()).
		Assess("is not taken over: ServiceAccount", steps.In(foreign("taken", steps.ServiceAccounts, account, "serviceaccount/taken-collector"))).
		Assess("is not taken over: Deployment", steps.In(foreign("busy", steps.Deployments, deployment, "deployment/busy-collector"))).
		Feature())
}

// TestRecreate has a finalizer keep what the deleted collector owned for longer than it takes to make the collector again.
func TestRecreate(t *testing.T) {
	t.Parallel()
	var created *unstructured.Unstructured
	hold := func(finalizers string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			s.Patch(t, steps.StatefulSets, "phoenix-collector", "metadata: {finalizers: "+finalizers+"}")
		}
	}
	environment.Test(t, steps.Feature("a collector that is deleted and made again at once").
		Setup(steps.Operator()).
		Setup(create("phoenix", "statefulset", `replicas: 2`)).
		Setup(steps.In(hold("[example.com/hold]"))).
		Assess("waits until what the former one owned is gone", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Delete(t, steps.Collectors, "phoenix", metav1.DeletePropagationBackground)
			created = s.Create(t, steps.Collector(t, "phoenix", "statefulset", `replicas: 2`))
			u := s.WaitCondition(t, "phoenix", "Reconciling", metav1.ConditionTrue, "Retrying",
				"statefulset/phoenix-collector: still there from a deleted collector of the same name")
			steps.WithoutCondition(t, u, "Stalled")
		})).
		Assess("comes up anew then", steps.In(func(t *testing.T, s *steps.Scene) {
			steps.Eventually(t, "deletion of the former StatefulSet", func() error {
				if u := s.Get(t, steps.StatefulSets, "phoenix-collector"); u.GetDeletionTimestamp() == nil {
					return errors.New("not being deleted yet")
				}
				return nil
			})
		}, hold("null"), func(t *testing.T, s *steps.Scene) {
			u := s.WaitReady(t, "phoenix")
			steps.WithoutCondition(t, u, "Stalled", "Reconciling")
			owner := metav1.GetControllerOf(s.Get(t, steps.StatefulSets, "phoenix-collector"))
			if owner == nil || owner.UID != created.GetUID() {
				t.Errorf("owner of the StatefulSet is %v, want the new collector", owner)
			}
		})).
		Feature())
}

func TestAdoption(t *testing.T) {
	t.Parallel()
	var before []string
	environment.Test(t, steps.Feature("what a deletion with --cascade=orphan has left").
		Setup(steps.Operator()).
		Setup(create("orphan", "statefulset", `replicas: 2`)).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			before = running(t, s, "orphan")
			s.Kubectl(t, "", "delete", "otelcol", "orphan", "--cascade=orphan", "--timeout=60s")
			if owner := metav1.GetControllerOf(s.Get(t, steps.StatefulSets, "orphan-collector")); owner != nil {
				t.Fatalf("the StatefulSet is no orphan: %v", owner)
			}
		})).
		Assess("is adopted, and its pods run on", steps.In(func(t *testing.T, s *steps.Scene) {
			created := s.Create(t, steps.Collector(t, "orphan", "statefulset", `replicas: 2`))
			s.WaitReady(t, "orphan")
			if after := running(t, s, "orphan"); !slices.Equal(after, before) {
				t.Errorf("what runs has changed from %v to %v", before, after)
			}
			for _, r := range []schema.GroupVersionResource{steps.StatefulSets, steps.Services, steps.ServiceAccounts, steps.Budgets} {
				if owner := metav1.GetControllerOf(s.Get(t, r, "orphan-collector")); owner == nil || owner.UID != created.GetUID() {
					t.Errorf("owner of %s is %v, want the new collector", r.Resource, owner)
				}
			}
		})).
		Feature())
}
