package operator_test

import (
	"context"
	"maps"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// TestClaimsThatCannotGrow is about a storage class that does not allow it.
func TestClaimsThatCannotGrow(t *testing.T) {
	t.Parallel()
	var (
		class  string
		before replacement
		claims map[string]string // resourceVersions
	)
	claim := func(size string) string {
		return strings.Replace(claimOf(size), "spec: {", "spec: {storageClassName: "+class+", ", 1)
	}
	environment.Test(t, steps.Feature("claims of a class that does not let them grow").
		Setup(steps.Operator("--workers", "1")).
		Setup(create("canary", "statefulset", `replicas: 0`)).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			class = "fixed-" + s.Namespace
			fixedClass(t, s, class)
			s.Create(t, steps.Collector(t, "fixed", "statefulset", claim("1Gi"), `replicas: 2`))
			s.WaitReady(t, "fixed")
			waitBound(t, s, "fixed")
			settle(t, s)
			before, claims = beforeReplacement(t, s, "fixed"), versionsOf(t, s, steps.Claims, "fixed")
			s.PatchSpec(t, "fixed", claim("2Gi"))
		})).
		Assess("are named, and the StatefulSet is made anew", steps.In(func(t *testing.T, s *steps.Scene) {
			s.WaitCondition(t, "fixed", "ClaimsNotExpanded", metav1.ConditionTrue, "ClassNotExpandable", "data-fixed-collector-0", class)
			s.WaitReady(t, "fixed")
			before.wantReplaced(t, s)
			before.wantSamePods(t, s)
			settle(t, s)
			before.wantWrites(t, s, nil)
			if after := versionsOf(t, s, steps.Claims, "fixed"); !maps.Equal(after, claims) {
				t.Errorf("claims %v, want them untouched: %v", after, claims)
			}
		})).
		Assess("are not tried again and again", steps.In(func(t *testing.T, s *steps.Scene) {
			since := s.Mark(t)
			settle(t, s)
			for _, w := range s.Requests(t, since) {
				if !strings.HasPrefix(w.Name, "canary") {
					t.Errorf("%s %s (dry run %t)", w, w.Name, w.DryRun)
				}
			}
			s.WantQuietRestart(t, 2, "--workers", "1")
		})).
		Assess("grow on the next occasion, when the class lets them", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Kubectl(t, "", "patch", "storageclass", class, "--type=merge", `-p={"allowVolumeExpansion": true}`)
			s.PatchSpec(t, "fixed", `{podAnnotations: {again: "1"}}`)
			steps.WithoutCondition(t, s.WaitReady(t, "fixed"), "ClaimsNotExpanded")
			wantClaimSize("fixed", "2Gi")(t, s)
		})).
		Feature())
}

// fixedClass makes a storage class as the default one, but that claims can't grow. It goes with the test.
func fixedClass(t *testing.T, s *steps.Scene, name string) {
	t.Helper()
	s.Kubectl(t, "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: "+name+"}, provisioner: kwok.x-k8s.io/volume}", "create", "-f", "-")
	t.Cleanup(func() {
		// The test's own context has ended by now.
		if out, err := s.TryKubectl(context.WithoutCancel(t.Context()), "", "delete", "storageclass", name); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// waitBound waits until nobody has anything left to do about a collector's claims.
func waitBound(t *testing.T, s *steps.Scene, collector string) {
	t.Helper()
	for _, c := range s.List(t, steps.Claims, instanceOf(s, collector)) {
		waitField(t, s, steps.Claims, c.GetName(), "Bound", "status", "phase")
	}
}
