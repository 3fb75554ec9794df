package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// How often the same intent is applied to the same object within guardWindow, before it is left alone until the window is over.
const (
	guardWindow = 10 * time.Minute
	// maxUnconverged is for objects that are not as applied right after applying: a webhook changes them on their way, and will again.
	// The second try is for fields that the API server takes two steps to set.
	maxUnconverged = 2
	// maxContested is for objects that somebody else keeps changing back.
	maxContested = 6
)

// attempts are the times at which one intent was applied to one object.
type attempts struct {
	uid    types.UID
	intent string
	times  []time.Time
	left   []string // paths that differed right after the last one
}

// attempted remembers that c was applied, and what of it did not come out as wanted.
func (e *engine) attempted(key types.NamespacedName, c *Change, got *unstructured.Unstructured, left []FieldChange, now time.Time) {
	intent := digest(c.Want.Object)
	e.remember(key, func(m *memory) {
		a := m.attempts[c.ID]
		if a.uid != got.GetUID() || a.intent != intent {
			a = attempts{uid: got.GetUID(), intent: intent}
		}
		a.times = append(slices.DeleteFunc(a.times, func(t time.Time) bool { return now.Sub(t) > guardWindow }), now)
		a.left = nil
		for _, f := range left {
			a.left = append(a.left, f.Path)
		}
		m.attempts[c.ID] = a
	})
}

// held tells whether a change was made too often to be made again now. What is held is reported, with its paths.
func (p *pass) held(c *Change) bool {
	if c.Action != ActionUpdate || c.Live == nil || c.Problem != nil {
		return false
	}
	now, held := p.clock.Now(), ""
	p.remember(p.key(), func(m *memory) {
		a := m.attempts[c.ID]
		if a.uid != c.Live.GetUID() || a.intent != digest(c.Want.Object) {
			return
		}
		recent := 0
		for _, t := range a.times {
			if now.Sub(t) <= guardWindow {
				recent++
			}
		}
		var paths, from []string
		for _, f := range c.Fields {
			paths = append(paths, f.Path)
			for _, o := range f.TakenFrom {
				if !slices.Contains(from, o.String()) {
					from = append(from, o.String())
				}
			}
		}
		switch {
		case len(a.left) > 0 && recent >= maxUnconverged:
			held = fmt.Sprintf("%s: %s: another value is stored than was applied; an admission webhook may change it", c.ID, few(paths))
		case recent >= maxContested && len(from) > 0:
			held = fmt.Sprintf("%s: %s: changed back again and again by %s", c.ID, few(paths), strings.Join(from, ", "))
		case recent >= maxContested:
			held = fmt.Sprintf("%s: %s: changed back again and again", c.ID, few(paths))
		}
	})
	if held == "" {
		return false
	}
	p.observed.held = append(p.observed.held, held)
	p.metrics.heldBack.WithLabelValues(c.ID.Kind).Inc()
	return true
}

// sameIntent tells whether what c wants was applied to the object before, or found to be so: then what differs was changed since.
func (e *engine) sameIntent(key types.NamespacedName, c *Change) (same bool) {
	e.remember(key, func(m *memory) {
		a, ok := m.attempts[c.ID]
		same = ok && c.Live != nil && a.uid == c.Live.GetUID() && a.intent == digest(c.Want.Object)
	})
	return same
}
