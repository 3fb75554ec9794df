package features_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// everything has the operator do all that it ever does: make, change, make anew, prune and adopt in each mode, complain, and look for
// targets in all ways. Each permission is for something in here.
func everything(t *testing.T, s *steps.Scene, restart func(between func())) {
	t.Helper()
	owning(t, s)
	volumes(t, s)
	discovering(t, s)
	if simulatedPods(s) { // they never ask for their targets
		const silence = 2 * time.Minute
		waitConditionFor(t, s, silence+steps.Patience, "zoned", "CollectorsNotPolling", metav1.ConditionTrue)
	}
	s.Create(t, running(t, "adopted"))
	s.WaitReady(t, "adopted")
	restart(func() { otherSelector(t, s, "adopted") })
	s.Eventually(t, "the pod has its labels again", func() error {
		if part := s.Get(t, steps.Pods, "adopted-collector-0").GetLabels()[partOf]; part == former {
			return fmt.Errorf("it is part of %s", part)
		}
		return nil
	})
	s.WaitReady(t, "adopted")
}

// owning is what becomes of objects that collectors own.
func owning(t *testing.T, s *steps.Scene) {
	t.Helper()
	s.Create(t, idle(t, "owned", "deployment"))
	s.WaitReady(t, "owned")
	disown(t, s, "owned")
	s.Eventually(t, "the ServiceAccount has its owner again", func() error {
		if len(s.Get(t, steps.ServiceAccounts, "owned-collector").GetOwnerReferences()) == 0 {
			return errors.New("none")
		}
		return nil
	})
	for _, resource := range []string{"serviceaccounts", "configmaps", "services", "deployments", "statefulsets", "poddisruptionbudgets", "daemonsets"} {
		superfluous(t, s, resource, resource)
		s.WaitReady(t, resource)
	}
}

// volumes is what becomes of claims, and of pods that lack one.
func volumes(t *testing.T, s *steps.Scene) {
	t.Helper()
	class := storageClass(t, s, true, "stateful")
	s.Create(t, running(t, "stateful"))
	s.WaitReady(t, "stateful")
	s.PatchSpec(t, "stateful", claimOf("1Gi", class))
	s.Eventually(t, "a pod with a volume", func() error {
		if s.Find(t, steps.Claims, "data-stateful-collector-0") == nil {
			return errors.New("no claim")
		}
		return nil
	})
	waitBound(t, s, "stateful")
	s.PatchSpec(t, "stateful", claimOf("2Gi", class))
	s.Eventually(t, "the claim grows", func() error {
		if size := steps.Field(s.Get(t, steps.Claims, "data-stateful-collector-0"), "spec", "resources", "requests", "storage"); size != "2Gi" {
			return fmt.Errorf("it has %v", size)
		}
		return nil
	})
}

// discovering is how targets are found.
func discovering(t *testing.T, s *steps.Scene) {
	t.Helper()
	securedMonitor(t, s)
	s.Create(t, scraper(t, "monitors", monitorsByLabel))
	s.WaitReady(t, "monitors")
	brokenTwice(t, s, "monitors")
	s.Eventually(t, "the Event is counted", func() error {
		if n := s.CountEvents(t, secured, "MissingReference"); n < 2 {
			return fmt.Errorf("%d times: %v", n, s.Events(t, secured))
		}
		return nil
	})
	for _, resource := range []string{"endpointslices", "endpoints", "ingresses", "nodes", "replicasets", "jobs"} {
		s.Create(t, scraper(t, resource, discoveryOf(roleFor(resource))))
	}
	s.Create(t, zoned(t, "zoned"))
	for _, name := range []string{"monitors", "endpointslices", "endpoints", "ingresses", "nodes", "replicasets", "jobs", "zoned"} {
		steps.WithoutCondition(t, s.WaitReady(t, name), "DiscoveryIncomplete", "MonitorsInvalid")
	}
}
