package features_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// For how long collectors do not reach the allocator.
const (
	cutFor  = 2 * time.Minute
	downFor = 5 * time.Minute
)

// TestAllocatorAway takes the allocator away from collectors: by the network, and by having no pod of the operator.
func TestAllocatorAway(t *testing.T) {
	environment.Test(t, steps.Feature("collectors do not reach the allocator").
		WithLabel("run", "full").
		Assess("and keep what they have", steps.In(steps.RealPods, func(t *testing.T, scene *steps.Scene) {
			f := startFaulty(t, scene, 3)
			f.scraping.phase(t, "more exporters", func(t *testing.T) {
				f.deploy(t, exporters{name: "changing", replicas: 2, ports: 3})
				f.serviceMonitor(t, "changing", "")
			}, expected{members: members(3), moved: 6})
			f.networkCut(t)
			f.operatorDown(t)
		})).
		Feature())
}

// networkCut has the packets of collectors to the allocator dropped, while targets and jobs come.
func (f *faulty) networkCut(t *testing.T) {
	i := f.incident(t, "network to the allocator cut")
	kept := slices.Collect(maps.Keys(f.owners))
	restore := f.cut(t, f.operatorPod(t).Status.PodIP, allocatorPort)
	f.Scale(t, steps.Deployments, "changing", 3, steps.UserAgent)
	f.deploy(t, exporters{name: "in-the-cut", replicas: 1, ports: 3})
	f.serviceMonitor(t, "in-the-cut", "")
	f.hold(t, "while the network is cut", i.begin.Add(cutFor), kept)
	if age := f.pollAge(t); age < cutFor-10*time.Second {
		t.Errorf("%s: a collector has asked %s ago: the network was not cut", i.name, age)
	}
	restore()
	back := time.Now()
	i.over(t, judged{
		expected: expected{members: members(3), moved: 6},
		groups:   []group{all("those there are before", unavoidable+slack, "a move to make room for new ones")},
	})
	i.noteFirst(t, back, "changing", "in-the-cut")
	f.WaitReady(t, pool)
}

// operatorDown takes all pods of the operator away, while exporters come and go, and a collector starts anew.
func (f *faulty) operatorDown(t *testing.T) {
	i := f.incident(t, "operator down")
	restarted := members(3)[2]
	there := func(target string) bool { return !strings.HasPrefix(target, "changing-") }
	f.restoreOperator(t)
	if err := f.scaleOperator(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	f.waitOperators(t, 0)
	f.Scale(t, steps.Deployments, "changing", 5, steps.UserAgent)
	f.hold(t, "while the operator is down", i.begin.Add(downFor/3), i.kept(there, ""))
	pods := f.List(t, steps.Pods, "app=changing")
	f.Delete(t, steps.Pods, pods[0].GetName(), metav1.DeletePropagationBackground)
	f.deploy(t, exporters{name: "meanwhile", replicas: 1, ports: 3})
	f.serviceMonitor(t, "meanwhile", "")
	f.hold(t, "while the operator is down", i.begin.Add(2*downFor/3), i.kept(there, ""))
	f.Scale(t, steps.Deployments, "changing", 4, steps.UserAgent)
	f.Delete(t, steps.Pods, restarted, metav1.DeletePropagationBackground)
	f.hold(t, "while the operator is down", i.begin.Add(downFor), i.kept(there, restarted))
	if steps.PodReady(f.Get(t, steps.Pods, restarted)) {
		t.Errorf("%s: pod %s is ready, and nobody has told it what to scrape", i.name, restarted)
	}
	if err := f.scaleOperator(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	f.waitOperators(t, 1)
	i.note(t, "the operator's pod was ready %s after its Deployment was scaled to 1", time.Since(back).Round(time.Second/10))
	i.over(t, judged{
		expected: expected{members: members(3), moved: 12},
		groups: []group{
			{
				"of a collector that starts meanwhile", func(_, owner string) bool { return owner == restarted },
				downFor/3 + operatorStart + unavoidable + slack, "nobody tells it its targets",
			},
			all("those there before and after", unavoidable+slack, "a move to make the load even"),
		},
		pods: func(name string) bool {
			return f.operator(name) || strings.HasPrefix(name, f.Namespace+"/changing-") || f.only(restarted)(name)
		},
	})
	i.noteFirst(t, back, "changing", "meanwhile")
	f.WaitReady(t, pool)
}

// kept are the targets from before that stay, but for those of a collector.
func (i *incident) kept(stays func(target string) bool, but string) []string {
	var out []string
	for target, owner := range i.owners {
		if stays(target) && owner != but {
			out = append(out, target)
		}
	}
	return out
}

// noteFirst notes how long after a moment exporters that are new were all scraped.
func (i *incident) noteFirst(t *testing.T, back time.Time, deployments ...string) {
	t.Helper()
	view := i.mustLook(t, i.begin)
	for _, deployment := range deployments {
		n, last := 0, time.Duration(0)
		for target, samples := range view.Targets {
			if _, before := i.owners[target]; before || !strings.HasPrefix(target, deployment+"-") || i.scraping.owners[target] == "" {
				continue
			}
			n++
			last = max(last, samples[0].At.Sub(back))
		}
		if n > 0 {
			i.note(t, "%d new targets of %s were all scraped %.1f s after", n, deployment, last.Seconds())
		}
		if most := unavoidable + slack + operatorStart; last > most {
			t.Errorf("%s: new targets of %s were not scraped until %s after, want %s at most", i.name, deployment, last, most)
		}
	}
}

// operatorStart is how long it takes from a Deployment's being scaled to the operator's first answer.
const operatorStart = 20 * time.Second

// pollAge is since when the collector that has asked last has not asked for its targets.
func (f *faulty) pollAge(t *testing.T) time.Duration {
	t.Helper()
	text, err := f.Installed.Get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(fmt.Sprintf(`(?m)^otelier_allocator_collector_poll_age_seconds\{.*pool="%s/%s".*\} (\S+)$`, f.Namespace, pool))
	var ages []float64
	for _, match := range pattern.FindAllStringSubmatch(text, -1) {
		seconds, err := strconv.ParseFloat(match[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		ages = append(ages, seconds)
	}
	if len(ages) == 0 {
		t.Fatalf("metrics: no otelier_allocator_collector_poll_age_seconds of pool %s/%s", f.Namespace, pool)
	}
	return time.Duration(slices.Min(ages) * float64(time.Second))
}
