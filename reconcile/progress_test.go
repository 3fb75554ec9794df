package reconcile

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/otelier/otelier/crds"
)

// seen is one observation, and what is expected of it.
type seen struct {
	minute     int
	health     Health
	generation int64
	left       time.Duration
	exceeded   bool
}

func TestProgressDeadline(t *testing.T) {
	moving := func(numbers string) Health { return Health{Status: status.InProgressStatus, numbers: numbers} }
	failed := Health{Status: status.FailedStatus, numbers: "1/3"}
	current := Health{Status: status.CurrentStatus}
	waiting := Health{Status: status.InProgressStatus, Waiting: true, numbers: "1/3"}
	stalled := []metav1.Condition{{Type: crds.ConditionStalled, Status: metav1.ConditionTrue, Reason: crds.ReasonProgressDeadlineExceeded, ObservedGeneration: 2}}
	left := func(minutes int) time.Duration { return time.Duration(minutes) * time.Minute }
	tests := map[string]struct {
		was   []metav1.Condition
		steps []seen
	}{
		"begins with what has no numbers, too": {steps: []seen{{0, moving(""), 2, left(10), false}, {9, moving(""), 2, left(1), false}}},
		"is over when nothing has changed for as long as it is": {steps: []seen{
			{0, moving("1/3"), 2, left(10), false}, {9, moving("1/3"), 2, left(1), false}, {10, moving("1/3"), 2, 0, true}, {99, moving("1/3"), 2, 0, true},
		}},
		"begins anew with progress": {steps: []seen{
			{0, moving("1/3"), 2, left(10), false}, {9, moving("2/3"), 2, left(10), false}, {18, moving("2/3"), 2, left(1), false}, {19, moving("2/3"), 2, 0, true},
		}},
		"begins anew with a generation": {steps: []seen{
			{0, moving("1/3"), 2, left(10), false}, {10, moving("1/3"), 2, 0, true}, {11, moving("1/3"), 3, left(10), false},
		}},
		"that was missed is forgiven when it moves": {steps: []seen{
			{0, moving("1/3"), 2, left(10), false}, {10, moving("1/3"), 2, 0, true}, {11, moving("2/3"), 2, left(10), false},
		}},
		"is not that of the rollout before": {steps: []seen{
			{0, moving("1/3"), 2, left(10), false}, {9, current, 2, 0, false}, {20, moving("1/3"), 2, left(10), false},
		}},
		"does not hold while a person is waited for": {steps: []seen{
			{0, waiting, 2, 0, false}, {60, waiting, 2, 0, false}, {61, moving("1/3"), 2, left(10), false},
		}},
		"goes on while pods crash": {steps: []seen{
			{0, moving("1/3"), 2, left(10), false}, {3, failed, 2, 0, false}, {4, moving("1/3"), 2, left(6), false}, {10, failed, 2, 0, true},
		}},
		"that was missed before a restart stays so until it moves": {was: stalled, steps: []seen{
			{0, moving("1/3"), 2, 0, true}, {30, moving("1/3"), 2, 0, true}, {31, moving("2/3"), 2, left(10), false},
		}},
		"that was missed before a restart is none of a new generation": {was: stalled, steps: []seen{{0, moving("1/3"), 3, left(10), false}}},
		"that was missed before a restart is over when all is well":    {was: stalled, steps: []seen{{0, current, 2, 0, false}, {1, moving("1/3"), 2, left(10), false}}},
		"is whole after a restart, however long it has rolled out before": {
			was: []metav1.Condition{{
				Type: crds.ConditionReconciling, Status: metav1.ConditionTrue, Reason: crds.ReasonProgressing, ObservedGeneration: 2, LastTransitionTime: metav1.NewTime(at(-60)),
			}},
			steps: []seen{{0, moving("1/3"), 2, left(10), false}},
		},
	}
	for name, tt := range tests {
		t.Run("the deadline "+name, func(t *testing.T) {
			p := newProgress(&crds.Collector{Generation: 2, Status: crds.Status{Conditions: tt.was}}, defaultProgressDeadline)
			for i, s := range tt.steps {
				var left time.Duration
				p, left = p.observe(s.health, s.generation, at(s.minute))
				if left != s.left || p.exceeded != s.exceeded {
					t.Fatalf("step %d, minute %d: %v left, exceeded %v; want %v, %v", i, s.minute, left, p.exceeded, s.left, s.exceeded)
				}
			}
		})
	}
}

func TestAStalledStatusIsNotWrittenAgainAtARestart(t *testing.T) {
	e := evidenceOf(rolling(t))
	e.pods = pods(t, waitingFor("ImagePullBackOff", "no"), container(`state: {running: {}}`))
	c := &crds.Collector{Generation: 2}
	observe := func(p progress, minute int) (progress, crds.Status) {
		o := observation{collector: c, health: health(e)}
		p, _ = p.observe(o.health, c.Generation, at(minute))
		o.deadlineExceeded = p.exceeded
		return p, buildStatus(o, at(minute))
	}
	p, first := observe(newProgress(c, defaultProgressDeadline), 0)
	if got := said(first)[1]; got != "Reconciling=True Progressing" {
		t.Fatalf("at first it is %s", got)
	}
	_, c.Status = observe(p, 10)
	if got := said(c.Status)[1]; got != "Stalled=True ProgressDeadlineExceeded" {
		t.Fatalf("after the deadline it is %s", got)
	}
	if _, again := observe(newProgress(c, defaultProgressDeadline), 11); digest(again) != digest(c.Status) {
		t.Errorf("a restart changes the status to %+v", again)
	}
}
