package reconcile

import (
	"cmp"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// announcePlan says what would be done, each time it is something else: in the log, in an Event and in a metric.
func (p *pass) announcePlan(plan *Plan) {
	counts := map[Action]int{}
	var lines []string
	var first *unstructured.Unstructured
	for i := range plan.Changes {
		c := &plan.Changes[i]
		if c.Action != ActionNone {
			counts[c.Action]++
			if first == nil {
				first = cmp.Or(c.Live, c.Want)
			}
			lines = append(lines, c.summary())
		}
	}
	said := digest(lines)
	news := false
	p.remember(p.key(), func(m *memory) {
		news = m.plan != said
		m.plan = said
		p.countPlanned(m, counts)
	})
	if !news {
		return
	}
	for _, line := range lines {
		p.log.Info("planned", "collector", p.key().String(), "change", line)
	}
	if len(lines) > 0 {
		p.tell(first, crds.ReasonPlanned, strings.Join(lines, "; "))
	}
}

// countPlanned makes the share of a collector in the metric these counts.
func (e *engine) countPlanned(m *memory, counts map[Action]int) {
	for a, n := range m.planned {
		e.metrics.planned.WithLabelValues(string(a)).Sub(float64(n))
	}
	for a, n := range counts {
		e.metrics.planned.WithLabelValues(string(a)).Add(float64(n))
	}
	m.planned = counts
}

// summary says in one line what happens to an object, without values: they may be secret.
func (c *Change) summary() string {
	out := fmt.Sprintf("%s %s", c.Action, c.ID)
	switch {
	case c.Problem != nil:
		return out + ": " + c.Problem.Message
	case c.Action == ActionReplace:
		return out + " for " + strings.Join(c.Immutable, ", ")
	case c.Action == ActionUpdate:
		return out + ": " + few(pathsOf(c.Fields))
	}
	return out
}
