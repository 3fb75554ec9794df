package reconcile

import (
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
	intent  string // digest of all that was rendered
	problem *Problem
	due     time.Time
}

// refusedBefore is the problem that this very intent had a short while ago, nil when it had none.
func (c *Controller) refusedBefore(key types.NamespacedName, want []*unstructured.Unstructured) *Problem {
	c.mu.Lock()
	r, ok := c.refused[key]
	c.mu.Unlock()
	if !ok || !c.clock.Now().Before(r.due) || r.intent != intentOf(want) {
		return nil
	}
	return r.problem
}

// noteRefusal remembers p, or forgets what was remembered when p passes by itself or is nil.
func (c *Controller) noteRefusal(key types.NamespacedName, want []*unstructured.Unstructured, p *Problem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p == nil || p.Transient {
		delete(c.refused, key)
		return
	}
	c.refused[key] = refusal{intentOf(want), p, c.clock.Now().Add(p.retryAfter())}
}

func intentOf(want []*unstructured.Unstructured) string {
	objects := make([]map[string]any, len(want))
	for i, u := range want {
		objects[i] = u.Object
	}
	return digest(objects)
}
