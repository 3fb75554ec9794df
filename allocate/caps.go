package allocate

import "math"

// round is the part of the targets that is spread at a time: those of one weight, pinned to nodes or not. Heavy ones come first,
// for light ones can level out what they leave uneven.
type round struct {
	pinned bool
	class  uint8
}

func rounds(units []unit) []round {
	var pinned, free uint32
	for i := range units {
		pinned |= units[i].pinned
		free |= units[i].free
	}
	var out []round
	for _, r := range []struct {
		mask   uint32
		pinned bool
	}{{pinned, true}, {free, false}} {
		for c := maxClass; c >= 0; c-- {
			if r.mask>>c&1 == 1 {
				out = append(out, round{r.pinned, uint8(c)})
			}
		}
	}
	return out
}

// of says which targets of u the round is about: none of them, some, or all.
func (r round) of(u *unit) (some, all bool) {
	mine, other := u.free, u.pinned
	if r.pinned {
		mine, other = other, mine
	}
	bit := uint32(1) << r.class
	return mine&bit != 0, mine == bit && other == 0
}

// has says whether the round is about target i.
func (r round) has(t *table, u *unit, i int) bool {
	return u.class(i) == r.class && t.groups[u.group(i)].node == r.pinned
}

// unlimited is the room of a member without a cap.
const unlimited = math.MaxInt32

// Job caps: of its targets in a group, a job gives a member at most ⌈1.3·share⌉+3. They keep targets that weigh alike from meeting on one
// member by chance. Tighter ones would cost moves: with +1 in place of +3 a new collector, in jobs of 100 targets on 10 collectors, moves
// 1.12 times what is needed, and with this 1.07 times.
// Shares come first: a target for which only members with enough of its job have room goes there all the same.
const (
	jobSpreadNum, jobSpreadDen = 13, 10
	jobSlack                   = 3
)

// jobCap is the cap of a member for a job with n targets in a group with that total capacity.
func jobCap(n int, capacity, total uint64) int {
	return int(mulDivUp(uint64(n)*jobSpreadNum, capacity, total*jobSpreadDen)) + jobSlack
}

// rooms is how many targets each member takes in a round in which n[g] targets of group g are to be placed: what is missing to its share
// of all that has been placed by then.
func (a *Assignment) rooms(r round, n []int) []int {
	t := a.table
	out := make([]int, len(t.members))
	weight := uint64(1) << r.class
	for c := range out {
		out[c] = unlimited
	}
	switch {
	case t.rules.Strategy == ConsistentHashing:
	case r.pinned:
		for g := range t.groups {
			if gr := &t.groups[g]; gr.node && len(gr.members) > 1 {
				a.share(out, gr, n[g], weight)
			}
		}
	default:
		all := 0
		for _, k := range n {
			all += k
		}
		a.share(out, &t.groups[0], all, weight)
	}
	if limit := t.rules.MaxTargets; limit > 0 {
		for c := range out {
			out[c] = max(0, min(out[c], limit-a.load[c]))
		}
	}
	return out
}

func (a *Assignment) share(out []int, g *group, n int, weight uint64) {
	sum := uint64(n) * weight
	for _, c := range g.members {
		sum += a.weights[c]
	}
	tolerance := uint64(a.table.rules.Tolerance * million)
	for _, c := range g.members {
		limit := mulDivUp(sum, a.table.weights[c], g.total)
		limit += mulDivUp(limit, tolerance, million)
		if limit <= a.weights[c] {
			out[c] = 0
			continue
		}
		out[c] = int(min((limit-a.weights[c]+weight-1)/weight, unlimited))
	}
}
