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
	tries  []try
	left   []string // paths that differed right after the last one
}

// try is one of them, with the paths that others had changed before it.
type try struct {
	at    time.Time
	paths []string
}

// attempted remembers that c was applied, and what of it did not come out as wanted.
func (e *engine) attempted(key types.NamespacedName, c *Change, got *unstructured.Unstructured, left []FieldChange, now time.Time) {
	intent := digest(c.Want.Object)
	e.remember(key, func(m *memory) {
		a := m.attempts[c.ID]
		if a.uid != got.GetUID() || a.intent != intent {
			a = attempts{uid: got.GetUID(), intent: intent}
		}
		a.tries = append(slices.DeleteFunc(a.tries, func(t try) bool { return now.Sub(t.at) > guardWindow }), try{now, pathsOf(c.Fields)})
		a.left = pathsOf(left)
		m.attempts[c.ID] = a
	})
}

func pathsOf(fields []FieldChange) []string {
	var out []string
	for _, f := range fields {
		out = append(out, f.Path)
	}
	return out
}

// held tells whether a change was made too often to be made again now. What is held is reported, with its paths.
func (p *pass) held(c *Change) bool {
	if c.Action != ActionUpdate || c.Live == nil || c.Problem != nil {
		return false
	}
	now, held, contested := p.clock.Now(), "", false
	p.remember(p.key(), func(m *memory) {
		a := m.attempts[c.ID]
		if a.uid != c.Live.GetUID() || a.intent != digest(c.Want.Object) {
			return
		}
		if held, contested = a.verdict(c, now); held != "" && m.held[c.ID] != held {
			m.held[c.ID] = held
			p.metrics.heldBack.WithLabelValues(c.ID.Kind).Inc()
		}
	})
	if held == "" {
		return false
	}
	p.observed.held = append(p.observed.held, held)
	p.observed.contested = p.observed.contested || contested
	return true
}

// verdict is why c is not to be made again, empty when it is.
func (a attempts) verdict(c *Change, now time.Time) (why string, contested bool) {
	recent := slices.DeleteFunc(slices.Clone(a.tries), func(t try) bool { return now.Sub(t.at) > guardWindow })
	if len(a.left) > 0 && len(recent) >= maxUnconverged {
		return fmt.Sprintf("%s: %s: another value is stored than was applied; an admission webhook may change it", c.ID, few(pathsOf(c.Fields))), false
	}
	var paths, from []string
	for _, f := range c.Fields {
		n := 0
		for _, t := range recent {
			if slices.Contains(t.paths, f.Path) {
				n++
			}
		}
		if n < maxContested {
			continue
		}
		paths = append(paths, f.Path)
		for _, o := range f.TakenFrom {
			if !slices.Contains(from, o.String()) {
				from = append(from, o.String())
			}
		}
	}
	switch {
	case len(paths) == 0:
		return "", false
	case len(from) == 0:
		return fmt.Sprintf("%s: %s: changed back again and again", c.ID, few(paths)), true
	}
	return fmt.Sprintf("%s: %s: changed back again and again by %s", c.ID, few(paths), strings.Join(from, ", ")), true
}

// sameIntent tells whether what c wants was applied to the object before, or found to be so: then what differs was changed since.
func (e *engine) sameIntent(key types.NamespacedName, c *Change) (same bool) {
	e.remember(key, func(m *memory) {
		a, ok := m.attempts[c.ID]
		same = ok && c.Live != nil && a.uid == c.Live.GetUID() && a.intent == digest(c.Want.Object)
	})
	return same
}
