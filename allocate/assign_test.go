package allocate

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// target is an Entry with the name of its job, for models.
type target struct {
	job   string
	entry Entry
}

type targetID struct {
	job string
	id  uint64
}

func drawTargets(t *rapid.T, n int) []target {
	// Few keys, so that many are equal: ties have to be broken the same way everywhere.
	keys := rapid.SampledFrom([]uint64{3, 40, 1 << 62}).Draw(t, "keys")
	classes := rapid.SampledFrom([]int{1, 1, 4}).Draw(t, "classes")
	jobs := rapid.IntRange(1, 5).Draw(t, "jobs")
	seed := rapid.Uint64().Draw(t, "seed")
	rnd := rand.New(rand.NewPCG(seed, 1))
	out := make([]target, n)
	for i := range out {
		out[i] = randomTarget(rnd, jobs, keys, classes)
	}
	return out
}

func randomTarget(rnd *rand.Rand, jobs int, keys uint64, classes int) target {
	place := Place{}
	if rnd.IntN(4) > 0 {
		place = Place{Node: fmt.Sprint("n", rnd.IntN(6)), Zone: fmt.Sprint("z", rnd.IntN(4))}
	}
	return target{
		job:   fmt.Sprint("job", rnd.IntN(jobs)),
		entry: Entry{ID: rnd.Uint64(), Key: rnd.Uint64N(keys) * 0x9E3779B97F4A7C15, Place: place, Class: uint8(rnd.IntN(classes))},
	}
}

func drawMembers(t *rapid.T) []Member {
	n := rapid.IntRange(0, 9).Draw(t, "members")
	capacities := rapid.Bool().Draw(t, "capacities")
	out := make([]Member, n)
	for i := range out {
		k := rapid.IntRange(0, 14).Draw(t, "member")
		out[i] = Member{Name: fmt.Sprint("c", k), Node: fmt.Sprint("n", k%5), Zone: fmt.Sprint("z", k%3)}
		if k == 13 {
			out[i].Seed = "c1" // that of another
		}
		if capacities {
			out[i].Capacity = uint32(k % 4)
		}
	}
	return out
}

func drawRules(t *rapid.T) Rules {
	return Rules{
		Strategy:   rapid.SampledFrom([]Strategy{"", LeastWeighted, ConsistentHashing, PerNode}).Draw(t, "strategy"),
		Tolerance:  rapid.SampledFrom([]float64{0, 0, 0.02, 0.5}).Draw(t, "tolerance"),
		MaxTargets: rapid.SampledFrom([]int{0, 0, 7, 40}).Draw(t, "max"),
		Zones:      rapid.Bool().Draw(t, "zones"),
	}
}

// toJobs cuts targets into blocks, about that many to a job.
func toJobs(targets []target, perJob int) []*Job {
	by := map[string][]Entry{}
	for _, t := range targets {
		by[t.job] = append(by[t.job], t.entry)
	}
	var out []*Job
	for _, name := range slices.Sorted(maps.Keys(by)) {
		out = append(out, &Job{Name: name, Blocks: blocks(by[name], (len(by[name])+perJob-1)/perJob)})
	}
	return out
}

func owners(a *Assignment) map[targetID]string {
	out := map[targetID]string{}
	for _, j := range a.Jobs() {
		for _, b := range j.Blocks {
			for i, o := range a.Owners(b) {
				out[targetID{j.Name, b.IDs()[i]}] = a.name(o)
			}
		}
	}
	return out
}

// Whatever the order, and however targets are cut into blocks, the assignment is the same.
func TestOrderHasNoPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets, members, rules := drawTargets(t, rapid.IntRange(0, 300).Draw(t, "n")), drawMembers(t), drawRules(t)
		want := NewAssigner().Assign(toJobs(targets, 1), members, rules)
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 2))
		rnd.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
		jobs := toJobs(targets, 4)
		rnd.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
		for _, j := range jobs {
			rnd.Shuffle(len(j.Blocks), func(i, k int) { j.Blocks[i], j.Blocks[k] = j.Blocks[k], j.Blocks[i] })
		}
		// Members of the same name would not be the same after a shuffle if which of them counts hung on the order.
		rnd.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		got := NewAssigner().Assign(jobs, members, rules)
		if d := cmp.Diff(owners(want), owners(got)); d != "" {
			t.Fatalf("another order gives other owners (-want +got):\n%s", d)
		}
		if !slices.Equal(want.Load(), got.Load()) || want.Unassigned != got.Unassigned {
			t.Fatalf("another order: load %v and %d unassigned, want %v and %d", got.Load(), got.Unassigned, want.Load(), want.Unassigned)
		}
	})
}

