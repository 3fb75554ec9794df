package discover

import (
	"cmp"
	"slices"
	"time"

	"github.com/prometheus/prometheus/discovery/dns"
	"github.com/prometheus/prometheus/discovery/file"

	"github.com/otelier/otelier/allocate"
)

// state is one configuration of a job, and what it makes of the groups that were discovered for it. The goroutine of Targets.Run has it.
type state struct {
	job    *Job
	filter bool
	subs   []*subscription
	// results by the number of the group, for each subscription.
	results []map[uint32]result
	// targets is how many there are in results.
	targets int

	// deadline is when its targets are published though not all is known.
	deadline time.Time
	// reported is true when every discovery has told all it had. Until then the job is published as one of which the targets are not
	// known: some of them would be taken for all.
	reported bool
	// late is true when it had not reported when it was no longer waited for; settled when it has reported or is late.
	late, settled bool
	// partial is true when there are targets, and what lacks are files or names of DNS that fail: see known.
	partial bool

	// touched has the identities that may have changed since the last edit; all is set when there are too many to be listed.
	touched map[uint64]struct{}
	all     bool

	set  blockSet
	made *allocate.Job
	// invalid targets and the last error among them, and what the discoveries say.
	invalid  int
	err      error
	failures []error
}

func newState(ps *Providers, job *Job, filter bool, notify func(*state), deadline time.Time) *state {
	s := &state{job: job, filter: filter, deadline: deadline, all: true, touched: map[uint64]struct{}{}}
	for _, cfg := range job.Config.ServiceDiscoveryConfigs {
		sub := ps.subscribe(cfg, job.Config.JobName, func() { notify(s) })
		// Prometheus runs a discovery once that a job names twice.
		if slices.ContainsFunc(s.subs, func(o *subscription) bool { return o.provider == sub.provider }) {
			ps.release(sub)
			continue
		}
		s.subs = append(s.subs, sub)
		s.results = append(s.results, map[uint32]result{})
	}
	s.failures = make([]error, len(s.subs))
	s.reported = len(s.subs) == 0
	return s
}

func (s *state) close(ps *Providers) {
	for _, sub := range s.subs {
		ps.release(sub)
	}
}

// work is one group that has to be looked at.
type work struct {
	sub   int
	group uint32
	fresh result
	err   error
}

// update relabels what has changed. It is true when what is served may have.
func (s *state) update() bool {
	before := s.reported
	var todo []work
	s.reported = true
	for i, sub := range s.subs {
		dirty, ready, err := sub.drain()
		s.reported = s.reported && ready
		s.failures[i] = err
		for _, n := range dirty {
			g := sub.provider.store.get(n)
			if g != nil && !sub.wants(g.source()) {
				// The group is gone that had this number when it was noted, and another job's has it now.
				g = nil
			}
			todo = append(todo, work{sub: i, group: n, fresh: result{group: g}})
		}
	}
	s.reported = s.reported || before
	s.relabel(todo)
	changed := s.reported != before
	for _, w := range todo {
		changed = s.replace(w) || changed
	}
	if !s.reported && !s.partial && s.isPartial() {
		s.partial, changed = true, true
	}
	return changed
}

// known is true when the targets that there are may be published. They are all targets, or all but those of files and names that fail,
// which would have failed Prometheus, too, when it starts: one broken file is no reason to do without the other ones.
func (s *state) known() bool { return s.reported || s.late && s.partial }

func (s *state) isPartial() bool {
	for i, sub := range s.subs {
		_, fails := sub.provider.config.(*file.SDConfig)
		if !fails {
			_, fails = sub.provider.config.(*dns.SDConfig)
		}
		if !sub.told() && (!fails || s.failures[i] == nil) {
			return false
		}
	}
	return s.targets > 0
}

func (s *state) relabel(todo []work) {
	parallel(len(todo), 32, s.relabeler, func(r *relabeler, i int) {
		if g := todo[i].fresh.group; g != nil {
			todo[i].fresh, todo[i].err = r.apply(g)
		}
	})
}

func (s *state) relabeler() *relabeler { return newRelabeler(s.job, s.filter) }

