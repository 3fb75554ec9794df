package allocate

import (
	"cmp"
	"slices"
)

// tallyOfJob counts the targets that one job has in a round: per group, and per member in the group of all and in the member's other one.
type tallyOfJob struct {
	*spread
	members []int32 // group of all, then the members again for the other groups
	touched []int32 // of members
	most    int32   // of members
	groups  []int
}

func (s *spread) newTally() *tallyOfJob {
	return &tallyOfJob{spread: s, members: make([]int32, 2*len(s.room)), groups: make([]int, len(s.table.groups))}
}

// slot is where the targets of a group at a member are counted.
func (t *tallyOfJob) slot(g, member int32) int32 {
	if g == 0 {
		return member
	}
	return member + int32(len(t.room))
}

// count the targets of a job; those whose owner is not decided only per group.
func (t *tallyOfJob) count(job int) {
	for _, slot := range t.touched {
		t.members[slot] = 0
	}
	t.touched, t.most = t.touched[:0], 0
	clear(t.groups)
	for x := t.first[job]; x < t.first[job+1]; x++ {
		u := &t.units[x]
		some, all := t.round.of(u)
		if !some {
			continue
		}
		for i, o := range u.owners {
			if !all && !t.round.has(t.table, u, i) {
				continue
			}
			g := u.group(i)
			t.groups[g]++
			if o >= 0 {
				t.add(t.slot(g, o))
			}
		}
	}
}

func (t *tallyOfJob) add(slot int32) {
	n := t.members[slot] + 1
	t.members[slot] = n
	t.most = max(t.most, n)
	if n == 1 {
		t.touched = append(t.touched, slot)
	}
}

// limit is the job's cap in a group, at a member.
func (t *tallyOfJob) limit(g, member int32) int32 {
	return int32(jobCap(t.groups[g], t.table.weights[member], t.table.groups[g].total))
}

// crowded says whether any member may have more than its cap.
func (t *tallyOfJob) crowded() bool {
	least := int32(unlimited)
	for g, n := range t.groups {
		if n > 0 {
			least = min(least, int32(jobCap(n, 1, t.table.groups[g].total)))
		}
	}
	return t.most > least
}

// capJobs takes every target home, and finds what is too much of one job at one member.
func (s *spread) capJobs() []reject {
	for x := range s.units {
		u := &s.units[x]
		some, all := s.round.of(u)
		switch {
		case !some:
		case all:
			copy(u.owners, u.homes)
		default:
			for i := range u.homes {
				if s.round.has(s.table, u, i) {
					u.owners[i] = u.homes[i]
				}
			}
		}
	}
	if !s.caps {
		return nil
	}
	parts := s.parts(len(s.jobs))
	outs := make([][]reject, len(parts))
	parallel(s.total, parts, func(p part) {
		t := s.newTally()
		for j := p.from; j < p.to; j++ {
			if t.count(j); t.crowded() {
				outs[p.n] = t.capJob(int32(j), outs[p.n])
			}
		}
	})
	return slices.Concat(outs...)
}

// capJob rejects the highest keys of a job where it has too many.
func (t *tallyOfJob) capJob(job int32, out []reject) []reject {
	start := len(out)
	for x := t.first[job]; x < t.first[job+1]; x++ {
		u := &t.units[x]
		some, all := t.round.of(u)
		if !some {
			continue
		}
		keys, ids := u.block.Keys(), u.block.IDs()
		for i, o := range u.owners {
			if !all && !t.round.has(t.table, u, i) {
				continue
			}
			if g := u.group(i); t.members[t.slot(g, o)] > t.limit(g, o) {
				out = append(out, reject{keys[i], ids[i], job, x, int32(i), o})
			}
		}
	}
	found := out[start:]
	slices.SortFunc(found, func(a, b reject) int { return cmp.Or(cmp.Compare(a.member, b.member), -a.compare(&b)) })
	rejects := found[:0]
	for i := range found {
		r := &found[i]
		u := &t.units[r.unit]
		g := u.group(int(r.target))
		if slot := t.slot(g, r.member); t.members[slot] > t.limit(g, r.member) {
			t.members[slot]--
			u.owners[r.target] = rejected
			rejects = append(rejects, *r)
		}
	}
	return out[:start+len(rejects)]
}

