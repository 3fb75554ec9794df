package operator_test

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
)

// TestKubectlWait holds that kubectl wait returns only when the last pod is Ready and new. The pods take a while to be available.
func TestKubectlWait(t *testing.T) {
	t.Parallel()
	type kind struct {
		mode     string
		workload schema.GroupVersionResource
	}
	kinds := []kind{{"deployment", steps.Deployments}, {"statefulset", steps.StatefulSets}, {"daemonset", steps.DaemonSets}}
	after := func(patch string, only ...string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			for _, k := range kinds {
				if len(only) > 0 && only[0] != k.mode {
					continue
				}
				s.PatchSpec(t, k.mode, patch)
				s.Kubectl(t, "", "wait", "--for=condition=Ready", "--timeout=60s", "otelcol/"+k.mode)
				wantPodsOf(t, s, k.workload, k.mode)
				wantApplied(t, s, k.workload, k.mode)
			}
		}
	}
	environment.Test(t, steps.Feature("kubectl wait returns when all pods are new and Ready: ").
		Setup(steps.Operator()).
		Assess("at the creation", steps.In(func(t *testing.T, s *steps.Scene) {
			for _, k := range kinds {
				s.Create(t, steps.Collector(t, k.mode, k.mode, claimsIf(k.mode == "statefulset"), `{minReadySeconds: 1, replicas: 2}`))
				s.Kubectl(t, "", "wait", "--for=condition=Ready", "--timeout=60s", "otelcol/"+k.mode)
				wantPodsOf(t, s, k.workload, k.mode)
				wantApplied(t, s, k.workload, k.mode)
			}
		})).
		Assess("when it is scaled", steps.In(after(`replicas: 4`))).
		Assess("when the configuration changes", steps.In(after(fmt.Sprintf("config: %q", configLevel(1))))).
		Assess("when the image changes, and the number of pods", steps.In(after("{image: example.com/other:1, replicas: 3}"))).
		Assess("when a StatefulSet is made anew", steps.In(after(claimOf("2Gi"), "statefulset"), wantClaimSize("statefulset", "2Gi"))).
		Assess("when a StatefulSet is made anew, and its pods too", steps.In(
			after("image: example.com/other:2\nreplicas: 4\n"+claimOf("3Gi"), "statefulset"), wantClaimSize("statefulset", "3Gi"),
		)).
		Feature())
}

func claimsIf(wanted bool) string {
	if wanted {
		return claimOf("1Gi")
	}
	return "{}"
}

// wantApplied fails the test unless a workload is what the spec of its collector says now.
func wantApplied(t *testing.T, s *steps.Scene, workload schema.GroupVersionResource, collector string) {
	t.Helper()
	u, object := s.Get(t, steps.Collectors, collector), s.Get(t, workload, collector+"-collector")
	if image := steps.Field(u, "spec", "image"); image != nil && imageOf(object) != image {
		t.Errorf("image %v, want %v", imageOf(object), image)
	}
	if n := steps.Field(object, "spec", "replicas"); n != nil && n != steps.Field(u, "spec", "replicas") {
		t.Errorf("%v replicas, want %v", n, steps.Field(u, "spec", "replicas"))
	}
	wantConfigInUse(t, s, workload, collector)
	if got, want := steps.Field(object, "status", "observedGeneration"), object.GetGeneration(); got != want {
		t.Errorf("%s is at generation %d, and its controller has seen %v", object.GetKind(), want, got)
	}
}
