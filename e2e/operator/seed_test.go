package operator_test

import (
	"fmt"
	"os"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/otelier/otelier/e2e/steps"
)

// TestSeed is the main path: a StatefulSet collector with a claim per pod, from a v1alpha1 manifest.
func TestSeed(t *testing.T) {
	t.Parallel()
	manifest, err := os.ReadFile("../../examples/statefulset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	environment.Test(t, steps.Feature("a v1alpha1 StatefulSet collector").
		Setup(steps.Operator()).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			want := "Warning: opentelemetry.io/v1alpha1 OpenTelemetryCollector is deprecated; use opentelemetry.io/v1beta1.\n" +
				"opentelemetrycollector.opentelemetry.io/stateful created\n"
			if got := s.Kubectl(t, string(manifest), "apply", "-f", "-"); got != want {
				t.Errorf("kubectl apply says %q, want %q", got, want)
			}
		})).
		Assess("becomes ready", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Kubectl(t, "", "wait", "--for=condition=Ready", "--timeout=60s", "otelcol/stateful")
			u := s.WaitReady(t, "stateful")
			steps.WithoutCondition(t, u, "Reconciling", "Stalled", "UnsupportedFields", "ConfigWarning", "Paused")
		})).
		Assess("has running pods and bound claims", steps.In(func(t *testing.T, s *steps.Scene) {
			wantPhases(t, s.List(t, steps.Pods, steps.ManagedBy), 3, "Running")
			wantPhases(t, s.List(t, steps.Claims, steps.ManagedBy), 3, "Bound")
		})).
		Assess("shows scale, image and version", steps.In(seedStatus)).
		Assess("has one Event of each transition", steps.In(func(t *testing.T, s *steps.Scene) {
			steps.Eventually(t, "Event Available", func() error {
				if s.CountEvents(t, "stateful", "Available") == 0 {
					return fmt.Errorf("events %v", s.Events(t, "stateful"))
				}
				return nil
			})
			for _, reason := range []string{"Progressing", "Available"} {
				if n := s.CountEvents(t, "stateful", reason); n > 1 {
					t.Errorf("%d Events with reason %s, want one: %v", n, reason, s.Events(t, "stateful"))
				}
			}
			if n := len(s.Events(t, "stateful")); n > 2 {
				t.Errorf("%d Events, want no more than two: %v", n, s.Events(t, "stateful"))
			}
		})).
		Feature())
}

func seedStatus(t *testing.T, s *steps.Scene) {
	u, set := s.WaitReady(t, "stateful"), s.Get(t, steps.StatefulSets, "stateful-collector")
	container := steps.Field(set, "spec", "template", "spec", "containers").([]any)[0].(map[string]any)
	for _, c := range []struct {
		path []string
		want any
	}{
		{[]string{"status", "scale", "replicas"}, int64(3)},
		{[]string{"status", "scale", "statusReplicas"}, "3/3"},
		{[]string{"status", "scale", "selector"}, selectorOf(t, set)},
		{[]string{"status", "image"}, container["image"]},
		{[]string{"status", "version"}, set.GetLabels()["app.kubernetes.io/version"]},
	} {
		if got := steps.Field(u, c.path...); got != c.want || got == "" {
			t.Errorf("%v is %v, want %v", c.path, got, c.want)
		}
	}
	pods := s.List(t, steps.Pods, fmt.Sprint(steps.Field(u, "status", "scale", "selector")))
	if got := steps.Names(pods); !slices.Equal(got, []string{"stateful-collector-0", "stateful-collector-1", "stateful-collector-2"}) {
		t.Errorf("the selector in the status selects pods %v", got)
	}
}

// selectorOf is the selector of a workload in the form in which clients send it.
func selectorOf(t *testing.T, workload *unstructured.Unstructured) string {
	t.Helper()
	var selector metav1.LabelSelector
	raw, _, _ := unstructured.NestedMap(workload.Object, "spec", "selector")
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector); err != nil {
		t.Fatal(err)
	}
	s, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.String()
}

func wantPhases(t *testing.T, objects []unstructured.Unstructured, count int, phase string) {
	t.Helper()
	if len(objects) != count {
		t.Errorf("%d objects, want %d: %v", len(objects), count, steps.Names(objects))
	}
	for _, u := range objects {
		if got := steps.Field(&u, "status", "phase"); got != phase {
			t.Errorf("%s %s is %v, want %s", u.GetKind(), u.GetName(), got, phase)
		}
	}
}