// place finds members for rejects, in the order of jobs and keys: in the target's own group and where its job has room, in its own
// group, anywhere, and last beyond a member's share. Only a hard limit leaves a target on nobody.
func (s *spread) place(rejects []reject) {
	if len(rejects) == 0 {
		return
	}
	slices.SortFunc(rejects, func(a, b reject) int { return cmp.Or(cmp.Compare(a.job, b.job), a.compare(&b)) })
	for i := range rejects {
		s.units[rejects[i].unit].owners[rejects[i].target] = rejected
	}
	rejects = s.placeOwn(rejects)
	if len(rejects) == 0 {
		return
	}
	rejects = s.placeAnywhere(rejects)
	if len(rejects) == 0 {
		return
	}
	s.room = s.hardRoom()
	for _, r := range s.placeAnywhere(rejects) {
		s.units[r.unit].owners[r.target] = Nobody
	}
}

func (s *spread) placeOwn(rejects []reject) (left []reject) {
	open := s.open(s.table.groups[0].members)
	var t *tallyOfJob
	if s.caps {
		t = s.newTally()
	}
	left = rejects[:0]
	for i := range rejects {
		r := rejects[i]
		if t != nil && (i == 0 || rejects[i-1].job != r.job) {
			t.count(int(r.job))
		}
		g := s.units[r.unit].group(int(r.target))
		among := open
		if g != 0 {
			among = s.table.groups[g].members
		}
		member := s.choose(&r, g, among, t)
		if member < 0 {
			left = append(left, r)
			continue
		}
		if s.give(&r, member) {
			open = s.open(open)
		}
		if t != nil {
			t.add(t.slot(g, member))
		}
	}
	return left
}

// choose the member that a target is drawn to most, among those with room. With a tally, one that has room for the job comes first.
func (s *spread) choose(r *reject, g int32, among []int32, t *tallyOfJob) int32 {
	best, spare := int32(Nobody), int32(Nobody)
	var high, spareHigh uint64
	for _, m := range among {
		if s.room[m] == 0 {
			continue
		}
		x := s.table.draw(r.key, m)
		if best >= 0 && x <= high {
			continue
		}
		if t != nil && t.members[t.slot(g, m)] >= t.limit(g, m) {
			if spare < 0 || x > spareHigh {
				spare, spareHigh = m, x
			}
			continue
		}
		best, high = m, x
	}
	if best < 0 {
		return spare
	}
	return best
}

func (s *spread) placeAnywhere(rejects []reject) (left []reject) {
	open := s.open(s.table.groups[0].members)
	left = rejects[:0]
	for i := range rejects {
		r := rejects[i]
		member := s.choose(&r, 0, open, nil)
		if member < 0 {
			left = append(left, r)
			continue
		}
		if s.give(&r, member) {
			open = s.open(open)
		}
	}
	return left
}

// give says whether that was the last place there.
func (s *spread) give(r *reject, member int32) (full bool) {
	s.units[r.unit].owners[r.target] = member
	if s.room[member] == unlimited {
		return false
	}
	s.room[member]--
	return s.room[member] == 0
}

// open are those of members that have room, in a slice of their own.
func (s *spread) open(members []int32) []int32 {
	out := make([]int32, 0, len(members))
	for _, m := range members {
		if s.room[m] > 0 {
			out = append(out, m)
		}
	}
	return out
}

// hardRoom is what the limit leaves of each member.
func (s *spread) hardRoom() []int {
	out := make([]int, len(s.room))
	limit := s.table.rules.MaxTargets
	if limit == 0 {
		for c := range out {
			out[c] = unlimited
		}
		return out
	}
	for c := range out {
		out[c] = limit - s.load[c]
	}
	for x := range s.units {
		u := &s.units[x]
		for i, o := range u.owners {
			if o >= 0 && s.round.has(s.table, u, i) {
				out[o]--
			}
		}
	}
	return out
}
