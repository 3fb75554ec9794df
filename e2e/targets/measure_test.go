package targets_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/steps"
)

// What bounds how long a target may be unscraped when its owner changes: the new one first asks at its next refresh of http_sd,
// Prometheus' discovery manager then holds an update back for up to 5 s and its scrape manager looks for updates every 5 s
// (discovery.Manager.updatert, scrape.Options.DiscoveryReloadInterval), and the first scrape is at a random offset into the interval.
const (
	scrapeInterval = time.Second
	sdRefresh      = time.Second
	refresh        = sdRefresh + 5*time.Second + 5*time.Second
	// window is how far one looks back for who scrapes a target: two intervals and some delay.
	window = 2*scrapeInterval + scrapeInterval/2
	// slack is for the allocator's coalescing, which takes 2 s at most, and for a machine that is busy with other tests.
	slack = 4 * time.Second
)

// scraping is a scene in which collectors scrape a farm.
type scraping struct {
	*steps.Scene
	kubelet   *kubelet
	allocator *allocator
	farm      farm
	flags     []string           // of the operator
	paths     map[*target]string // that are scraped now, of the targets that are
	owners    map[string]string  // of each target at the end of the last phase
	rows      []row
}

// row is a phase in figures.
type row struct {
	phase      string
	targets    int
	once       int // targets scraped by exactly one collector, in the steady state at the end
	duplicates int // targets scraped by several, in the same state
	gap        time.Duration
	excess     time.Duration // the longest gap without what its event forces
	forced     time.Duration
	overlap    time.Duration
	moved      int
	load       []int
	took       time.Duration
}

// expected is the state that a phase leads to.
type expected struct {
	members []string
	// targets that are scraped, at the path for each; all others are not.
	targets map[*target]string
	// moved is how many targets may change their owner; anyNumber for any.
	moved int
}

const anyNumber = -1

// phase does something, waits until who scrapes what is as it should be, and notes what it was like meanwhile.
func (s *scraping) phase(t *testing.T, name string, do func(t *testing.T), want expected) {
	t.Helper()
	begin := time.Now()
	do(t)
	steps.Eventually(t, name+": every target scraped by its owner alone", func() error { return s.settled(t.Context(), want) })
	end := time.Now()
	s.steady(t, name, want)
	r := row{phase: name, targets: len(want.targets), took: end.Sub(begin)}
	down, owners, load := s.kubelet.down(begin), map[string]string{}, map[string]int{}
	for target := range want.targets {
		by := target.scrapers(end)
		if len(by) == 1 {
			r.once++
			owners[target.name] = by[0]
			load[by[0]]++
		} else {
			r.duplicates++
		}
		before, existed := s.owners[target.name]
		if !existed {
			continue
		}
		gap, forced := target.gap(begin, end), max(down[before], down[owners[target.name]])
		r.gap, r.forced, r.excess = max(r.gap, gap), max(r.forced, forced), max(r.excess, gap-forced)
		r.overlap = max(r.overlap, target.overlap(begin))
		if before != owners[target.name] {
			r.moved++
		}
		if gap > forced+refresh+scrapeInterval+slack {
			t.Errorf("%s: %s was not scraped for %s, of which the event forces %s and a refresh %s; from %s to %s",
				name, target.name, gap, forced, refresh, before, owners[target.name])
		}
	}
	for _, member := range want.members {
		r.load = append(r.load, load[member])
	}
	if r.duplicates > 0 {
		t.Errorf("%s: %d of %d targets are scraped by several collectors", name, r.duplicates, r.targets)
	}
	if want.moved >= 0 && r.moved > want.moved {
		t.Errorf("%s: %d targets have moved, want %d at most", name, r.moved, want.moved)
	}
	s.owners = owners
	s.rows = append(s.rows, r)
	t.Log(r)
}

// settled says what is not yet as it should be.
func (s *scraping) settled(ctx context.Context, want expected) error {
	allocated, err := s.allocator.owners(ctx, want.members)
	if err != nil {
		return err
	}
	begin := time.Now().Add(-window)
	var wrong []string
	for _, target := range s.farm {
		if err := check(target, allocated[target.port], begin, want.targets); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d of %d targets: %s", len(wrong), len(s.farm), strings.Join(wrong[:min(3, len(wrong))], "; "))
	}
	return wantShares(allocated, want.members)
}

// wantShares says which member has more than its share of the targets.
func wantShares(owners map[int][]string, members []string) error {
	load, share := map[string]int{}, (len(owners)+len(members)-1)/len(members)
	for _, by := range owners {
		load[by[0]]++
	}
	for member, n := range load {
		if n > share {
			return fmt.Errorf("%s has %d targets, want %d at most: %v", member, n, share, load)
		}
	}
	return nil
}

// check says what is wrong with a target's scrapes since a moment.
func check(target *target, owners []string, begin time.Time, want map[*target]string) error {
	path, wanted := want[target]
	seen := target.since(begin)
	switch {
	case !wanted && len(owners) > 0:
		return fmt.Errorf("%s is still allocated to %v", target.name, owners)
	case !wanted && len(seen) > 0:
		return fmt.Errorf("%s is still scraped by %s", target.name, seen[len(seen)-1].by)
	case !wanted:
		return nil
	case len(owners) != 1:
		return fmt.Errorf("%s is allocated to %v", target.name, owners)
	case len(seen) == 0:
		return fmt.Errorf("%s is not scraped; allocated to %s", target.name, owners[0])
	}
	for _, scrape := range seen {
		if scrape.by != owners[0] || scrape.path != path {
			return fmt.Errorf("%s is scraped by %q at %s; allocated to %s at %s", target.name, scrape.by, scrape.path, owners[0], path)
		}
	}
	return nil
}

// steady waits until every target was scraped three times more.
func (s *scraping) steady(t *testing.T, name string, want expected) {
	t.Helper()
	begin := time.Now()
	steps.Eventually(t, name+": every target scraped three times more", func() error {
		for target := range want.targets {
			if n := len(target.since(begin)); n < 3 {
				return fmt.Errorf("%s was scraped %d times", target.name, n)
			}
		}
		return nil
	})
}

// String is a row of a table in Markdown.
func (r row) String() string {
	return fmt.Sprintf("| %-28s | %3d | %3d | %d | %5.1f s | %5.1f s | %5.1f s | %4.1f s | %3d | %v | %5.1f s |", r.phase, r.targets, r.once,
		r.duplicates, r.gap.Seconds(), r.forced.Seconds(), r.excess.Seconds(), r.overlap.Seconds(), r.moved, r.load, r.took.Seconds())
}

// table is all rows so far.
func (s *scraping) table() string {
	var out strings.Builder
	out.WriteString("\n| phase | targets | by exactly one | duplicates | longest gap | forced | gap beyond | overlap | moved | per collector | settled after |\n")
	out.WriteString("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|\n")
	for _, r := range s.rows {
		out.WriteString(r.String() + "\n")
	}
	return out.String()
}
