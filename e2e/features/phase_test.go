package features_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/samples"
	"github.com/otelier/otelier/e2e/steps"
)

// expected is the state that a phase leads to.
type expected struct {
	// members are the collectors' pods that share the targets.
	members []string
	// moved is how many targets that were there before may have another owner afterwards; anyNumber for any.
	moved int
	// uneven allows more than its share for a member.
	uneven bool
	// gap is the longest time for which a target that is there before and after may be unscraped; 0 is what is unavoidable when it moves,
	// and nothing when it stays.
	gap time.Duration
	// patience is how long it may take; 0 is steps.RealPatience.
	patience time.Duration
}

const anyNumber = -1

// row is a phase in figures.
type row struct {
	phase   string
	targets int // that there are in the end
	once    int // of them scraped by exactly one collector in the steady state at the end
	several int // scraped by more
	// Of the targets that were there before and are in the end, over the whole phase:
	gap     time.Duration // the longest time without a sample
	longest string        // the target with that
	stayed  time.Duration // the same of those whose owner is the same as before
	lost    int           // samples that there would have been at every interval, of all targets together
	dropped int           // of those, that were scraped but have not reached the sink
	overlap time.Duration // the longest time for which a target was scraped by two
	moved   int           // targets with another owner than before
	// Of the targets that are new:
	first time.Duration // the longest time to the first sample from the begin, or from the pod's readiness, which Kubernetes tells to the second

	load []int         // per member
	took time.Duration // until who scrapes what was as it should be
}

// phase is something that goes on in a scene, from begin on.
type phase struct {
	name  string
	begin time.Time // by the sink's clock
}

// phase does something, waits until who scrapes what is as it should be, and notes what it was like meanwhile.
func (s *scraping) phase(t *testing.T, name string, do func(t *testing.T), want expected) {
	t.Helper()
	p := s.begin(t, name)
	do(t)
	s.end(t, p, want)
}

// begin begins a phase.
func (s *scraping) begin(t *testing.T, name string) phase {
	t.Helper()
	return phase{name, s.mustLook(t, time.Now()).Now}
}

// end waits until who scrapes what is as it should be, and that this stays so, and judges the phase.
func (s *scraping) end(t *testing.T, p phase, want expected) row {
	t.Helper()
	if want.patience == 0 {
		want.patience = steps.RealPatience
	}
	stayed := want.gap
	if want.gap == 0 {
		want.gap, stayed = unavoidable+slack, scrapeInterval+slack
	}
	within(t, want.patience, p.name+": exporters", func() error { return s.rolledOut(t) })
	var owners map[string]string
	within(t, want.patience, p.name+": every target scraped by its owner alone", func() (err error) {
		owners, err = s.settled(t.Context(), want)
		return err
	})
	settled := s.mustLook(t, time.Now()).Now
	view := s.steady(t, p, settled, owners)
	r := s.measure(t, p, view, settled, owners)
	for _, member := range want.members {
		n := 0
		for _, owner := range owners {
			if owner == member {
				n++
			}
		}
		r.load = append(r.load, n)
	}
	if r.several > 0 || r.once != r.targets {
		t.Errorf("%s: of %d targets, %d are scraped by one collector and %d by several", p.name, r.targets, r.once, r.several)
	}
	if want.moved >= 0 && r.moved > want.moved {
		t.Errorf("%s: %d targets have moved, want %d at most", p.name, r.moved, want.moved)
	}
	if r.gap > want.gap {
		t.Errorf("%s: %s was not scraped for %s, want %s at most; from %s to %s", p.name, r.longest, r.gap, want.gap, s.owners[r.longest], owners[r.longest])
	}
	if r.stayed > stayed {
		t.Errorf("%s: a target that has not moved was not scraped for %s, want %s at most", p.name, r.stayed, stayed)
	}
	s.owners = owners
	s.rows = append(s.rows, r)
	t.Log(r)
	return r
}

// steady waits until every target was scraped three times more since a moment.
func (s *scraping) steady(t *testing.T, p phase, since time.Time, owners map[string]string) *samples.View {
	t.Helper()
	var view *samples.View
	within(t, steps.RealPatience, p.name+": every target scraped three times more", func() (err error) {
		if view, err = s.look(t.Context(), p.begin.Add(-time.Minute)); err != nil {
			return err
		}
		for target := range owners {
			if n := len(view.Targets[target].Between(since, view.Now)); n < 3 {
				return fmt.Errorf("%s was scraped %d times", target, n)
			}
		}
		return nil
	})
	return view
}

// measure is what the samples tell of a phase.
func (s *scraping) measure(t *testing.T, p phase, view *samples.View, settled time.Time, owners map[string]string) row {
	t.Helper()
	joined, err := s.joined(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	end := view.Now.Add(-delay)
	r := row{phase: p.name, targets: len(owners), took: settled.Sub(p.begin)}
	for target, owner := range owners {
		all := view.Targets[target]
		switch by := all.Between(settled, view.Now).Collectors(); {
		case len(by) > 1:
			r.several++
		case len(by) == 1 && by[0] == owner:
			r.once++
		}
		r.overlap = max(r.overlap, all.Between(p.begin, end).Overlap(scrapeInterval))
		before, existed := s.owners[target]
		if !existed {
			r.first = max(r.first, all.Between(p.begin, view.Now)[0].At.Sub(samples.Later(p.begin, joined[target])))
			continue
		}
		gap := all.Gap(p.begin, end)
		if gap > r.gap {
			r.gap, r.longest = gap, target
		}
		if before != owner {
			r.moved++
		} else {
			r.stayed = max(r.stayed, gap)
		}
		r.lost += all.Missing(scrapeInterval, p.begin, end)
		r.dropped += all.Between(p.begin, end).Dropped()
	}
	return r
}

// String is a row of a table in Markdown.
func (r row) String() string {
	return fmt.Sprintf("| %-32s | %3d | %3d | %d | %5.1f s | %5.1f s | %4d | %3d | %4.1f s | %3d | %5.1f s | %v | %5.1f s |", r.phase, r.targets, r.once, r.several,
		r.gap.Seconds(), r.stayed.Seconds(), r.lost, r.dropped, r.overlap.Seconds(), r.moved, r.first.Seconds(), r.load, r.took.Seconds())
}

// table is all rows so far.
func (s *scraping) table() string {
	var out strings.Builder
	fmt.Fprintf(&out, "\nscraped every %s, http_sd refreshed every %s; a gap of %s is unavoidable when a target moves\n\n", scrapeInterval, sdRefresh, unavoidable)
	out.WriteString("| phase | targets | by exactly one | by several | longest gap | of unmoved | samples lost | of them scraped | overlap | moved | first sample of new | per collector | settled after |\n")
	out.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|\n")
	for _, r := range s.rows {
		out.WriteString(r.String() + "\n")
	}
	return out.String()
}
