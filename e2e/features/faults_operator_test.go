package features_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/steps"
)

// rollout is how long a pod of the collector is away while it is replaced: it ends, and the next one starts and becomes ready, on a machine
// that is busy.
const rollout = 40 * time.Second

// TestOperatorKilledInRollout kills the operator while a collector's pods are being replaced.
func TestOperatorKilledInRollout(t *testing.T) {
	environment.Test(t, steps.Feature("the operator is killed in the midst of a rollout").
		WithLabel("run", "smoke").
		Assess("and the next one goes on where it was", steps.In(steps.RealPods, func(t *testing.T, scene *steps.Scene) {
			f := startFaulty(t, scene, 2)
			i := f.incident(t, "operator killed in mid-rollout")
			f.restoreOperator(t)
			killed := f.operatorPod(t).Name
			f.PatchSpec(t, pool, "podAnnotations: {rolled: once}")
			revision := ""
			f.Eventually(t, "the collector's pods begin to be replaced", func() error {
				set := f.Get(t, steps.StatefulSets, pool+"-collector")
				revision, _ = steps.Field(set, "status", "updateRevision").(string)
				if revision == steps.Field(set, "status", "currentRevision") {
					return fmt.Errorf("revision %s", revision)
				}
				return nil
			})
			f.Create(t, steps.Collector(t, "late", "deployment", configDebug)) // more than the cluster goes on with by itself
			f.deleteNow(t, f.Installed.Namespace, killed)
			at := time.Now()
			f.waitOperators(t, 1)
			i.note(t, "the next pod of the operator was ready %s after", time.Since(at).Round(time.Second/10))
			f.WaitReady(t, pool)
			f.WaitReady(t, "late")
			i.note(t, "both collectors were Ready %s after", time.Since(at).Round(time.Second/10))
			i.over(t, judged{
				expected: expected{members: members(2)}, stay: true,
				groups: []group{all("all", rollout+unavoidable, "a pod is replaced")},
				pods:   func(name string) bool { return f.operator(name) || f.only(members(2)...)(name) },
			})
			set := f.Get(t, steps.StatefulSets, pool+"-collector")
			if got := steps.Field(set, "status", "updateRevision"); got != revision {
				t.Errorf("revision %v, want %s: the pods were rolled twice", got, revision)
			}
		})).
		Feature())
}

// TestLeaderOfTwoKilled kills the leader of two replicas: the process in it, and its pod.
func TestLeaderOfTwoKilled(t *testing.T) {
	environment.Test(t, steps.Feature("the leader of two replicas of the operator is killed").
		WithLabel("run", "full").
		Assess("and the other one goes on", steps.In(steps.RealPods, func(t *testing.T, scene *steps.Scene) {
			f := startFaulty(t, scene, 3)
			f.restoreOperator(t)
			f.secondReplica(t)
			f.leaderKilled(t, "leader's process killed", f.kill)
			f.leaderKilled(t, "leader's pod deleted without grace", f.deleteNow)
		})).
		Feature())
}

// secondReplica scales the operator to two.
func (f *faulty) secondReplica(t *testing.T) {
	i := f.incident(t, "a second replica of the operator")
	if err := f.scaleOperator(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	f.waitOperators(t, 2)
	i.over(t, judged{expected: expected{members: members(3)}, stay: true, groups: []group{untouched()}})
}

// leaderKilled kills the leader of two replicas, and holds that the other one takes over.
func (f *faulty) leaderKilled(t *testing.T, name string, kill func(t *testing.T, namespace, name string)) {
	pods := f.waitOperators(t, 2)
	leader, before, err := f.leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := f.incident(t, name)
	kill(t, f.Installed.Namespace, leader)
	at := time.Now()
	late := strings.ReplaceAll(strings.ReplaceAll(name, "'", ""), " ", "-")
	f.Create(t, steps.Collector(t, late, "deployment", configDebug))
	within(t, steps.RealPatience, "another one leads", func() error {
		now, since, err := f.leader(t.Context())
		if err == nil && !since.After(before) {
			err = fmt.Errorf("%s, since %s; the pods are %v", now, since, pods)
		}
		return err
	})
	took := time.Since(at)
	i.note(t, "another one led %s after", took.Round(time.Second/10))
	if took > leaseTaken {
		t.Errorf("%s: another one led after %s, want %s at most", name, took, leaseTaken)
	}
	f.WaitReady(t, late)
	i.note(t, "a collector created meanwhile was Ready %s after", time.Since(at).Round(time.Second/10))
	f.waitOperators(t, 2)
	i.over(t, judged{
		expected: expected{members: members(3)}, stay: true, groups: []group{untouched()}, pods: f.operator,
	})
	f.WaitReady(t, pool)
}

// leaseTaken is within what time another replica leads: the Lease lasts 15 s from when others have seen its last renewal, and they look
// every 2 to 4.4 s, which makes 24 s. The rest is for a machine that has much else to do.
const leaseTaken = 30 * time.Second
