package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/otelier/otelier/allocate"
)

// planVersion is that of the schema of what `allocate plan -o json` prints.
const planVersion = "otelier.io/allocation-plan/v1"

// allocationPlan is what another number of collectors would change.
type allocationPlan struct {
	Version    string            `json:"version"`
	Strategy   allocate.Strategy `json:"strategy"`
	Jobs       int               `json:"jobs"`
	Targets    int               `json:"targets"`
	Collectors []planRow         `json:"collectors"`
	Moves      planMoves         `json:"moves"`
	Unassigned planChange        `json:"unassigned"`
	// Differing is how many targets of a pool that is served are not where its rules say. There should be none.
	Differing int `json:"differing,omitempty"`
}

// planChange is a number before and after.
type planChange struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// planRow is a collector with its targets; null where it is not there.
type planRow struct {
	Name string `json:"name"`
	From *int   `json:"from"`
	To   *int   `json:"to"`
}

// planMoves are the targets whose collector is another one after.
type planMoves struct {
	Total int `json:"total"`
	// Joining went to a collector that is new, Leaving were on one that goes, and Between are neither.
	Joining int `json:"joining"`
	Leaving int `json:"leaving"`
	Between int `json:"between"`
	// Assigned were on nobody, or are now.
	Assigned int `json:"assigned"`
}

// planFor compares two assignments of the same jobs, each with its rules.
func planFor(jobs []*allocate.Job, from, to []allocate.Member, rules, next allocate.Rules) allocationPlan {
	before, after := allocate.NewAssigner().Assign(jobs, from, rules), allocate.NewAssigner().Assign(jobs, to, next)
	p := allocationPlan{
		Version: planVersion, Strategy: cmp.Or(next.Strategy, allocate.LeastWeighted), Jobs: len(jobs),
		Unassigned: planChange{before.Unassigned, after.Unassigned},
	}
	rows := map[string]*planRow{}
	row := func(name string) *planRow {
		if rows[name] == nil {
			rows[name] = &planRow{Name: name}
		}
		return rows[name]
	}
	for i, n := range before.Load() {
		row(before.Members[i].Name).From = &n
	}
	for i, n := range after.Load() {
		row(after.Members[i].Name).To = &n
	}
	for _, r := range rows {
		p.Collectors = append(p.Collectors, *r)
	}
	slices.SortFunc(p.Collectors, func(a, b planRow) int { return compareOrdinals(a.Name, b.Name) })
	for _, job := range jobs {
		for _, b := range job.Blocks {
			p.Targets += b.Len()
			was, is := before.Owners(b), after.Owners(b)
			for i := range was {
				p.Moves.count(rows, nameOf(before, was[i]), nameOf(after, is[i]))
			}
		}
	}
	return p
}

func nameOf(a *allocate.Assignment, owner int32) string {
	if owner == allocate.Nobody {
		return ""
	}
	return a.Members[owner].Name
}

func (m *planMoves) count(rows map[string]*planRow, was, is string) {
	if was == is {
		return
	}
	m.Total++
	switch {
	case was == "" || is == "":
		m.Assigned++
	case rows[was].To == nil:
		m.Leaving++
	case rows[is].From == nil:
		m.Joining++
	default:
		m.Between++
	}
}

// ordinal splits the name of a StatefulSet's pod; -1 when it is none.
func ordinal(name string) (set string, n int) {
	i := strings.LastIndexByte(name, '-')
	n, err := strconv.Atoi(name[i+1:])
	if i < 0 || err != nil || n < 0 {
		return name, -1
	}
	return name[:i], n
}

func compareOrdinals(a, b string) int {
	setA, nA := ordinal(a)
	setB, nB := ordinal(b)
	return cmp.Or(cmp.Compare(setA, setB), cmp.Compare(nA, nB), cmp.Compare(a, b))
}

// resized is members as they would be with another number of them: the last ones go, new ones have the next ordinals.
func resized(members []allocate.Member, n int) ([]allocate.Member, error) {
	out := slices.Clone(members)
	slices.SortFunc(out, func(a, b allocate.Member) int { return compareOrdinals(a.Name, b.Name) })
	if n <= len(out) {
		return out[:n], nil
	}
	set, last := "collector", -1
	if len(out) > 0 {
		if set, last = ordinal(out[len(out)-1].Name); last < 0 {
			return nil, fmt.Errorf("%s has no ordinal: it can't be told what more collectors would be called", out[len(out)-1].Name)
		}
	}
	for len(out) < n {
		last++
		name := fmt.Sprintf("%s-%d", set, last)
		out = append(out, allocate.Member{Name: name, Seed: name})
	}
	return out, nil
}
