package reconcile

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/otelier/otelier/crds"
)

// A status is written for nothing but the progress of a rollout after firstProgress, and then each time after twice as long, up to
// lastProgress: with a thousand collectors coming up at once, such writes would be most of what there is.
const (
	firstProgress = 10 * time.Second
	lastProgress  = time.Minute
)

// writeStatus applies the status if it is not what the collector has, and says in Events what is new about it. It returns when to
// write progress that it is too early to write now.
func (p *pass) writeStatus(ctx context.Context, s crds.Status) (time.Duration, error) {
	was := p.collector.Status
	if digest(s) == digest(was) {
		return 0, nil
	}
	progress := onlyProgress(was, s)
	if progress {
		due := time.Time{}
		p.remember(p.key(), func(m *memory) { due = m.status.Add(min(firstProgress<<m.progressWrites, lastProgress)) })
		if wait := due.Sub(p.clock.Now()); wait > 0 {
			return wait, nil
		}
	}
	u, err := statusObject(p.collector, s)
	if err != nil {
		return 0, err
	}
	got, err := p.cluster.ApplyStatus(ctx, u)
	if err != nil {
		return 0, fmt.Errorf("collector %s: write status: %w", p.key(), err)
	}
	p.metrics.statuses.Inc()
	p.wroteResource(p.key(), crds.CollectorResource(), got.GetResourceVersion())
	p.remember(p.key(), func(m *memory) {
		m.status = p.clock.Now()
		m.progressWrites++
		if !progress {
			m.progressWrites = 0
		}
		m.progressWrites = min(m.progressWrites, 3)
	})
	p.announce(was, s.Conditions)
	c := *p.collector
	c.Status = s
	p.collector = &c
	return 0, nil
}

// announce makes an Event of each condition that says something new. Rollouts of paused collectors are not our doing.
func (p *pass) announce(was crds.Status, conditions []metav1.Condition) {
	paused := meta.IsStatusConditionTrue(conditions, crds.ConditionPaused)
	for _, now := range conditions {
		if paused && now.Type != crds.ConditionPaused {
			continue
		}
		if kind := eventType(meta.FindStatusCondition(was.Conditions, now.Type), now); kind != "" {
			p.log.Log(context.Background(), logLevel(kind), "status", "collector", p.key().String(),
				"condition", now.Type, "status", now.Status, "reason", now.Reason, "message", now.Message)
			p.recorder.Eventf(reference(p.collector), nil, kind, now.Reason, "Reconcile", "%s", noteOf(now.Message))
		}
	}
}

// event tells, also in the log, of something that was done about an object, and that no condition says.
func (p *pass) event(about *unstructured.Unstructured, reason, message string) {
	p.log.Info(message, "collector", p.key().String(), "reason", reason)
	p.tell(about, reason, message)
}

// tell makes an Event. With the version of the object, Events are told apart that would else be taken for one that comes again and
// again.
func (p *pass) tell(about *unstructured.Unstructured, reason, message string) {
	related := &corev1.ObjectReference{
		APIVersion: about.GetAPIVersion(), Kind: about.GetKind(), Namespace: about.GetNamespace(), Name: about.GetName(), UID: about.GetUID(),
		ResourceVersion: about.GetResourceVersion(),
	}
	p.recorder.Eventf(reference(p.collector), related, corev1.EventTypeNormal, reason, "Reconcile", "%s", noteOf(message))
}

// watchProgress completes what was observed by what is known of earlier passes, and returns when to look again although nothing
// happens.
func (p *pass) watchProgress(o *observation) time.Duration {
	again := time.Duration(0)
	p.remember(p.key(), func(m *memory) {
		if o.paused {
			m.progress = nil
			return
		}
		if m.progress == nil {
			m.progress = new(newProgress(p.collector, p.deadline))
		}
		*m.progress, again = m.progress.observe(o.health, p.collector.Generation, p.clock.Now())
		o.deadlineExceeded = m.progress.exceeded
	})
	if len(o.held) > 0 {
		o.notConverging = strings.Join(o.held, "; ")
		again = soonest(again, guardWindow)
	}
	return again
}

// beingApplied is the health of what is about to be made.
func beingApplied() Health { return Health{Status: status.InProgressStatus, Message: "being applied"} }
