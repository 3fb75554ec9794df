package reconcile

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/otelier/otelier/crds"
)

// defaultProgressDeadline is how long a rollout may make no progress. It is as long as that of Deployments
// (k8s.io/api/apps/v1, DeploymentSpec.ProgressDeadlineSeconds).
const defaultProgressDeadline = 10 * time.Minute

// progress is what is remembered of a collector's rollout. It is a value, and kept in memory only.
type progress struct {
	deadline   time.Duration
	generation int64
	numbers    string    // as health last saw them; empty before and after a rollout
	since      time.Time // when they became so
	// exceeded is set when nothing has changed for the deadline, until something does.
	exceeded bool
}

// newProgress is what is known of a collector before anything was observed. A rollout that its status says has stopped, has stopped
// until it moves, so that a restart of the operator changes nothing. Any other has the whole deadline from the first observation on:
// whether it moved while nobody looked is not known, and a condition's lastTransitionTime is when it began, not when it last moved.
func newProgress(c *crds.Collector, deadline time.Duration) progress {
	return progress{deadline: deadline, generation: c.Generation, exceeded: stalledFor(c, crds.ReasonProgressDeadlineExceeded)}
}

// observe takes note of h, and says how long there is until the deadline: that is when to look again, although no event says so. It
// is 0 when there is no deadline, because all is well, or waits for a person, or it is over.
func (p progress) observe(h Health, generation int64, now time.Time) (progress, time.Duration) {
	if h.Status == status.CurrentStatus || h.Waiting {
		return progress{deadline: p.deadline, generation: generation}, 0
	}
	resumed := p.exceeded && p.numbers == ""
	switch {
	case p.generation == generation && resumed:
		p.numbers = h.numbers
	case p.generation != generation || p.numbers != h.numbers || p.since.IsZero() && !p.exceeded:
		p = progress{deadline: p.deadline, generation: generation, numbers: h.numbers, since: now}
	}
	if p.exceeded {
		return p, 0
	}
	left := p.since.Add(p.deadline).Sub(now)
	if left <= 0 {
		p.exceeded = true
		return p, 0
	}
	if h.Status == status.FailedStatus {
		return p, 0 // it is stalled as it is
	}
	return p, left
}

// stalledFor tells whether a collector's status says that its present generation is stalled for a reason.
func stalledFor(c *crds.Collector, reason string) bool {
	was := meta.FindStatusCondition(c.Status.Conditions, crds.ConditionStalled)
	return was != nil && was.Reason == reason && was.ObservedGeneration == c.Generation
}
