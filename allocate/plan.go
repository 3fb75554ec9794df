package allocate

import (
	"cmp"
	"slices"
)

// Plan says what a change of members would do.
type Plan struct {
	// Before and After are the assignments.
	Before, After *Assignment
	// Rows are the members of either, by name.
	Rows []PlanRow
	// Targets is how many there are.
	Targets int
	// Moves is how many of them would have another owner, or one only before or only after.
	Moves int
	// Needless is how many of those go from one member to another although both are there before and after.
	Needless int
}

// PlanRow is a member in a plan.
type PlanRow struct {
	Name string
	// Joins and Leaves: it is there only after, only before.
	Joins, Leaves bool
	// Before and After are numbers of targets; Gets and Gives those of which it becomes the owner, and ceases to be.
	Before, After, Gets, Gives int
}

// NewPlan compares the assignments of jobs to members before and after, under the same rules. It is pure.
func NewPlan(jobs []*Job, before, after []Member, rules Rules) Plan {
	a := NewAssigner()
	p := Plan{Before: a.Assign(jobs, before, rules)}
	p.After = a.Assign(jobs, after, rules)
	p.Needless = p.After.Moved
	rows := map[string]*PlanRow{}
	for i, m := range p.Before.Members {
		rows[m.Name] = &PlanRow{Name: m.Name, Leaves: true, Before: p.Before.load[i]}
	}
	for i, m := range p.After.Members {
		r, ok := rows[m.Name]
		if !ok {
			r = &PlanRow{Name: m.Name, Joins: true}
			rows[m.Name] = r
		}
		r.Leaves = false
		r.After = p.After.load[i]
	}
	for x := range p.After.units {
		then, now := &p.Before.units[x], &p.After.units[x]
		p.Targets += now.block.Len()
		for i, n := range now.owners {
			was, is := p.Before.name(then.owners[i]), p.After.name(n)
			if was == is {
				continue
			}
			p.Moves++
			if r := rows[was]; r != nil {
				r.Gives++
			}
			if r := rows[is]; r != nil {
				r.Gets++
			}
		}
	}
	for _, r := range rows {
		p.Rows = append(p.Rows, *r)
	}
	slices.SortFunc(p.Rows, func(a, b PlanRow) int { return cmp.Compare(a.Name, b.Name) })
	return p
}

// name of a member; empty for Nobody.
func (a *Assignment) name(member int32) string {
	if member < 0 {
		return ""
	}
	return a.Members[member].Name
}
