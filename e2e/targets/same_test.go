package targets_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/otelier/otelier/e2e/steps"
)

// The pool of TestSameAnswers: kwok runs its pods.
const (
	sameMembers = 10
	sameJobs    = 4
	sameTargets = 1000 // all jobs together
)

// staticCollectors have targets in their own configuration.
func staticCollectors() string {
	var jobs []string
	for i := range sameJobs {
		var targets []string
		for j := range sameTargets / sameJobs {
			targets = append(targets, fmt.Sprintf("'127.0.0.1:%d'", 10000+i*sameTargets/sameJobs+j))
		}
		jobs = append(jobs, fmt.Sprintf("{job_name: job/%d a, static_configs: [{targets: [%s]}]}", i, strings.Join(targets, ", ")))
	}
	return fmt.Sprintf(`
replicas: %d
targetAllocator: {enabled: true, allocationStrategy: least-weighted}
config:
  receivers: {prometheus: {config: {scrape_configs: [%s]}}}
  exporters: {debug: {}}
  service: {pipelines: {metrics: {receivers: [prometheus], exporters: [debug]}}}
`, sameMembers, strings.Join(jobs, ", "))
}

// TestSameAnswers asks the allocators of two replicas of the operator, over a restart of one and a rolling restart of the collectors.
func TestSameAnswers(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("all answers").
		Assess("are the same from every replica, at any time", steps.In(func(t *testing.T, s *steps.Scene) {
			first, second := freeAddress(t), freeAddress(t)
			s.LaunchReplica(t, "first", "--allocator-listen", first, "--allocator-url", "http://"+first)
			b := s.LaunchReplica(t, "second", "--allocator-listen", second, "--allocator-url", "http://"+first)
			s.Create(t, steps.Collector(t, pool, "statefulset", staticCollectors()))
			s.WaitReady(t, pool)
			one, two := poolAt(t, s, first), poolAt(t, s, second)
			paths := one.waitShared(t)
			often := paths[:2+sameMembers] // all members of one job
			two.waitShared(t)
			truth := one.truth(t, paths)
			wantSame(t, "the other replica", truth, two.truth(t, paths))

			poll := startPoller(t, one, often)
			pods := steps.UIDs(s.List(t, steps.Pods, steps.ManagedBy))
			s.PatchSpec(t, pool, `podAnnotations: {restarted: once}`)
			steps.Eventually(t, "a rolling restart", func() error {
				now := steps.UIDs(s.List(t, steps.Pods, steps.ManagedBy))
				if len(now) != sameMembers || slices.ContainsFunc(now, func(uid string) bool { return slices.Contains(pods, uid) }) {
					return fmt.Errorf("before %v, now %v", pods, now)
				}
				return nil
			})
			s.WaitReady(t, pool)
			steps.Eventually(t, "every answer several times", func() error { return poll.lacking(20) })
			poll.stop()
			poll.judge(t, truth)

			if err := b.Stop(); err != nil {
				t.Fatal(err)
			}
			poll = startPoller(t, two, often)
			s.LaunchReplica(t, "third", "--allocator-listen", second, "--allocator-url", "http://"+first)
			steps.Eventually(t, "every answer in full", func() error { return poll.lacking(20) })
			poll.stop()
			poll.judge(t, truth)
			wantSame(t, "the replica that was restarted", truth, two.truth(t, paths))
		})).
		Feature())
}

func poolAt(t *testing.T, s *steps.Scene, address string) *allocator {
	t.Helper()
	return newAllocator(t, fmt.Sprintf("http://%s/pools/%s/%s", address, s.Namespace, pool))
}

// waitShared waits until every target belongs to one of the members and each of them has its share, and returns all paths.
func (a *allocator) waitShared(t *testing.T) []string {
	t.Helper()
	var members, jobs []string
	for i := range sameMembers {
		members = append(members, fmt.Sprintf("%s%d", poolPods, i))
	}
	steps.Eventually(t, a.base+": every target on one of the members", func() error {
		owners, err := a.owners(t.Context(), members)
		if err != nil {
			return err
		}
		for port, by := range owners {
			if len(by) != 1 {
				return fmt.Errorf("the target at port %d is on %v", port, by)
			}
		}
		if len(owners) != sameTargets {
			return fmt.Errorf("%d targets", len(owners))
		}
		if jobs, err = a.jobs(t.Context()); err != nil {
			return err
		}
		return wantShares(owners, members)
	})
	return poolPaths(jobs, members)
}

func wantSame(t *testing.T, who string, want, got map[string]string) {
	t.Helper()
	for path := range want {
		if got[path] != want[path] {
			t.Errorf("%s says something else for %s: %s\nwant %s", who, path, excerpt(got[path]), excerpt(want[path]))
		}
	}
}
