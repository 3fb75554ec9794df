package main

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/discover/monitor"
)

// A pass comes at any time, also in the moment in which something is wrong that is repaired when it is next looked. What it has said then
// must not stay.
func TestWhatAPassHasSaidIsTakenBack(t *testing.T) {
	r := newPoolRig(t, oneJob)
	r.until(crds.ConditionJobsWithheld, crds.ReasonValueUnknown, "", time.Second) // the pool is served
	passes := 0
	a := &allocator{
		served: map[types.NamespacedName]*collectorPools{r.key: r.collectorPools}, said: map[types.NamespacedName][]metav1.Condition{},
		enqueue: func(types.NamespacedName) { passes++ },
	}
	broken := func(problems ...monitor.Problem) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.monitors = monitor.Result{Problems: problems}
	}
	look := func(want int, when string) {
		t.Helper()
		if a.look(); passes != want {
			t.Errorf("%s: %d passes were asked for, want %d", when, passes, want)
		}
	}
	look(1, "at first")
	look(1, "when nothing has changed")
	broken(monitor.Problem{Kind: "ServiceMonitor", Namespace: "n", Name: "m", Reason: monitor.ReasonMissingReference, Message: "no secret"})
	if got, _ := a.conditions(r.key); len(got) == 0 {
		t.Fatal("a pass is told nothing")
	}
	broken()
	look(2, "when it is no longer what a pass has said")
	look(2, "when nothing has changed since")
	delete(a.served, r.key)
	look(3, "when the collector asks for no targets any more")
	look(3, "afterwards")
}
