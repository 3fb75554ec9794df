package reconcile

import (
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
)

// When something that only a person can resolve is looked at again although no event says so: the rights of the operator and
// other people's objects are not watched.
const (
	refusedRetry  = 5 * time.Minute
	conflictRetry = 30 * time.Second
)

func (p *Problem) retryAfter() time.Duration {
	if p.Reason == crds.ReasonOwnershipConflict {
		return conflictRetry
	}
	return refusedRetry
}

// refusal remembers what the API server would not take. Events of what runs keep coming, and must not make us ask again and
// again: the same is asked again when it is due, or when it is no longer the same.
type refusal struct {
	intent  string // digest of what it is about
	problem *Problem
	due     time.Time
}

// refusedBefore is the problem that this very intent had a short while ago, nil when it had none.
func (e *engine) refusedBefore(key types.NamespacedName, want []*unstructured.Unstructured, live Objects) (problem *Problem) {
	e.remember(key, func(m *memory) {
		if r := m.refused; r != nil && e.clock.Now().Before(r.due) && r.intent == intentOf(want, live) {
			problem = r.problem
		}
	})
	return problem
}

// noteRefusal remembers a problem, or forgets what was remembered when it passes by itself or there is none.
func (e *engine) noteRefusal(key types.NamespacedName, intent string, err error) {
	p, ok := errors.AsType[*Problem](err)
	e.remember(key, func(m *memory) {
		m.refused = nil
		if ok && !p.Transient {
			m.refused = &refusal{intent, p, e.clock.Now().Add(p.retryAfter())}
		}
	})
}

// intentOf is what a refusal is about: what was rendered, and the objects that it was to change. One that was deleted since can
// be made anew.
func intentOf(want []*unstructured.Unstructured, live Objects) string {
	var about []any
	for _, u := range want {
		about = append(about, u.Object)
	}
	var there []string
	for _, u := range live {
		there = append(there, string(u.GetUID()))
	}
	slices.Sort(there)
	return digest(append(about, there))
}
