package reconcile

import (
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
func (c *Controller) refusedBefore(key types.NamespacedName, want []*unstructured.Unstructured, live map[ID]*liveObject) *Problem {
	c.mu.Lock()
	r, ok := c.refused[key]
	c.mu.Unlock()
	if !ok || !c.clock.Now().Before(r.due) || r.intent != intentOf(want, live) {
		return nil
	}
	return r.problem
}

// noteRefusal remembers p, or forgets what was remembered when p passes by itself or is nil.
func (c *Controller) noteRefusal(
	key types.NamespacedName, want []*unstructured.Unstructured, live map[ID]*liveObject, p *Problem,
) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p == nil || p.Transient {
		delete(c.refused, key)
		return
	}
	c.refused[key] = refusal{intentOf(want, live), p, c.clock.Now().Add(p.retryAfter())}
}

// intentOf is what a refusal is about: what was rendered, and the objects that it was to change. One that was deleted since can
// be made anew.
func intentOf(want []*unstructured.Unstructured, live map[ID]*liveObject) string {
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
