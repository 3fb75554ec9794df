package operator_test

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
)

// wantPodsOf says what has to be true at the very moment at which a collector calls itself ready: it has as many pods as it should,
// all of them of the newest revision, and Ready.
func wantPodsOf(t *testing.T, s *steps.Scene, workload schema.GroupVersionResource, collector string) {
	t.Helper()
	u := s.Get(t, workload, collector+"-collector")
	label, revision := revisionOf(t, s, u)
	count, ok := steps.Field(u, "spec", "replicas").(int64)
	if !ok {
		count, _ = steps.Field(u, "status", "desiredNumberScheduled").(int64)
	}
	alive := int64(0)
	for _, pod := range s.List(t, steps.Pods, instanceOf(s, collector)) {
		if pod.GetDeletionTimestamp() != nil {
			continue // it is being replaced, and no longer counts
		}
		alive++
		if got := pod.GetLabels()[label]; got != revision {
			t.Errorf("pod %s is of revision %q, want the newest: %q", pod.GetName(), got, revision)
		}
		if !podReady(&pod) {
			t.Errorf("pod %s is not Ready: %v", pod.GetName(), steps.Field(&pod, "status", "conditions"))
		}
	}
	if alive != count {
		t.Errorf("%d pods, want %d", alive, count)
	}
}

// revisionOf is the label by which the pods of a workload's newest revision are known, and its value.
func revisionOf(t *testing.T, s *steps.Scene, workload *unstructured.Unstructured) (label, value string) {
	t.Helper()
	const hash, revision = "pod-template-hash", "controller-revision-hash"
	var newest *unstructured.Unstructured
	number := int64(-1)
	switch workload.GetKind() {
	case "StatefulSet":
		value, _ = steps.Field(workload, "status", "updateRevision").(string)
		return revision, value
	case "DaemonSet":
		for _, r := range owned(s.List(t, revisions, ""), workload) {
			if n, _ := steps.Field(&r, "revision").(int64); n > number {
				newest, number = &r, n
			}
		}
		label = revision
	default:
		var n int64
		for _, r := range owned(s.List(t, replicaSets, ""), workload) {
			if _, err := fmt.Sscan(r.GetAnnotations()["deployment.kubernetes.io/revision"], &n); err == nil && n > number {
				newest, number = &r, n
			}
		}
		label = hash
	}
	if newest == nil {
		t.Fatalf("%s %s has no revision", workload.GetKind(), workload.GetName())
	}
	return label, newest.GetLabels()[label]
}

//nolint:gochecknoglobals // constants in all but the language
var (
	revisions   = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "controllerrevisions"}
	replicaSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "replicasets"}
)

func owned(objects []unstructured.Unstructured, by *unstructured.Unstructured) []unstructured.Unstructured {
	var out []unstructured.Unstructured
	for _, u := range objects {
		for _, ref := range u.GetOwnerReferences() {
			if ref.UID == by.GetUID() {
				out = append(out, u)
			}
		}
	}
	return out
}

func podReady(pod *unstructured.Unstructured) bool {
	conditions, _ := steps.Field(pod, "status", "conditions").([]any)
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Ready" {
			return c["status"] == "True"
		}
	}
	return false
}

// versionsOf are the resourceVersions of a collector's objects of one resource.
func versionsOf(t *testing.T, s *steps.Scene, r schema.GroupVersionResource, collector string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, u := range s.List(t, r, instanceOf(s, collector)) {
		out[u.GetName()] = u.GetResourceVersion()
	}
	return out
}
