package member

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/otelier/otelier/allocate"
)

// DefaultHoldDown is for how long a member without a ready pod keeps its targets. Collectors ask for theirs every 30 s, so giving them
// away sooner would hardly be faster, and moves everything twice when the pod comes back.
const DefaultHoldDown = 60 * time.Second

// startPatience is for how long a place keeps its targets that has no pod when the tracker starts. The controller of StatefulSets makes a
// pod that has gone anew within a second or so; one that is not there for longer has been missing for who knows how long.
const startPatience = 10 * time.Second

// Tracker decides who the members are. It is no more than a rule with a little memory:
//
//   - A place that the workload has (an ordinal of a StatefulSet's spec, a node of a DaemonSet, another owner's pod) is a member.
//   - A place that was not there before (scaling out) becomes one when its pod is ready, or asks for its targets: until then the others
//     keep them.
//   - A place whose pod has not been ready for the hold-down, by the pod's own condition, is none until it is ready again. A pod that is
//     not there counts from when that was seen.
//   - A place that the workload no longer has (scaling in) is none at once.
//   - Without any member, all places are members: what nobody can take needs not move.
//
// What is remembered is which places are new, which have been given up, and since when a pod is missing. A tracker that starts
// anew takes all places for established, so that a restart moves nothing, but those that have no pod for startPatience only, and not at
// all those that can't get one yet; two trackers that have seen different pasts agree as soon as every pod is ready, or not ready for
// the hold-down.
type Tracker struct {
	// HoldDown as in DefaultHoldDown, which stands for 0; a negative one is for ever.
	HoldDown time.Duration

	places map[identity]*place
	began  bool
	sets   map[string]bool // StatefulSets whose spec was seen
	zones  map[string]string
}

// place is what is remembered of an identity.
type place struct {
	status  status
	pod     string // that stood for it last
	node    string
	missing time.Time // since when there is no pod
}

type status uint8

const (
	established status = iota
	fresh              // was not there before, and has not shown up yet
	gone               // given up; comes back when it is ready
)

// Update takes what is known at a time and tells the members, sorted by name, and when to ask again although nothing happens: zero for
// never.
func (t *Tracker) Update(v View, now time.Time) (members []allocate.Member, again time.Time) {
	pods, first := embodiments(v.Pods), !t.began
	t.settle(v, t.wanted(v, pods, now), pods)
	if first {
		t.doubt(v, pods, now)
	}
	down := map[identity]time.Time{}
	for id, p := range t.places {
		up, since := p.observe(pods[id], now)
		if up {
			p.status = established
		} else {
			down[id] = since
		}
	}
	taken := t.able(down, now)
	if len(taken) == 0 {
		for _, p := range t.places {
			p.status = established
		}
		taken = t.able(down, now)
	}
	if len(taken) == 0 {
		taken = slices.Collect(maps.Keys(t.places))
	} else {
		t.giveUp(taken)
		again = t.nextExpiry(taken, down)
	}
	t.zones = v.Zones
	return t.members(taken), soonest(again, t.forgetting(v))
}

// able are the established places that are served, or have not been down for too long.
func (t *Tracker) able(down map[identity]time.Time, now time.Time) []identity {
	var out []identity
	for id, p := range t.places {
		since, isDown := down[id]
		if p.status == established && (!isDown || t.HoldDown < 0 || now.Before(since.Add(t.patience()))) {
			out = append(out, id)
		}
	}
	return out
}

// nextExpiry is when the first of those that are held has been down for too long.
func (t *Tracker) nextExpiry(taken []identity, down map[identity]time.Time) time.Time {
	var out time.Time
	for _, id := range taken {
		if since, isDown := down[id]; isDown && t.HoldDown >= 0 {
			out = soonest(out, since.Add(t.patience()))
		}
	}
	return out
}

// Polled takes note that somebody asked for his targets, and tells whether that makes him a member.
func (t *Tracker) Polled(pod string) bool {
	for _, p := range t.places {
		if p.status == fresh && p.pod == pod {
			p.status = established
			return true
		}
	}
	return false
}

// Expected are the pods that become members when they ask.
func (t *Tracker) Expected() []string {
	var out []string
	for _, p := range t.places {
		if p.status == fresh {
			out = append(out, p.pod)
		}
	}
	slices.Sort(out)
	return out
}

