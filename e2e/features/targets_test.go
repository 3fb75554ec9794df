package features_test

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// TestTargets has three collectors scrape what each of the four kinds of monitors finds.
func TestTargets(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("targets of all kinds").
		WithLabel("run", "smoke").
		Assess("are scraped by exactly one of three collectors, and of two", steps.In(steps.RealPods, func(t *testing.T, scene *steps.Scene) {
			s := startScraping(t, scene)
			t.Cleanup(func() { t.Log(s.table()) })
			s.kinds(t, 2, 4)
			s.phase(t, "3 collectors start", func(t *testing.T) { s.collect(t, 3) }, expected{members: members(3), moved: anyNumber})
			s.WaitReady(t, pool)
			onlyOf := len(s.ownedBy("pool-collector-2"))
			s.phase(t, "scale from 3 to 2", func(t *testing.T) { s.scale(t, 2) }, expected{members: members(2), moved: s.orABitMore(onlyOf)})
		})).
		Feature())
}

// TestTargetsComeAndGo looks at who scrapes what, from what the collectors export, while collectors and exporters change.
func TestTargetsComeAndGo(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("targets and collectors that come and go").
		WithLabel("run", "full").
		Assess("leave every target with exactly one", steps.In(steps.RealPods, func(t *testing.T, scene *steps.Scene) {
			s := startScraping(t, scene)
			t.Cleanup(func() { t.Log(s.table()) })
			s.kinds(t, 3, 10)
			s.phase(t, "3 collectors start", func(t *testing.T) { s.collect(t, 3) }, expected{members: members(3), moved: anyNumber})
			uids := steps.UIDs(s.List(t, steps.Pods, steps.ManagedBy))
			s.phase(t, "scale from 3 to 5", func(t *testing.T) { s.scale(t, 5) }, expected{members: members(5), moved: s.orABitMore(s.toFill(3, 5))})
			s.wantPods(t, uids)
			s.exportersChange(t, members(5))
			removed := len(s.ownedBy("pool-collector-2", "pool-collector-3", "pool-collector-4"))
			s.phase(t, "scale from 5 to 2", func(t *testing.T) { s.scale(t, 2) }, expected{members: members(2), moved: s.orABitMore(removed)})
			s.WaitReady(t, pool)
		})).
		Feature())
}

// kinds deploys exporters for each kind of monitor: for ServiceMonitors as many pods with as many ports, for the others fewer.
func (s *scraping) kinds(t *testing.T, pods, ports int) {
	t.Helper()
	s.deploy(t, exporters{name: "by-service", replicas: pods, ports: ports})
	s.serviceMonitor(t, "by-service", "")
	s.deploy(t, exporters{name: "by-pod", replicas: 2, ports: ports / 2})
	s.podMonitor(t, "by-pod", ports/2)
	s.deploy(t, exporters{name: "prober", replicas: 1, ports: 1, wanted: []int{}})
	s.probe(t, "prober", "alpha", "beta", "gamma")
	s.deploy(t, exporters{name: "listed", replicas: 1, ports: 3})
	s.scrapeConfig(t, "listed", 3)
}

// exportersChange has exporters come and go in all the ways in which they do.
func (s *scraping) exportersChange(t *testing.T, members []string) {
	t.Helper()
	// Each target that comes or goes can make one other move, so that all have their share again.
	s.phase(t, "exporters scaled from 3 to 5", func(t *testing.T) {
		s.Scale(t, steps.Deployments, "by-service", 5, steps.UserAgent)
	}, expected{members: members, moved: s.orABitMore(20)})
	s.phase(t, "a pod of exporters deleted", func(t *testing.T) {
		pods := s.List(t, steps.Pods, "app=by-service")
		s.Delete(t, steps.Pods, pods[0].GetName(), metav1.DeletePropagationBackground)
		s.gone(t, pods[0].GetName())
	}, expected{members: members, moved: s.orABitMore(20)})
	s.phase(t, "exporters rolled", func(t *testing.T) {
		s.Patch(t, steps.Deployments, "by-pod", "spec: {template: {metadata: {annotations: {rolled: once}}}}")
	}, expected{members: members, moved: s.orABitMore(20)})
	s.phase(t, "exporters scaled from 5 to 2", func(t *testing.T) {
		s.Scale(t, steps.Deployments, "by-service", 2, steps.UserAgent)
	}, expected{members: members, moved: s.orABitMore(30)})
	s.withheld["by-pod"] = true
	s.phase(t, "a monitor deleted", func(t *testing.T) {
		s.Delete(t, podMonitors, "by-pod", metav1.DeletePropagationBackground)
	}, expected{members: members, moved: s.orABitMore(10)})
	delete(s.withheld, "by-pod")
	s.phase(t, "a monitor made anew", func(t *testing.T) {
		s.podMonitor(t, "by-pod", 5)
	}, expected{members: members, moved: s.orABitMore(10)})
}

// scale sets the number of collectors.
func (s *scraping) scale(t *testing.T, replicas int) {
	t.Helper()
	s.Scale(t, steps.Collectors, pool, replicas, steps.UserAgent)
}

// ownedBy are the targets of these collectors at the end of the last phase.
func (s *scraping) ownedBy(collectors ...string) []string {
	var out []string
	for target, owner := range s.owners {
		for _, collector := range collectors {
			if owner == collector {
				out = append(out, target)
			}
		}
	}
	return out
}

// toFill is how many targets have to move when collectors are added: the shares of the new ones.
func (s *scraping) toFill(before, after int) int {
	return len(s.owners) - before*(len(s.owners)/after)
}

// orABitMore allows for the moves between collectors that stay which an assignment without history makes besides those that have to be.
func (s *scraping) orABitMore(n int) int { return n + max(3, len(s.owners)/10) }

// gone waits until a pod is no longer there, or is about to end.
func (s *scraping) gone(t *testing.T, pod string) {
	t.Helper()
	s.Eventually(t, "pod "+pod+" is ending", func() error {
		if u := s.Find(t, steps.Pods, pod); u != nil && u.GetDeletionTimestamp() == nil {
			return errors.New("it is there")
		}
		return nil
	})
}

// wantPods fails the test when one of these pods is no longer there.
func (s *scraping) wantPods(t *testing.T, uids []string) {
	t.Helper()
	now := map[string]bool{}
	for _, uid := range steps.UIDs(s.List(t, steps.Pods, steps.ManagedBy)) {
		now[uid] = true
	}
	for _, uid := range uids {
		if !now[uid] {
			t.Errorf("pod %s was replaced", uid)
		}
	}
}
