package allocate

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// unit is a block in an assignment. Its slices are immutable once the assignment is made, and shared with later ones that agree.
type unit struct {
	block *Block
	job   int32
	// pinned and free are the weight classes of the targets that a node holds, and of the others: one bit each.
	pinned, free uint32
	groups       []int32 // nil if all are in the first one
	homes        []int32
	owners       []int32
}

// maxClass is the heaviest class there is.
const maxClass = 31

func (u *unit) class(i int) uint8 { return min(u.block.Class(i), maxClass) }

func (u *unit) group(i int) int32 {
	if u.groups == nil {
		return 0
	}
	return u.groups[i]
}

// homing finds the homes of all units, with the help of those of the assignment before: only what the difference between
// the members then and now can change is looked at.
type homing struct {
	now, then *table
	same      bool    // the members are the same and place alike
	remap     []int32 // member then → member now; Nobody if it has gone
	groups    []int32 // group then → group now
	added     [][]int32
}

func newHoming(now, then *table) *homing {
	h := &homing{now: now, then: then}
	if then == nil || now.uneven != then.uneven {
		h.then = nil
		return h
	}
	h.remap = h.match()
	byKey := make(map[string]int32, len(now.groups))
	for i := range now.groups {
		byKey[now.groups[i].key] = int32(i)
	}
	h.groups = make([]int32, len(then.groups))
	h.added = make([][]int32, len(now.groups))
	h.same = len(now.groups) == len(then.groups)
	for i := range then.groups {
		g, ok := byKey[then.groups[i].key]
		if !ok {
			h.groups[i] = Nobody
			h.same = false
			continue
		}
		h.groups[i] = g
		stay := make(map[int32]bool, len(then.groups[i].members))
		for _, m := range then.groups[i].members {
			stay[h.remap[m]] = true
			if _, in := slices.BinarySearch(now.groups[g].members, h.remap[m]); h.remap[m] >= 0 && !in {
				// A member is somewhere else now: whose home it was looks at all of the group.
				h.groups[i] = Nobody
			}
		}
		for _, m := range now.groups[g].members {
			if !stay[m] {
				h.added[g] = append(h.added[g], m)
			}
		}
		h.same = h.same && h.groups[i] == int32(i) && len(h.added[g]) == 0 && slices.Equal(then.groups[i].members, now.groups[g].members)
	}
	return h
}

// match finds the members that draw targets as they did before. Capacity counts only where it has a part in the score.
func (h *homing) match() []int32 {
	remap := make([]int32, len(h.then.members))
	n := 0
	for i, m := range h.then.members {
		for n < len(h.now.members) && h.now.members[n].Name < m.Name {
			n++
		}
		remap[i] = Nobody
		if n < len(h.now.members) && h.now.members[n].Name == m.Name && h.now.seeds[n] == h.then.seeds[i] &&
			(!h.now.uneven || h.now.weights[n] == h.then.weights[i]) {
			remap[i] = int32(n)
		}
	}
	return remap
}

// fill sets groups and homes of units; before is the unit of the same block in the assignment before, or nil.
func (h *homing) fill(units []unit, before func(*Block) *unit) {
	var tasks []span
	total := 0
	for i := range units {
		u := &units[i]
		old := before(u.block)
		if h.then == nil {
			old = nil
		}
		if old != nil && h.same {
			u.groups, u.homes, u.pinned, u.free = old.groups, old.homes, old.pinned, old.free
			continue
		}
		total += u.block.Len()
		tasks = append(tasks, span{unit: u, old: old})
	}
	homes := make([]int32, total)
	var groups []int32
	if len(h.now.groups) > 1 {
		groups = make([]int32, total)
	}
	for i := range tasks {
		u := tasks[i].unit
		n := u.block.Len()
		u.homes, homes = homes[:n:n], homes[n:]
		if groups != nil {
			u.groups, groups = groups[:n:n], groups[n:]
		}
	}
	parallel(total, cut(tasks), h.span)
	for i := range tasks {
		tasks[i].unit.survey(h.now)
	}
}

// survey notes which classes there are.
func (u *unit) survey(t *table) {
	for i := range u.block.Len() {
		bit := uint32(1) << u.class(i)
		if u.groups != nil && t.groups[u.groups[i]].node {
			u.pinned |= bit
		} else {
			u.free |= bit
		}
	}
}

// span is the part of a unit that one worker handles at a time.
type span struct {
	unit, old *unit
	from, to  int
}

func (h *homing) span(s span) {
	u := s.unit
	if u.groups != nil {
		var place Place
		g := h.now.groupOf(place)
		for i := s.from; i < s.to; i++ {
			if p := u.block.Place(i); p != place {
				place, g = p, h.now.groupOf(p)
			}
			u.groups[i] = g
		}
	}
	keys := u.block.Keys()
	if s.old != nil {
		h.adjust(s, keys)
		return
	}
	for i := s.from; i < s.to; i++ {
		u.homes[i] = h.now.home(keys[i], &h.now.groups[u.group(i)])
	}
}

// adjust finds homes from those before: a target whose home is still there compares it with the members that are new.
func (h *homing) adjust(s span, keys []uint64) {
	u, old := s.unit, s.old
	for i := s.from; i < s.to; i++ {
		g := u.group(i)
		home := old.homes[i]
		if home >= 0 {
			home = h.remap[home]
		}
		if home < 0 || h.groups[old.group(i)] != g {
			u.homes[i] = h.now.home(keys[i], &h.now.groups[g])
			continue
		}
		if added := h.added[g]; len(added) > 0 {
			best := h.now.draw(keys[i], home)
			for _, m := range added {
				if x := h.now.draw(keys[i], m); x > best || x == best && m < home {
					best, home = x, m
				}
			}
		}
		u.homes[i] = home
	}
}

// grain is how many targets are worth handing to another core.
const grain = 4096

// cut makes spans of units.
func cut(units []span) []span {
	var out []span
	for _, s := range units {
		for from := 0; from < s.unit.block.Len(); from += grain {
			out = append(out, span{s.unit, s.old, from, min(from+grain, s.unit.block.Len())})
		}
	}
	return out
}

// parallel calls do for every item, on as many cores as size, the number of targets, is worth.
func parallel[T any](size int, items []T, do func(T)) {
	workers := min(runtime.GOMAXPROCS(0), size/grain, len(items))
	if workers < 2 {
		for _, it := range items {
			do(it)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(items); i = next.Add(1) - 1 {
				do(items[i])
			}
		})
	}
	wg.Wait()
}
