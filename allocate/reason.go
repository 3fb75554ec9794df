package allocate

import "fmt"

// Cause says in a word why a target is where it is.
type Cause string

const (
	// AtHome is the member that the target is drawn to most.
	AtHome Cause = "home"
	// OnNode is a member on the target's node.
	OnNode Cause = "node"
	// InZone is the member in the target's zone that it is drawn to most.
	InZone Cause = "zone"
	// MemberFull means that the home has its share, of targets that come first.
	MemberFull Cause = "full"
	// JobFull means that the home has what it may have of the target's job.
	JobFull Cause = "job"
	// LimitReached means that every member has as many targets as it may have at most. The target is on nobody.
	LimitReached Cause = "limit"
	// NoMembers means that there is nobody to have it.
	NoMembers Cause = "no members"
	// Unknown is the cause of a target that is not of the assignment.
	Unknown Cause = "unknown"
)

// Reason says why a target is where it is.
type Reason struct {
	Cause Cause
	// Owner and Home are indices into Members, or Nobody.
	Owner, Home int32
	// Fallback is why a target is not on its node, under PerNode: it is not known to have one, or no member is there. Empty otherwise.
	Fallback string
	// Outside means that the owner is not on the node, or not in the zone, in which the target looked first.
	Outside bool
	// Text is all this in a sentence.
	Text string
}

// Why says why target i of a block is where it is. It costs up to what the target's job costs, and is for people to ask.
func (a *Assignment) Why(b *Block, i int) Reason {
	u := a.unit(b)
	if u == nil || i < 0 || i >= b.Len() {
		return Reason{Cause: Unknown, Owner: Nobody, Home: Nobody, Text: "not a target of this assignment"}
	}
	r := Reason{Owner: u.owners[i], Home: u.homes[i]}
	g := &a.table.groups[u.group(i)]
	if a.table.rules.Strategy == PerNode && !g.node {
		r.Fallback = "it is not known to be on a node"
		if n := b.Place(i).Node; n != "" {
			r.Fallback = fmt.Sprintf("no member is on its node %s", n)
		}
	}
	switch {
	case len(a.Members) == 0:
		r.Cause = NoMembers
	case r.Owner < 0:
		r.Cause = LimitReached
	case r.Owner == r.Home && g.node:
		r.Cause = OnNode
	case r.Owner == r.Home && u.group(i) != 0:
		r.Cause = InZone
	case r.Owner == r.Home:
		r.Cause = AtHome
	case a.jobFull(u, i):
		r.Cause = JobFull
	default:
		r.Cause = MemberFull
	}
	if r.Owner >= 0 {
		r.Outside = true
		for _, m := range g.members {
			r.Outside = r.Outside && m != r.Owner
		}
	}
	r.Text = a.text(r, u, i)
	return r
}

// jobFull says whether the home of a target has the job's cap of targets that come before it.
func (a *Assignment) jobFull(u *unit, i int) bool {
	t := a.table
	g := u.group(i)
	if t.rules.Strategy == ConsistentHashing || t.groups[g].node {
		return false
	}
	r := round{class: u.class(i)}
	me := reject{key: u.block.Keys()[i], id: u.block.IDs()[i]}
	n, ahead := 0, 0
	for x := a.first[u.job]; x < a.first[u.job+1]; x++ {
		v := &a.units[x]
		for k, home := range v.homes {
			if v.group(k) != g || !r.has(t, v, k) {
				continue
			}
			n++
			other := reject{key: v.block.Keys()[k], id: v.block.IDs()[k]}
			if home == u.homes[i] && other.compare(&me) < 0 {
				ahead++
			}
		}
	}
	return ahead >= jobCap(n, t.weights[u.homes[i]], t.groups[g].total)
}

func (a *Assignment) text(r Reason, u *unit, i int) string {
	name := func(m int32) string { return a.Members[m].Name }
	s := ""
	switch r.Cause {
	case AtHome:
		s = fmt.Sprintf("on %s: its hash draws it there", name(r.Owner))
	case OnNode:
		s = fmt.Sprintf("on %s: it is on the same node %s", name(r.Owner), a.Members[r.Owner].Node)
	case InZone:
		s = fmt.Sprintf("on %s: its hash draws it there among the members of its zone %s", name(r.Owner), a.Members[r.Owner].Zone)
	case MemberFull:
		s = fmt.Sprintf("on %s: %s, where it belongs, has its share", name(r.Owner), name(r.Home))
	case JobFull:
		s = fmt.Sprintf("on %s: %s, where it belongs, has its share of job %s", name(r.Owner), name(r.Home), a.jobs[u.job].Name)
	case LimitReached:
		s = fmt.Sprintf("on nobody: every member has the %d targets that it may have at most", a.table.rules.MaxTargets)
	case NoMembers:
		s = "on nobody: the pool has no members"
	case Unknown:
	}
	if r.Fallback != "" {
		s += "; " + r.Fallback
	}
	if r.Outside && a.table.groups[u.group(i)].key != "" {
		s += "; there is no room in " + a.table.groups[u.group(i)].key
	}
	return s
}
