package allocate

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Snapshot is a pool at one moment. It is immutable.
type Snapshot struct {
	// Generation counts the changes of the pool since the process began, from 1.
	Generation uint64
	// Jobs, sorted by name.
	Jobs       []*Job
	Rules      Rules
	Assignment *Assignment
	// Moved is how many targets have gone from one collector to another that was there before, since the process began.
	Moved uint64

	views  []*view // of Jobs
	polled []*atomic.Int64
	total  int
	// unknowns is how many jobs there are of which the targets are not known.
	unknowns int
	config   listing
}

// view is a job as it is served.
type view struct {
	job *Job
	// quoted is the job's name as JSON.
	quoted []byte
	// ends are the positions at which blocks end: position p is in the first block whose end is above p.
	ends []uint32
	// members that have targets, ascending, and where the lists of each end in refs.
	members, lists []int32
	// refs are positions, sorted by the identity of their targets for each member.
	refs []uint32
	// unassigned is how many targets nobody has.
	unassigned int
}

// list is what one member has of one job.
type list struct {
	view *view
	refs []uint32
}

// listing is an answer of pieces: its size and what it is known by.
type listing struct {
	size int
	etag string
}

// Targets is the number of targets of all jobs of which they are known.
func (s *Snapshot) Targets() int { return s.total }

// Unknown is the number of jobs of which the targets are not known yet.
func (s *Snapshot) Unknown() int { return s.unknowns }

// unknown tells whether there is such a job, and its targets are not known.
func (s *Snapshot) unknown(job string) bool {
	v := s.view(job)
	return v != nil && v.job.Unknown
}

// ask notes that a collector has asked for targets.
func (s *Snapshot) ask(collector string, now time.Time) {
	if m := s.member(collector); m != Nobody {
		s.polled[m].Store(now.UnixNano())
	}
}

func (s *Snapshot) view(job string) *view {
	i, ok := slices.BinarySearchFunc(s.Jobs, job, func(j *Job, name string) int { return cmp.Compare(j.Name, name) })
	if !ok {
		return nil
	}
	return s.views[i]
}

// member is the index of a member, or Nobody.
func (s *Snapshot) member(name string) int {
	i, ok := slices.BinarySearchFunc(s.Assignment.Members, name, func(m Member, name string) int { return cmp.Compare(m.Name, name) })
	if !ok {
		return Nobody
	}
	return i
}

// list of what a member has of a job; empty if there is no such job or member.
func (s *Snapshot) list(job, member string) list {
	v, m := s.view(job), s.member(member)
	if v == nil || m == Nobody {
		return list{}
	}
	return v.of(m)
}

func (v *view) of(member int) list {
	at, ok := slices.BinarySearch(v.members, int32(member)) // members are indexed by int32
	if !ok {
		return list{view: v}
	}
	from := int32(0)
	if at > 0 {
		from = v.lists[at-1]
	}
	return list{v, v.refs[from:v.lists[at]]}
}

// total is the number of targets of the job.
func (v *view) total() int {
	if len(v.ends) == 0 {
		return 0
	}
	return int(v.ends[len(v.ends)-1])
}

// locate says where the target at a position is.
func (v *view) locate(position uint32) (b *Block, i int) {
	at := 0
	if len(v.ends) > 1 {
		at = sort.Search(len(v.ends), func(k int) bool { return v.ends[k] > position })
	}
	if at > 0 {
		position -= v.ends[at-1]
	}
	return v.job.Blocks[at], int(position)
}

// etag is the same for lists of the same content, in every process.
func (l list) etag() string {
	d := xxhash.New()
	var b [8]byte
	for _, ref := range l.refs {
		block, i := l.view.locate(ref)
		binary.LittleEndian.PutUint64(b[:], block.sums[i])
		_, _ = d.Write(b[:]) // never fails
	}
	return tag(d.Sum64())
}

func tag(sum uint64) string { return fmt.Sprintf(`"%016x"`, sum) }

// size of the list as JSON.
func (l list) size() int {
	n := len("[]") + max(0, len(l.refs)-1)
	for _, ref := range l.refs {
		block, i := l.view.locate(ref)
		n += block.size(i)
	}
	return n
}

