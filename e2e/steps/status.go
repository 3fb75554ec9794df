package steps

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Conditions of a collector by type.
func Conditions(t *testing.T, u *unstructured.Unstructured) map[string]metav1.Condition {
	t.Helper()
	var status struct {
		Conditions []metav1.Condition `json:"conditions"`
	}
	raw, _, _ := unstructured.NestedMap(u.Object, "status")
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &status); err != nil {
		t.Fatalf("status of %s: %v", u.GetName(), err)
	}
	out := map[string]metav1.Condition{}
	for _, c := range status.Conditions {
		out[c.Type] = c
	}
	return out
}

// Observed tells whether a collector's status speaks of its present generation.
func Observed(u *unstructured.Unstructured) bool {
	n, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration")
	return n == u.GetGeneration()
}

// summary is a collector's status in a line.
func summary(t *testing.T, u *unstructured.Unstructured) string {
	t.Helper()
	var out []string
	for _, c := range Conditions(t, u) {
		out = append(out, fmt.Sprintf("%s=%s %s %q (generation %d)", c.Type, c.Status, c.Reason, c.Message, c.ObservedGeneration))
	}
	slices.Sort(out)
	return fmt.Sprintf("generation %d, observed %v: %s", u.GetGeneration(), Field(u, "status", "observedGeneration"), strings.Join(out, "; "))
}

// WaitReady waits until a collector's Ready condition is true for its present generation, and returns it.
func (s *Scene) WaitReady(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	return s.WaitCondition(t, name, "Ready", metav1.ConditionTrue, "Available")
}

// WaitCondition waits until a collector has a condition, for its present generation, with this status and reason and a
// message that contains all of these texts.
func (s *Scene) WaitCondition(
	t *testing.T, name, kind string, status metav1.ConditionStatus, reason string, texts ...string,
) *unstructured.Unstructured {
	t.Helper()
	var u *unstructured.Unstructured
	s.Eventually(t, fmt.Sprintf("collector %s: %s=%s %s %q", name, kind, status, reason, texts), func() error {
		u = s.Get(t, Collectors, name)
		c := Conditions(t, u)[kind]
		missing := slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(c.Message, text) })
		if !Observed(u) || c.ObservedGeneration != u.GetGeneration() || c.Status != status || c.Reason != reason || missing {
			return fmt.Errorf("%s", summary(t, u))
		}
		return nil
	})
	return u
}

// WaitObserved waits until a collector's status speaks of its present generation, whatever it says.
func (s *Scene) WaitObserved(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	var u *unstructured.Unstructured
	s.Eventually(t, "status of "+name, func() error {
		if u = s.Get(t, Collectors, name); !Observed(u) {
			return fmt.Errorf("%s", summary(t, u))
		}
		return nil
	})
	return u
}

// WithoutCondition fails the test if a collector has one of these conditions.
func WithoutCondition(t *testing.T, u *unstructured.Unstructured, kinds ...string) {
	t.Helper()
	have := Conditions(t, u)
	for _, kind := range kinds {
		if _, ok := have[kind]; ok {
			t.Errorf("condition %s is there: %s", kind, summary(t, u))
		}
	}
}