// An Assigner with a past says what a fresh one says.
func TestPastHasNoPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets, members, rules := drawTargets(t, rapid.IntRange(0, 200).Draw(t, "n")), drawMembers(t), drawRules(t)
		jobs := toJobs(targets, 3)
		a := NewAssigner()
		var before map[targetID]string
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			names := map[string]bool{}
			if a.last != nil {
				for _, m := range a.last.Members {
					names[m.Name] = true
				}
			}
			got := a.Assign(jobs, members, rules)
			want := NewAssigner().Assign(jobs, members, rules)
			now := owners(got)
			if d := cmp.Diff(owners(want), now); d != "" {
				t.Fatalf("owners differ from those of a fresh Assigner (-fresh +got):\n%s", d)
			}
			if !slices.Equal(want.Load(), got.Load()) || !slices.Equal(want.Weights(), got.Weights()) || want.Unassigned != got.Unassigned {
				t.Fatalf("load %v %v %d, fresh %v %v %d", got.Load(), got.Weights(), got.Unassigned, want.Load(), want.Weights(), want.Unassigned)
			}
			if want := needless(before, now, names, got.Members); want != got.Moved {
				t.Fatalf("Moved is %d, want %d", got.Moved, want)
			}
			checkWhy(t, got)
			before = now
			if again := a.Assign(slices.Clone(jobs), slices.Clone(members), rules); again.Moved != 0 || a.Assign(jobs, members, rules) != again {
				t.Fatalf("no change, but another assignment, or one that has moved %d", again.Moved)
			}
			switch rapid.IntRange(0, 4).Draw(t, "event") {
			case 0:
				members = drawMembers(t)
			case 1:
				if len(members) > 0 {
					members = members[1:]
				}
			case 2:
				members = append(slices.Clone(members), Member{Name: fmt.Sprint("c", rapid.IntRange(0, 14).Draw(t, "more")), Zone: "z1"})
			case 3:
				rules = drawRules(t)
			case 4:
				jobs = slices.Clone(jobs)
				for i := range jobs {
					if rapid.Bool().Draw(t, "change") {
						jobs[i] = changed(jobs[i], rapid.Uint64().Draw(t, "what"))
					}
				}
			}
		}
	})
}

// changed is a job some of whose blocks have lost and got targets.
func changed(j *Job, seed uint64) *Job {
	rnd := rand.New(rand.NewPCG(seed, 3))
	out := &Job{Name: j.Name}
	for _, b := range j.Blocks {
		if rnd.IntN(2) == 0 {
			out.Blocks = append(out.Blocks, b)
			continue
		}
		var entries []Entry
		for i := range b.Len() {
			if rnd.IntN(5) > 0 {
				entries = append(entries, Entry{ID: b.IDs()[i], Key: b.Keys()[i], Place: b.Place(i), Class: b.Class(i)})
			}
		}
		for range rnd.IntN(4) {
			entries = append(entries, randomTarget(rnd, 1, 40, 2).entry)
		}
		out.Blocks = append(out.Blocks, NewBlock(entries))
	}
	return out
}

func needless(before, now map[targetID]string, then map[string]bool, members []Member) int {
	still := map[string]bool{}
	for _, m := range members {
		still[m.Name] = then[m.Name]
	}
	n := 0
	for id, was := range before {
		if is, ok := now[id]; ok && is != was && still[is] && still[was] {
			n++
		}
	}
	return n
}

func checkWhy(t *rapid.T, a *Assignment) {
	for _, j := range a.Jobs() {
		for _, b := range j.Blocks {
			for i, o := range a.Owners(b) {
				r := a.Why(b, i)
				home := r.Cause == AtHome || r.Cause == OnNode || r.Cause == InZone
				nobody := r.Cause == LimitReached || r.Cause == NoMembers
				if r.Owner != o || home != (o >= 0 && r.Owner == r.Home) || nobody != (o < 0) || r.Text == "" {
					t.Fatalf("owner %d, but the reason is %+v", o, r)
				}
			}
		}
	}
}

// Every target is on one member whenever one may have it, and nobody has more than may be.
func TestEveryTargetHasAnOwner(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets, members, rules := drawTargets(t, rapid.IntRange(0, 400).Draw(t, "n")), drawMembers(t), drawRules(t)
		a := NewAssigner().Assign(toJobs(targets, 2), members, rules)
		n, unassigned := 0, 0
		load := make([]int, len(a.Members))
		for _, j := range a.Jobs() {
			for _, b := range j.Blocks {
				if len(a.Owners(b)) != b.Len() {
					t.Fatalf("%d owners for %d targets", len(a.Owners(b)), b.Len())
				}
				for _, o := range a.Owners(b) {
					n++
					if o == Nobody {
						unassigned++
						continue
					}
					load[o]++
				}
			}
		}
		want := 0
		if room := rules.MaxTargets * len(a.Members); rules.MaxTargets > 0 || len(a.Members) == 0 {
			want = max(0, n-room)
		}
		if unassigned != want || a.Unassigned != want || !slices.Equal(load, a.Load()) {
			t.Fatalf("%d of %d unassigned (said %d), want %d; load %v, said %v", unassigned, n, a.Unassigned, want, load, a.Load())
		}
		for i, l := range load {
			if rules.MaxTargets > 0 && l > rules.MaxTargets {
				t.Fatalf("%s has %d targets, at most %d are allowed", a.Members[i].Name, l, rules.MaxTargets)
			}
		}
	})
}
