package allocate

import (
	"cmp"
	"runtime"
	"slices"
)

// spread is the work of one round.
type spread struct {
	*Assignment
	round round
	room  []int // per member; what is left of it while rejects are placed
	total int   // targets of the round
	bits  int   // of a key that the histogram tells apart
	caps  bool  // whether jobs are capped
}

// reject is a target for which there is no room at home.
type reject struct {
	key, id uint64
	job     int32
	unit    int32
	target  int32
	member  int32 // its home
}

func (r *reject) compare(o *reject) int {
	return cmp.Or(cmp.Compare(r.key, o.key), cmp.Compare(r.id, o.id), cmp.Compare(r.job, o.job))
}

// rejected marks a target without a place, until it has one.
const rejected = -2

// run places all targets of the round: each at home, as far as there is room, the lowest keys first; then the others, each
// where it is drawn to most of where there is room.
func (s *spread) run() {
	n := make([]int, len(s.table.groups))
	for i := range s.units {
		s.total += s.census(&s.units[i], n)
	}
	s.room = s.rooms(s.round, n)
	s.caps = !s.round.pinned && s.table.rules.Strategy != ConsistentHashing
	s.bits = histogramBits(s.total, len(s.room))
	rejects := s.capJobs()
	rejects = append(rejects, s.capMembers()...)
	s.place(rejects)
	for i := range s.units {
		s.tally(&s.units[i])
	}
}

// census counts the targets of the round per group.
func (s *spread) census(u *unit, n []int) int {
	some, all := s.round.of(u)
	switch {
	case !some:
		return 0
	case all && u.groups == nil:
		n[0] += len(u.homes)
		return len(u.homes)
	}
	total := 0
	for i := range u.homes {
		if all || s.round.has(s.table, u, i) {
			n[u.group(i)]++
			total++
		}
	}
	return total
}

// tally adds the round's targets to the load.
func (s *spread) tally(u *unit) {
	some, all := s.round.of(u)
	if !some {
		return
	}
	weight := uint64(1) << s.round.class
	for i, o := range u.owners {
		if !all && !s.round.has(s.table, u, i) {
			continue
		}
		if o < 0 {
			s.Unassigned++
			continue
		}
		s.load[o]++
		s.weights[o] += weight
	}
}

// capMembers finds what is too much for members: of those at home the highest keys.
func (s *spread) capMembers() []reject {
	kept, over := s.keeps(s.histogram())
	if !over {
		return nil
	}
	parts := s.parts(len(s.units))
	outs, edges := make([][]reject, len(parts)), make([][]reject, len(parts))
	parallel(s.total, parts, func(p part) { outs[p.n], edges[p.n] = s.sift(p, kept) })
	out, edge := slices.Concat(outs...), slices.Concat(edges...)
	slices.SortFunc(edge, func(a, b reject) int { return cmp.Or(cmp.Compare(a.member, b.member), a.compare(&b)) })
	for i := range edge {
		if k := &kept[edge[i].member]; k.edge > 0 {
			k.edge--
			continue
		}
		out = append(out, edge[i])
	}
	return out
}

// sift finds the targets that are too much for their homes, and those of which some are.
func (s *spread) sift(p part, kept []keep) (out, edge []reject) {
	shift := 64 - s.bits
	for x := p.from; x < p.to; x++ {
		u := &s.units[x]
		some, all := s.round.of(u)
		if !some {
			continue
		}
		keys, ids := u.block.Keys(), u.block.IDs()
		for i, o := range u.owners {
			if o < 0 || !all && !s.round.has(s.table, u, i) {
				continue
			}
			bucket := int32(keys[i] >> shift)
			if b := kept[o].bucket; bucket < b {
				continue
			} else if bucket == b {
				edge = append(edge, reject{keys[i], ids[i], u.job, int32(x), int32(i), o})
				continue
			}
			out = append(out, reject{keys[i], ids[i], u.job, int32(x), int32(i), o})
		}
	}
	return out, edge
}

// keep says which targets stay with a member: all in lower buckets, and so many of those in this one.
type keep struct {
	bucket int32
	edge   int
}

// histogramBits makes buckets of some twenty targets.
func histogramBits(targets, members int) int {
	bits := 1
	for members > 0 && bits < 10 && targets/members>>(bits+5) > 0 {
		bits++
	}
	return bits
}

// histogram counts keys per member and bucket.
func (s *spread) histogram() []int32 {
	parts := s.parts(len(s.units))
	hists := make([][]int32, len(parts))
	shift := 64 - s.bits
	parallel(s.total, parts, func(p part) {
		hist := make([]int32, len(s.room)<<s.bits)
		for x := p.from; x < p.to; x++ {
			u := &s.units[x]
			some, all := s.round.of(u)
			if !some {
				continue
			}
			keys := u.block.Keys()
			for i, o := range u.owners {
				if o >= 0 && (all || s.round.has(s.table, u, i)) {
					hist[int(o)<<s.bits|int(keys[i]>>shift)]++
				}
			}
		}
		hists[p.n] = hist
	})
	for _, h := range hists[1:] {
		for i, n := range h {
			hists[0][i] += n
		}
	}
	return hists[0]
}

// keeps finds up to which key there is room at each member, and takes that from the room.
func (s *spread) keeps(hist []int32) (kept []keep, over bool) {
	kept = make([]keep, len(s.room))
	for c := range kept {
		kept[c].bucket = 1 << s.bits
		left := s.room[c]
		for b, n := range hist[c<<s.bits : (c+1)<<s.bits] {
			if int(n) > left {
				kept[c] = keep{int32(b), left}
				over = true
				left = 0
				break
			}
			left -= int(n)
		}
		if s.room[c] != unlimited {
			s.room[c] = left
		}
	}
	return kept, over
}

// part is what one worker does of a list: from one index to before another.
type part struct{ n, from, to int }

// parts cuts a list for all cores. There is one at least.
func (s *spread) parts(n int) []part {
	k := 1
	if s.total >= grain {
		k = max(1, min(4*runtime.GOMAXPROCS(0), n))
	}
	out := make([]part, k)
	for i := range out {
		out[i] = part{i, i * n / k, (i + 1) * n / k}
	}
	return out
}
