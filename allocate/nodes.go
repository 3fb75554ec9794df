package allocate

import (
	"cmp"
	"math"
	"slices"
)

// table is what an assignment knows about its members.
type table struct {
	rules   Rules
	members []Member // sorted by name, no name twice
	seeds   []uint64
	weights []uint64 // capacities, at least 1
	total   uint64   // sum of weights
	logs    *logTable
	uneven  bool    // capacities differ
	groups  []group // the first one is all members
	nodes   map[string]int32
	zones   map[string]int32
}

// group is a set of members among which a target looks for its home.
type group struct {
	key     string
	node    bool // the members of a node under PerNode: what is there stays there
	members []int32
	seeds   []uint64
	total   uint64
}

// newTable needs rules that are normalized, and members that are sorted.
func newTable(members []Member, rules Rules) *table {
	t := &table{rules: rules, members: members, logs: newLogTable()}
	t.seeds = make([]uint64, len(t.members))
	t.weights = make([]uint64, len(t.members))
	seen := make(map[uint64]bool, len(t.members))
	for i, m := range t.members {
		seed := seedOf(cmp.Or(m.Seed, m.Name))
		if seen[seed] {
			// Two pods on a node while one replaces the other: the first one keeps what the node has.
			seed = seedOf(m.Seed + "\xff" + m.Name)
		}
		seen[seed] = true
		t.seeds[i] = seed
		t.weights[i] = uint64(max(m.Capacity, 1))
		t.total += t.weights[i]
		t.uneven = t.uneven || t.weights[i] != t.weights[0]
	}
	t.group()
	return t
}

// normalized rules are equal if they mean the same.
func normalized(r Rules) Rules {
	if r.Strategy == "" {
		r.Strategy = LeastWeighted
	}
	if !(r.Tolerance > 0) { // NaN too
		r.Tolerance = 0
	}
	r.Tolerance = math.Round(min(r.Tolerance, maxTolerance)*million) / million
	r.MaxTargets = max(r.MaxTargets, 0)
	return r
}

const (
	million      = 1_000_000
	maxTolerance = 100
)

func sortMembers(members []Member) []Member {
	members = slices.Clone(members)
	slices.SortFunc(members, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Seed, b.Seed), cmp.Compare(a.Node, b.Node),
			cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.Capacity, b.Capacity))
	})
	return slices.CompactFunc(members, func(a, b Member) bool { return a.Name == b.Name })
}

func (t *table) group() {
	t.groups = make([]group, 1)
	for i := range t.members {
		t.join(0, int32(i))
	}
	if t.rules.Strategy == PerNode {
		t.nodes = t.groupBy("node/", true, func(m Member) string { return m.Node })
	}
	if t.rules.Zones {
		t.zones = t.groupBy("zone/", false, func(m Member) string { return m.Zone })
	}
}

func (t *table) groupBy(prefix string, node bool, of func(Member) string) map[string]int32 {
	by := map[string]int32{}
	for i, m := range t.members {
		name := of(m)
		if name == "" {
			continue
		}
		g, ok := by[name]
		if !ok {
			g = int32(len(t.groups))
			by[name] = g
			t.groups = append(t.groups, group{key: prefix + name, node: node})
		}
		t.join(g, int32(i))
	}
	return by
}

func (t *table) join(g, member int32) {
	gr := &t.groups[g]
	gr.members = append(gr.members, member)
	gr.seeds = append(gr.seeds, t.seeds[member])
	gr.total += t.weights[member]
}

// groupOf is where a target looks first: its node, its zone, all members.
func (t *table) groupOf(p Place) int32 {
	if p.Node != "" {
		if g, ok := t.nodes[p.Node]; ok {
			return g
		}
	}
	if p.Zone != "" {
		if g, ok := t.zones[p.Zone]; ok {
			return g
		}
	}
	return 0
}

// home is the member of a group that a target is drawn to most; the first by name if there are several. Nobody in an empty group.
func (t *table) home(key uint64, g *group) int32 {
	if len(g.members) == 0 {
		return Nobody
	}
	best := 0
	if t.uneven {
		lowest := uint64(math.MaxUint64)
		for i, s := range g.seeds {
			if c := t.logs.cost(score(key, s), t.weights[g.members[i]]); c < lowest {
				lowest, best = c, i
			}
		}
		return g.members[best]
	}
	highest, i := score(key, g.seeds[0]), 1
	for ; i+4 <= len(g.seeds); i += 4 {
		s := (*[4]uint64)(g.seeds[i:])
		x0, x1, x2, x3 := score(key, s[0]), score(key, s[1]), score(key, s[2]), score(key, s[3])
		x := max(x0, x1, x2, x3)
		if x <= highest {
			continue
		}
		highest = x
		switch x {
		case x0:
			best = i
		case x1:
			best = i + 1
		case x2:
			best = i + 2
		default:
			best = i + 3
		}
	}
	for ; i < len(g.seeds); i++ {
		if x := score(key, g.seeds[i]); x > highest {
			highest, best = x, i
		}
	}
	return g.members[best]
}

// draw makes the scores of members comparable: the highest one wins.
func (t *table) draw(key uint64, member int32) uint64 {
	x := score(key, t.seeds[member])
	if t.uneven {
		return ^t.logs.cost(x, t.weights[member])
	}
	return x
}