// replace puts a group's new result in the place of the old one.
func (s *state) replace(w work) bool {
	results := s.results[w.sub]
	old := results[w.group]
	s.invalid += w.fresh.invalid - old.invalid
	s.targets += len(w.fresh.targets) - len(old.targets)
	if w.err != nil {
		s.err = w.err
	}
	if len(w.fresh.targets) == 0 && w.fresh.invalid == 0 {
		delete(results, w.group)
	} else {
		results[w.group] = w.fresh
	}
	return s.touch(old.targets, w.fresh.targets)
}

// touch notes the identities in which two lists differ.
func (s *state) touch(old, fresh []target) bool {
	if s.all {
		return len(old)+len(fresh) > 0
	}
	same := map[uint64]uint64{}
	before := len(s.touched)
	for _, t := range old {
		if _, twice := same[t.id]; twice {
			s.touched[t.id] = struct{}{}
		}
		same[t.id] = t.sum
	}
	for _, t := range fresh {
		if sum, ok := same[t.id]; ok && sum == t.sum {
			delete(same, t.id)
			continue
		}
		s.touched[t.id] = struct{}{}
	}
	for id := range same {
		s.touched[id] = struct{}{}
	}
	return len(s.touched) > before || len(same) > 0
}

// ref is one of the targets that have an identity.
type ref struct {
	id     uint64
	sub    int
	result result
	n      int
}

// before orders the targets of one identity, so that the one that stands for all is the same in every process: by the place of its
// discovery in the configuration, by the source of its group, and by its place in that.
func (r ref) before(o ref) bool {
	return cmp.Or(cmp.Compare(r.sub, o.sub), cmp.Compare(r.result.group.source(), o.result.group.source()), cmp.Compare(r.n, o.n)) < 0
}

// winners finds the target that stands for each identity that wanted says.
func (s *state) winners(wanted func(uint64) bool, n int) map[uint64]ref {
	found := make(map[uint64]ref, n)
	for i, results := range s.results {
		for _, res := range results {
			for j, t := range res.targets {
				if !wanted(t.id) {
					continue
				}
				r := ref{id: t.id, sub: i, result: res, n: j}
				if o, ok := found[t.id]; !ok || r.before(o) {
					found[t.id] = r
				}
			}
		}
	}
	return found
}

// build brings the blocks up to date and returns the job; the same pointer when nothing has changed.
func (s *state) build() *allocate.Job {
	if !s.known() {
		if s.made == nil {
			s.made = &allocate.Job{Name: s.job.Config.JobName, Config: s.job.Served, Source: s.job.Source, Unknown: true}
		}
		return s.made
	}
	bits := bitsFor(s.targets, s.set.bits)
	if bits != s.set.bits {
		s.set = blockSet{bits: bits}
		s.all = true
	}
	switch {
	case s.all:
		s.rebuild(bits)
	case len(s.touched) > 0:
		found := s.winners(func(id uint64) bool { _, ok := s.touched[id]; return ok }, len(s.touched))
		s.set.edit(bits, changesOf(found, s.touched), s.relabeler)
	}
	s.all = false
	clear(s.touched)
	blocks := s.set.list()
	if s.made == nil || s.made.Unknown || !slices.Equal(s.made.Blocks, blocks) {
		s.made = &allocate.Job{Name: s.job.Config.JobName, Config: s.job.Served, Blocks: blocks, Source: s.job.Source}
	}
	return s.made
}

// rebuild looks at everything, and at what is in the blocks already.
func (s *state) rebuild(bits uint) {
	there := map[uint64]struct{}{}
	for _, b := range s.set.blocks {
		if b == nil {
			continue
		}
		for _, id := range b.IDs() {
			there[id] = struct{}{}
		}
	}
	found := s.winners(func(uint64) bool { return true }, s.targets)
	s.set.edit(bits, changesOf(found, there), s.relabeler)
}

// changesOf is found, and an end for each of old that is not found.
func changesOf(found map[uint64]ref, old map[uint64]struct{}) []change {
	changes := make([]change, 0, len(found))
	for id, r := range found {
		changes = append(changes, change{id: id, group: r.result.group, at: r.result.targets[r.n]})
	}
	for id := range old {
		if _, ok := found[id]; !ok {
			changes = append(changes, change{id: id})
		}
	}
	return changes
}

// inherit takes the blocks of the job's configuration before this one, so that those stay that come out the same.
func (s *state) inherit(old *state) {
	s.set = blockSet{bits: old.set.bits, blocks: slices.Clone(old.set.blocks)}
}
