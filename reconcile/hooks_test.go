package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
)

// hooked is a trial whose engine is told of, and tells, others.
type hooked struct {
	*trial
	t          *testing.T
	conditions []metav1.Condition
	known      bool
	told       []string
}

func newHooked(t *testing.T) *hooked {
	t.Helper()
	w, err := begin()
	mustDo(t, err)
	mustDo(t, having(statefulSetMode)(w))
	tr, err := newTrial(w, newSlimmed(), NewPlanner(renderForTests), fault{})
	mustDo(t, err)
	h := &hooked{trial: tr, t: t}
	h.hook()
	return h
}

// hook does what newEngine does with Options.
func (h *hooked) hook() {
	h.engine.conditions = func(key types.NamespacedName) ([]metav1.Condition, bool) {
		if key != h.key {
			h.t.Errorf("asked about %s", key)
		}
		return h.conditions, h.known
	}
	h.engine.replicas = func(key types.NamespacedName, replicas int32) {
		live := h.world.get(ID{"apps", "StatefulSet", "ns", workloadOfA})
		was := "none"
		if live != nil {
			was = fmt.Sprint(numberAt(live, "spec", "replicas"))
		}
		h.told = append(h.told, fmt.Sprintf("%s: %s to %d", key, was, replicas))
	}
}

// after does something, lets the operator come to rest, and returns how many writes that took.
func (h *hooked) after(do func() error) int {
	h.t.Helper()
	before := h.writes()
	mustDo(h.t, do())
	h.enqueue(h.key)
	mustDo(h.t, h.settle())
	return h.writes() - before
}

// said are the conditions of the collector, but for Ready.
func (h *hooked) said() string {
	h.t.Helper()
	c, err := crds.Decode(h.world.get(ID{crds.Group, crds.Kind, "ns", "a"}))
	mustDo(h.t, err)
	var out []string
	for _, c := range c.Status.Conditions {
		if c.Type != crds.ConditionReady {
			out = append(out, c.Type+" "+c.Reason+": "+c.Message)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func nothing() error { return nil }

func TestConditionsOfOthersAreInTheStatusWhileTheyHold(t *testing.T) {
	h := newHooked(t)
	withheld := metav1.Condition{Type: crds.ConditionJobsWithheld, Status: metav1.ConditionTrue, Reason: crds.ReasonInsecureChannel, Message: "a"}
	h.conditions, h.known = []metav1.Condition{
		withheld,
		{Type: crds.ConditionTargetsUnassigned, Status: metav1.ConditionTrue, Message: "no reason"},
		{Type: crds.ConditionStalled, Status: metav1.ConditionTrue, Reason: "Bad", Message: "not theirs to say"},
		{Type: "Other", Status: metav1.ConditionTrue, Reason: "Bad", Message: "not theirs to say"},
	}, true
	h.after(nothing)
	const want = "JobsWithheld InsecureChannel: a; TargetsUnassigned TargetsUnassigned: no reason"
	if got := h.said(); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	events := strings.Join(h.trial.told, "\n")
	if strings.Count(events, "Warning InsecureChannel: a") != 1 {
		t.Errorf("want one Event of what is new, got\n%s", events)
	}
	if n := h.after(nothing); n != 0 {
		t.Errorf("%d writes although nothing has changed", n)
	}

	// A new process knows nothing yet: what was said stays, and costs nothing.
	h.conditions, h.known = nil, false
	if n := h.after(func() error { err := h.restart(); h.hook(); return err }); n != 0 || h.said() != want {
		t.Errorf("after a restart: %d writes, conditions %s", n, h.said())
	}

	h.conditions, h.known = []metav1.Condition{withheld}, true
	if n := h.after(nothing); n != 1 || h.said() != "JobsWithheld InsecureChannel: a" {
		t.Errorf("when one is over: %d writes, conditions %s", n, h.said())
	}
	h.conditions = nil
	if n := h.after(nothing); n != 1 || h.said() != "" {
		t.Errorf("when all are over: %d writes, conditions %s", n, h.said())
	}
}

// TestNumbersOfOthersDoNotFloodTheStatus has the message of a condition change all the time.
func TestNumbersOfOthersDoNotFloodTheStatus(t *testing.T) {
	h := newHooked(t)
	h.known = true
	h.conditions = []metav1.Condition{{Type: crds.ConditionTargetsUnassigned, Reason: crds.ReasonNoCollectors, Message: "0"}}
	h.after(nothing)
	before := h.writes()
	const passes = 50
	for i := range passes {
		h.conditions[0].Message = fmt.Sprint(i + 1)
		mustDo(t, h.feed.deliver())
		if _, err := h.engine.sync(t.Context(), h.key); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.writes() - before; n > 3 {
		t.Errorf("%d writes in %d passes at the same time", n, passes)
	}
	h.after(nothing)
	if want := fmt.Sprintf("TargetsUnassigned NoCollectors: %d", passes); h.said() != want {
		t.Errorf("in the end it says %s, want %s", h.said(), want)
	}
}

func TestReplicasAreToldBeforeTheyAreWritten(t *testing.T) {
	h := newHooked(t)
	replicas := func(n int64) func() error {
		return func() error { return set(n, "spec", "replicas")(h.world) }
	}
	for _, step := range []struct {
		what string
		do   func() error
		want []string
	}{
		{"creation", nothing, []string{"ns/a: none to 2"}},
		{"nothing", nothing, nil},
		{"more", replicas(5), []string{"ns/a: 2 to 5"}},
		{"another image", func() error { return set("collector:2", "spec", "image")(h.world) }, nil},
		{"fewer", replicas(1), []string{"ns/a: 5 to 1"}},
		{"a restart", func() error { err := h.restart(); h.hook(); return err }, nil},
	} {
		h.told = nil
		h.after(step.do)
		if !slices.Equal(h.told, step.want) {
			t.Errorf("%s: told %q, want %q", step.what, h.told, step.want)
		}
	}
}

func TestReplicasAreNotToldByWhatOnlyObserves(t *testing.T) {
	h := newHooked(t)
	h.engine.observe = true
	h.after(nothing)
	if len(h.told) > 0 || h.writes() > 0 {
		t.Errorf("told %q, and %d writes", h.told, h.writes())
	}
}

func TestConditionsOfOthersSayNothingOfTheRollout(t *testing.T) {
	foreign := []metav1.Condition{{Type: crds.ConditionTargetsUnassigned, Status: metav1.ConditionTrue, Reason: crds.ReasonNoCollectors}}
	for _, health := range []Health{{Status: "Current"}, {Status: "InProgress"}, {Status: "Failed"}} {
		c := &crds.Collector{Generation: 2}
		without := buildStatus(observation{collector: c, health: health, foreignKnown: true}, at(0))
		with := buildStatus(observation{collector: c, health: health, foreign: foreign, foreignKnown: true}, at(0))
		if !meta.IsStatusConditionTrue(with.Conditions, crds.ConditionTargetsUnassigned) {
			t.Errorf("%s: the condition is not there", health.Status)
		}
		meta.RemoveStatusCondition(&with.Conditions, crds.ConditionTargetsUnassigned)
		if digest(with) != digest(without) {
			t.Errorf("%s: %v, without the condition %v", health.Status, said(with), said(without))
		}
	}
}