// newView makes the lists of a job.
func newView(job *Job, a *Assignment) *view {
	v := &view{job: job, quoted: appendQuoted(nil, job.Name), ends: make([]uint32, len(job.Blocks))}
	counts := make([]int32, len(a.Members))
	end := 0
	for k, b := range job.Blocks {
		end += b.Len()
		v.ends[k] = uint32(end) // fewer than 4 Gi targets
		for _, owner := range a.Owners(b) {
			if owner == Nobody {
				v.unassigned++
				continue
			}
			counts[owner]++
		}
	}
	at := int32(0)
	for m, n := range counts {
		if n > 0 {
			v.members = append(v.members, int32(m)) // members are indexed by int32
			v.lists = append(v.lists, at+n)
			counts[m] = at // from here on, where its next target goes
			at += n
		}
	}
	v.members, v.lists = exact(v.members), exact(v.lists)
	v.refs = make([]uint32, at)
	position := uint32(0)
	for _, b := range job.Blocks {
		for _, owner := range a.Owners(b) {
			if owner != Nobody {
				v.refs[counts[owner]] = position
				counts[owner]++
			}
			position++
		}
	}
	if !ascending(job.Blocks) {
		v.sort()
	}
	return v
}

// ascending tells whether positions are in the order of identities.
func ascending(blocks []*Block) bool {
	last := uint64(0)
	for _, b := range blocks {
		if b.Len() == 0 {
			continue
		}
		if b.ids[0] < last {
			return false
		}
		last = b.ids[b.Len()-1]
	}
	return true
}

// sort the lists by identity: how targets are cut into blocks must not be seen.
func (v *view) sort() {
	id := func(ref uint32) uint64 {
		b, i := v.locate(ref)
		return b.ids[i]
	}
	from := int32(0)
	for _, end := range v.lists {
		slices.SortFunc(v.refs[from:end], func(a, b uint32) int { return cmp.Compare(id(a), id(b)) })
		from = end
	}
}

// stillTrue tells whether the view of a job in an earlier assignment says what the later one says.
func stillTrue(v *view, job *Job, before, after *Assignment) bool {
	if v == nil || v.job != job {
		return false
	}
	for _, b := range job.Blocks {
		if !slices.Equal(before.Owners(b), after.Owners(b)) {
			return false
		}
	}
	return true
}

// newSnapshot makes what is served of an assignment; last is where to take from what is still true, or nil.
func newSnapshot(jobs []*Job, rules Rules, a *Assignment, last *Snapshot) *Snapshot {
	s := &Snapshot{Generation: 1, Jobs: jobs, Rules: rules, Assignment: a, Moved: uint64(a.Moved), views: make([]*view, len(jobs))} // a count
	sameNames := false
	if last != nil {
		s.Generation, s.Moved = last.Generation+1, s.Moved+last.Moved
		sameNames = slices.EqualFunc(a.Members, last.Assignment.Members, func(a, b Member) bool { return a.Name == b.Name })
	}
	for i, job := range jobs {
		if sameNames {
			if v := last.view(job.Name); stillTrue(v, job, last.Assignment, a) {
				s.views[i] = v
			}
		}
		if s.views[i] == nil {
			s.views[i] = newView(job, a)
		}
		s.total += s.views[i].total()
		if job.Unknown {
			s.unknowns++
		}
	}
	s.polled = make([]*atomic.Int64, len(a.Members))
	for i, m := range a.Members {
		if last != nil {
			if at := last.member(m.Name); at != Nobody {
				s.polled[i] = last.polled[at]
				continue
			}
		}
		s.polled[i] = &atomic.Int64{}
	}
	s.config = s.listConfigs()
	return s
}

// listConfigs says how large the scrape configurations are, and hashes them.
func (s *Snapshot) listConfigs() listing {
	d := xxhash.New()
	n := len("{}")
	for _, v := range s.views {
		if len(v.job.Config) == 0 {
			continue
		}
		if n > len("{}") {
			n++ // a comma
		}
		n += len(v.quoted) + len(":") + len(v.job.Config)
		_, _ = d.Write(v.quoted) // never fails
		_, _ = d.Write(v.job.Config)
	}
	return listing{n, tag(d.Sum64())}
}

// strategy of the rules, never empty.
func (s *Snapshot) strategy() Strategy { return cmp.Or(s.Rules.Strategy, LeastWeighted) }
