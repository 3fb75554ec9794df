package allocate

import (
	"cmp"
	"slices"
)

// Assigner makes assignments. It remembers the last one, so that the next costs what has changed; what an assignment says never depends
// on that. It must not be used by several goroutines at a time.
type Assigner struct {
	last  *Assignment
	given []Member // the members of the last call, in its order
}

// NewAssigner returns one that remembers nothing.
func NewAssigner() *Assigner { return &Assigner{} }

// Assignment says on which member every target is. It is immutable.
type Assignment struct {
	// Members, sorted by name.
	Members []Member
	// Unassigned is how many targets are on nobody.
	Unassigned int
	// Moved is how many targets, compared with the assignment made before by the same Assigner, went from one member to another although
	// both are in either assignment.
	Moved int

	table   *table
	jobs    []*Job  // sorted by name
	first   []int32 // of each job, its first unit; and the number of units at last
	units   []unit
	index   map[*Block]int32
	load    []int
	weights []uint64
}

// Assign spreads the targets of jobs over members. The result follows from the arguments alone, and neither their order nor how
// targets are cut into blocks has a part in it. If nothing has changed since the last call, it is the same pointer as the last but one
// difference: Moved is 0.
func (a *Assigner) Assign(jobs []*Job, members []Member, rules Rules) *Assignment {
	byName := func(a, b *Job) int { return cmp.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(jobs, byName) {
		jobs = slices.Clone(jobs)
		slices.SortStableFunc(jobs, byName)
	}
	last := a.last
	rules = normalized(rules)
	var t *table
	if last != nil && rules == last.table.rules && a.alike(members) {
		t = last.table
		if slices.Equal(jobs, last.jobs) {
			if last.Moved != 0 {
				still := *last
				still.Moved = 0
				a.last = &still
			}
			return a.last
		}
	} else {
		a.given = slices.Clone(members)
		t = newTable(sortMembers(members), rules)
	}
	a.last = assign(t, slices.Clone(jobs), last)
	return a.last
}

// alike says whether these are the members of the last assignment.
func (a *Assigner) alike(members []Member) bool {
	if slices.Equal(members, a.given) {
		return true
	}
	return slices.Equal(sortMembers(members), a.last.Members)
}

// assign makes an assignment; last is where to take from what is still true, or nil.
func assign(t *table, jobs []*Job, last *Assignment) *Assignment {
	a := &Assignment{
		Members: t.members, table: t, jobs: jobs,
		load: make([]int, len(t.members)), weights: make([]uint64, len(t.members)),
	}
	total := a.layOut(last)
	before := func(*Block) *unit { return nil }
	var then *table
	if last != nil {
		before, then = last.unit, last.table
	}
	newHoming(t, then).fill(a.units, before)
	if t.rules.Strategy == ConsistentHashing && t.rules.MaxTargets == 0 || len(t.members) == 0 {
		a.atHome()
	} else {
		owners := make([]int32, total)
		for i := range a.units {
			n := a.units[i].block.Len()
			a.units[i].owners, owners = owners[:n:n], owners[n:]
		}
		for _, r := range rounds(a.units) {
			(&spread{Assignment: a, round: r}).run()
		}
	}
	if last != nil {
		a.compare(last)
	}
	return a
}

// layOut lists the blocks, and returns the number of targets.
func (a *Assignment) layOut(last *Assignment) int {
	n := 0
	for _, j := range a.jobs {
		n += len(j.Blocks)
	}
	a.units = make([]unit, 0, n)
	a.first = make([]int32, 0, len(a.jobs)+1)
	total := 0
	same := last != nil && n == len(last.units)
	for j, job := range a.jobs {
		a.first = append(a.first, int32(len(a.units)))
		for _, b := range job.Blocks {
			same = same && last.units[len(a.units)].block == b
			a.units = append(a.units, unit{block: b, job: int32(j)})
			total += b.Len()
		}
	}
	a.first = append(a.first, int32(len(a.units)))
	if same {
		a.index = last.index
		return total
	}
	a.index = make(map[*Block]int32, n)
	for i := range a.units {
		a.index[a.units[i].block] = int32(i)
	}
	return total
}

// atHome leaves every target where it is drawn to.
func (a *Assignment) atHome() {
	for x := range a.units {
		u := &a.units[x]
		u.owners = u.homes
		for i, o := range u.owners {
			if o < 0 {
				a.Unassigned++
				continue
			}
			a.load[o]++
			a.weights[o] += 1 << u.class(i)
		}
	}
}

func (a *Assignment) unit(b *Block) *unit {
	i, ok := a.index[b]
	if !ok {
		return nil
	}
	return &a.units[i]
}

// Owners are the members of a block's targets, in the order of its IDs: indices into Members, or Nobody. Nil if the block is not of this
// assignment. Not to be changed. If an assignment and the one before have the same members and agree about a block, it is the same slice.
func (a *Assignment) Owners(b *Block) []int32 {
	if u := a.unit(b); u != nil {
		return u.owners
	}
	return nil
}

// Load is the number of targets per member. Not to be changed.
func (a *Assignment) Load() []int { return a.load }

// Weights is the sum of the weights of the targets per member. Not to be changed.
func (a *Assignment) Weights() []uint64 { return a.weights }

// Jobs of the assignment, sorted by name. Not to be changed.
func (a *Assignment) Jobs() []*Job { return a.jobs }