// wanted are the places that there are, in no order.
func (t *Tracker) wanted(v View, pods map[identity][]*Pod, now time.Time) map[identity]bool {
	out := map[identity]bool{}
	for set, r := range v.Sets {
		for _, id := range ordinals(set, r) {
			out[id] = true
		}
	}
	for id, list := range pods {
		_, known := v.Sets[id.set]
		if !known && (id.lasting() || list[0].Deleted.IsZero()) {
			out[id] = true
		}
	}
	for id, p := range t.places {
		if _, known := v.Sets[id.set]; known || len(pods[id]) > 0 || !id.lasting() {
			continue
		}
		if p.missing.IsZero() || now.Before(p.missing.Add(t.patience())) {
			out[id] = true
		}
	}
	return out
}

// settle makes t.places what is wanted. Places are established from the start, as are those of a StatefulSet that was not seen before.
func (t *Tracker) settle(v View, wanted map[identity]bool, pods map[identity][]*Pod) {
	if t.places == nil {
		t.places, t.sets = map[identity]*place{}, map[string]bool{}
	}
	maps.DeleteFunc(t.places, func(id identity, _ *place) bool { return !wanted[id] })
	for id := range wanted {
		if t.places[id] != nil {
			continue
		}
		p := &place{pod: id.pod}
		if _, known := v.Sets[id.set]; t.began && (!known || t.sets[id.set]) {
			p.status = fresh
		}
		t.places[id] = p
	}
	still := map[string]bool{}
	for id, p := range t.places {
		still[id.set] = t.sets[id.set]
		if list := pods[id]; len(list) > 0 {
			p.pod, p.node = list[0].Name, cmp.Or(list[0].Node, p.node)
		}
	}
	for set := range v.Sets {
		still[set] = true
	}
	t.sets, t.began = still, true
}

// doubt is about places that have no pod at the first look. In a StatefulSet of which nothing runs they are no worse than the others.
// Where it is ordered, a place gets its pod only when all those before are ready (spec.podManagementPolicy), so one behind such a
// gap has not lost its pod just now.
func (t *Tracker) doubt(v View, pods map[identity][]*Pod, now time.Time) {
	if t.HoldDown < 0 {
		return
	}
	missing := now.Add(min(t.patience(), startPatience) - t.patience())
	for set, r := range v.Sets {
		places := ordinals(set, r)
		if !slices.ContainsFunc(places, func(id identity) bool { return served(pods[id]) }) {
			continue
		}
		gap := false
		for _, id := range places {
			if len(pods[id]) == 0 {
				p := t.places[id]
				p.missing = missing
				if r.Ordered && gap {
					p.status = fresh
				}
			}
			gap = gap || !served(pods[id])
		}
	}
}

func served(pods []*Pod) bool {
	if len(pods) == 0 {
		return false
	}
	up, _ := pods[0].up()
	return up
}

// observe tells whether a place is served, and if not since when.
func (p *place) observe(pods []*Pod, now time.Time) (up bool, since time.Time) {
	if len(pods) == 0 {
		if p.missing.IsZero() {
			p.missing = now
		}
		return false, p.missing
	}
	p.missing = time.Time{}
	return pods[0].up()
}

// giveUp takes the places that are established, but not taken, out until they are ready.
func (t *Tracker) giveUp(taken []identity) {
	keep := map[identity]bool{}
	for _, id := range taken {
		keep[id] = true
	}
	for id, p := range t.places {
		if p.status == established && !keep[id] {
			p.status = gone
		}
	}
}

// nodes that the places are on, or were last, in no order.
func (t *Tracker) nodes() []string {
	var out []string
	for _, p := range t.places {
		if p.node != "" {
			out = append(out, p.node)
		}
	}
	return out
}

func (t *Tracker) members(taken []identity) []allocate.Member {
	out := make([]allocate.Member, 0, len(taken))
	for _, id := range taken {
		p := t.places[id]
		out = append(out, allocate.Member{Name: p.pod, Seed: cmp.Or(id.node, p.pod), Node: p.node, Zone: t.zones[p.node]})
	}
	slices.SortFunc(out, func(a, b allocate.Member) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// forgetting is when the first place that no workload vouches for, and that has no pod, is dropped.
func (t *Tracker) forgetting(v View) time.Time {
	var out time.Time
	for id, p := range t.places {
		if _, known := v.Sets[id.set]; !known && !p.missing.IsZero() {
			out = soonest(out, p.missing.Add(t.patience()))
		}
	}
	return out
}

// patience is for how long a place is kept that only a pod vouched for.
func (t *Tracker) patience() time.Duration {
	if t.HoldDown <= 0 {
		return DefaultHoldDown
	}
	return t.HoldDown
}

// soonest of times, where zero is never.
func soonest(a, b time.Time) time.Time {
	switch {
	case a.IsZero():
		return b
	case b.IsZero() || a.Before(b):
		return a
	default:
		return b
	}
}
