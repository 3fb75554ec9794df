package operator_test

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
)

func TestDrift(t *testing.T) {
	t.Parallel()
	const managedBy = "app.kubernetes.io/managed-by"
	var image any
	environment.Test(t, steps.Feature("what others change").
		Setup(steps.Operator()).
		Setup(create("drift", "deployment")).
		Assess("in fields of the operator is put back", steps.In(func(t *testing.T, s *steps.Scene) {
			image = imageOf(s.Get(t, steps.Deployments, "drift-collector"))
			s.Kubectl(t, "", "set", "image", "deployment/drift-collector", "otc-container=example.com/other:1")
			s.Kubectl(t, "", "scale", "deployment/drift-collector", "--replicas=4")
			waitField(t, s, steps.Deployments, "drift-collector", image, "spec", "template", "spec", "containers", "0", "image")
			waitField(t, s, steps.Deployments, "drift-collector", int64(1), "spec", "replicas")
		})).
		Assess("by deletion comes back", steps.In(func(t *testing.T, s *steps.Scene) {
			for _, r := range []schema.GroupVersionResource{
				steps.Services, steps.ServiceAccounts, steps.Budgets, steps.Deployments,
			} {
				old := s.Get(t, r, "drift-collector").GetUID()
				s.Delete(t, r, "drift-collector", metav1.DeletePropagationBackground)
				steps.Eventually(t, r.Resource, func() error {
					if u := s.Find(t, r, "drift-collector"); u == nil || u.GetUID() == old {
						return fmt.Errorf("not there again: %v", u)
					}
					return nil
				})
			}
			s.WaitReady(t, "drift")
		})).
		Assess("in labels is put back, even in those that the operator watches by", steps.In(func(t *testing.T, s *steps.Scene) {
			version := s.Get(t, steps.Services, "drift-collector").GetLabels()[versionLabel]
			s.Kubectl(t, "", "label", "service/drift-collector", versionLabel+"-")
			waitLabel(t, s, steps.Services, "drift-collector", versionLabel, version)
			s.Kubectl(t, "", "label", "service/drift-collector", managedBy+"-")
			waitLabel(t, s, steps.Services, "drift-collector", managedBy, "opentelemetry-operator")
		})).
		Assess("in fields of their own stays", steps.In(foreignFieldsStay)).
		Feature())
}

func foreignFieldsStay(t *testing.T, s *steps.Scene) {
	s.Kubectl(t, "", "label", "service,deployment", "drift-collector", "team=blue")
	s.Kubectl(t, "", "annotate", "service,deployment", "drift-collector", "note=ours")
	s.Kubectl(t, "", "rollout", "restart", "deployment/drift-collector")
	s.Kubectl(t, "", "rollout", "status", "deployment/drift-collector", "--timeout=60s")
	s.PatchSpec(t, "drift", `replicas: 2`) // has the operator send the Deployment again
	s.SetConfig(t, "drift", `receivers: {otlp: {protocols: {grpc: {endpoint: 0.0.0.0:5555}}}}
exporters: {debug: {}}
service: {pipelines: {traces: {receivers: [otlp], exporters: [debug]}}}`) // and the Service
	s.WaitReady(t, "drift")
	deployment := s.Get(t, steps.Deployments, "drift-collector")
	for _, u := range []*unstructured.Unstructured{deployment, s.Get(t, steps.Services, "drift-collector")} {
		if u.GetLabels()["team"] != "blue" || u.GetAnnotations()["note"] != "ours" {
			t.Errorf("%s: labels %v and annotations %v without those of others", u.GetKind(), u.GetLabels(), u.GetAnnotations())
		}
	}
	restarted := steps.Field(deployment, "spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt")
	if restarted == nil {
		t.Error("the annotation of kubectl rollout restart is gone, and with it the restart")
	}
	if got := steps.Field(deployment, "spec", "replicas"); got != int64(2) {
		t.Errorf("%v replicas, want 2: the operator has not sent the Deployment", got)
	}
}

// imageOf is the image of the first container of a workload.
func imageOf(u *unstructured.Unstructured) any {
	return element(u, "spec", "template", "spec", "containers", "0", "image")
}

// waitField waits until an object has a value at a path, in which "0" stands for the first element of a list.
func waitField(t *testing.T, s *steps.Scene, r schema.GroupVersionResource, name string, want any, path ...string) {
	t.Helper()
	steps.Eventually(t, fmt.Sprintf("%s %s %v", r.Resource, name, path), func() error {
		if got := element(s.Get(t, r, name), path...); got != want {
			return fmt.Errorf("%v, want %v", got, want)
		}
		return nil
	})
}

func element(u *unstructured.Unstructured, path ...string) any {
	var v any = u.Object
	for _, k := range path {
		switch at := v.(type) {
		case map[string]any:
			v = at[k]
		case []any:
			v = at[0]
		}
	}
	return v
}
