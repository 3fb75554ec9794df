package allocate

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"
)

// Nobody has more than its share, by capacity and tolerance.
func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 2000).Draw(t, "n")
		members, rules := drawMembers(t), drawRules(t)
		rules.Strategy, rules.MaxTargets = LeastWeighted, 0
		jobs := randomJobs(rand.New(rand.NewPCG(uint64(n), 5)), n, 100)
		a := NewAssigner().Assign(jobs, members, rules)
		total := 0
		for _, m := range a.Members {
			total += max(int(m.Capacity), 1)
		}
		for i, m := range a.Members {
			q := max(int(m.Capacity), 1)
			share := (n*q + total - 1) / total
			if most := share + int(rules.Tolerance*float64(share)+0.999999); a.Load()[i] > most {
				t.Fatalf("%s has %d of %d targets, its share is %d and with tolerance %d", m.Name, a.Load()[i], n, share, most)
			}
		}
	})
}

// Of weights, nobody has more than its share and the least weight there is, unless one target alone is more than a share.
func TestWeights(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 5))
		entries := make([]Entry, rapid.IntRange(1, 500).Draw(t, "n"))
		sum, heaviest, least := 0, 0, 1<<20
		for i := range entries {
			entries[i] = Entry{ID: rnd.Uint64(), Key: rnd.Uint64(), Class: uint8(rnd.IntN(8))}
			w := 1 << entries[i].Class
			sum, heaviest, least = sum+w, max(heaviest, w), min(least, w)
		}
		k := rapid.IntRange(1, 9).Draw(t, "members")
		a := NewAssigner().Assign([]*Job{{Name: "j", Blocks: []*Block{NewBlock(entries)}}}, namedMembers("c", k), Rules{})
		got := 0
		for i, w := range a.Weights() {
			got += int(w)
			if int(w) >= (sum+k-1)/k+heaviest {
				t.Fatalf("member %d has weight %d of %d, the heaviest target has %d", i, w, sum, heaviest)
			}
		}
		if got != sum {
			t.Fatalf("weights add up to %d, want %d", got, sum)
		}
	})
}

// Under PerNode a target is on its node whenever a member is there, and the fallback evens out.
func TestPerNode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets, members := drawTargets(t, rapid.IntRange(0, 300).Draw(t, "n")), drawMembers(t)
		a := NewAssigner().Assign(toJobs(targets, 1), members, Rules{Strategy: PerNode})
		nodes := map[string]int{}
		for _, m := range a.Members {
			nodes[m.Node]++
		}
		for _, j := range a.Jobs() {
			for _, b := range j.Blocks {
				for i, o := range a.Owners(b) {
					node := b.Place(i).Node
					if node != "" && nodes[node] > 0 && a.Members[o].Node != node {
						t.Fatalf("a target on %s is on %s, which is on %s", node, a.Members[o].Name, a.Members[o].Node)
					}
					if r := a.Why(b, i); (r.Fallback != "") != (nodes[node] == 0 || node == "") && len(members) > 0 {
						t.Fatalf("node %q with %d members: the reason is %+v", node, nodes[node], r)
					}
				}
			}
		}
	})
}

func TestPerNodeFallbackCountsWhatMembersHave(t *testing.T) {
	var entries []Entry
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 100 {
		e := Entry{ID: rnd.Uint64(), Key: rnd.Uint64()}
		if i < 40 {
			e.Place.Node = "n0"
		} else if i%2 == 0 {
			e.Place.Node = "without a member"
		}
		entries = append(entries, e)
	}
	members := []Member{{Name: "c0", Node: "n0"}, {Name: "c1", Node: "n1"}, {Name: "c2", Node: "n2"}}
	a := NewAssigner().Assign([]*Job{{Name: "j", Blocks: []*Block{NewBlock(entries)}}}, members, Rules{Strategy: PerNode})
	if l := a.Load(); l[0] != 40 || l[1] > 34 || l[2] > 34 {
		t.Errorf("load %v, want 40 and at most 34 of what is left", l)
	}
}

// With zones a target leaves its zone only if all members there have their share.
func TestZones(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets, members := drawTargets(t, rapid.IntRange(0, 300).Draw(t, "n")), drawMembers(t)
		for i := range targets {
			targets[i].entry.Class = 0
		}
		a := NewAssigner().Assign(toJobs(targets, 1), members, Rules{Zones: true})
		total := 0
		for _, m := range a.Members {
			total += max(int(m.Capacity), 1)
		}
		for _, j := range a.Jobs() {
			for _, b := range j.Blocks {
				for i, o := range a.Owners(b) {
					zone := b.Place(i).Zone
					if o < 0 || zone == "" || a.Members[o].Zone == zone {
						continue
					}
					for k, m := range a.Members {
						if share := len(targets) * max(int(m.Capacity), 1) / total; m.Zone == zone && a.Load()[k] < share {
							t.Fatalf("a target in %s is in %s, but %s has only %d of %d", zone, a.Members[o].Zone, m.Name, a.Load()[k], share)
						}
					}
				}
			}
		}
	})
}

// Plain rendezvous moves what it must and nothing else.
func TestConsistentHashingMovesTheLeast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		targets, members := drawTargets(t, rapid.IntRange(0, 300).Draw(t, "n")), drawMembers(t)
		if len(members) == 0 {
			return
		}
		members = sortMembers(members)
		gone := rapid.IntRange(0, len(members)-1).Draw(t, "gone")
		less := append(append([]Member{}, members[:gone]...), members[gone+1:]...)
		for _, m := range less {
			if m.Name == members[gone].Name || m.Seed == "c1" || m.Name == "c1" {
				return // a twin takes over what it had
			}
		}
		p := NewPlan(toJobs(targets, 2), members, less, Rules{Strategy: ConsistentHashing})
		row := PlanRow{}
		for _, r := range p.Rows {
			if r.Name == members[gone].Name {
				row = r
			}
		}
		if p.Needless != 0 || p.Moves != row.Before || row.Gives != row.Before || !row.Leaves {
			t.Fatalf("%d moves, %d needless, %s has had %d", p.Moves, p.Needless, row.Name, row.Before)
		}
	})
}

// The bound that is promised: at 1,000 targets per collector, one more makes at most 1.10 times the moves that are needed, whatever the
// size of jobs; nobody has more than its share; and a job is not heaped on one.
func TestOneMoreCollector(t *testing.T) {
	const k, n, seeds = 10, 10_000, 8
	for _, perJob := range []int{10, 30, 100, 300, 1000, n} {
		t.Run(fmt.Sprint(perJob), func(t *testing.T) {
			moves := 0
			for seed := range uint64(seeds) {
				jobs := randomJobs(rand.New(rand.NewPCG(seed, 7)), n, perJob)
				members := namedMembers(fmt.Sprint("collector-", seed), k+1)
				p := NewPlan(jobs, members[:k], members, Rules{})
				moves += p.Moves
				for _, r := range p.Rows {
					if r.Before > (n+k-1)/k || r.After > (n+k)/(k+1) {
						t.Errorf("seed %d: %+v has more than its share", seed, r)
					}
				}
				checkJobCaps(t, p.Before)
				if d := differ(p.After, NewAssigner().Assign(jobs, members, Rules{})); d != 0 {
					t.Errorf("seed %d: %d targets are elsewhere than after a restart", seed, d)
				}
			}
			ratio := float64(moves) / seeds / (float64(n) / (k + 1))
			t.Logf("%.3f times the moves needed", ratio)
			if ratio > 1.10 {
				t.Errorf("%.3f times the moves needed, want 1.10 at most", ratio)
			}
		})
	}
}

// checkJobCaps wants them to hold but for a few: exact shares come first, so the last targets that look for a place may find that only
// members that have enough of their job have room.
func checkJobCaps(t *testing.T, a *Assignment) {
	t.Helper()
	over := 0
	for _, j := range a.Jobs() {
		n := 0
		load := make([]int, len(a.Members))
		for _, b := range j.Blocks {
			n += b.Len()
			for _, o := range a.Owners(b) {
				load[o]++
			}
		}
		limit, most := jobCap(n, 1, uint64(len(load))), slices.Max(load)
		if most > limit {
			over++
		}
		if most > limit+1+n/25 {
			t.Errorf("%s: a member has %d of %d targets, about %d are allowed", j.Name, most, n, limit)
		}
	}
	if over > 1+len(a.Jobs())/25 {
		t.Errorf("%d of %d jobs are above their caps", over, len(a.Jobs()))
	}
}

// Golden owners: a change here is a change of what is scraped where in every cluster, and needs another name of Algorithm.
func TestGolden(t *testing.T) {
	var out strings.Builder
	members := namedMembers("collector", 7)
	for i := range members {
		members[i].Node, members[i].Zone = fmt.Sprint("node-", i), fmt.Sprint("zone-", i%3)
	}
	uneven := append([]Member(nil), members...)
	uneven[2].Capacity, uneven[5].Capacity = 3, 2
	for _, c := range []struct {
		name    string
		members []Member
		rules   Rules
		classes int
	}{
		{"least-weighted", members, Rules{}, 1},
		{"tolerance", members, Rules{Tolerance: 0.05}, 1},
		{"weights", members, Rules{}, 5},
		{"capacities", uneven, Rules{}, 1},
		{"limit", members, Rules{MaxTargets: 50}, 1},
		{"zones", members, Rules{Zones: true}, 1},
		{"per-node", members, Rules{Strategy: PerNode}, 1},
		{"per-node with zones", members[:4], Rules{Strategy: PerNode, Zones: true}, 2},
		{"consistent-hashing", members, Rules{Strategy: ConsistentHashing}, 1},
		{"consistent-hashing with capacities and limit", uneven, Rules{Strategy: ConsistentHashing, MaxTargets: 70}, 1},
	} {
		fmt.Fprintf(&out, "%s, %s\n", Algorithm, c.name)
		for _, j := range goldenJobs(c.classes) {
			a := NewAssigner().Assign(goldenJobs(c.classes), c.members, c.rules)
			k := a.jobs[0]
			for _, x := range a.jobs {
				if x.Name == j.Name {
					k = x
				}
			}
			fmt.Fprintf(&out, "%s ", j.Name)
			for _, o := range a.Owners(k.Blocks[0]) {
				fmt.Fprintf(&out, "%c", ".0123456789"[o+1])
			}
			out.WriteString("\n")
		}
	}
	golden(t, "hfr1.golden", out.String())
}

func goldenJobs(classes int) []*Job {
	var jobs []*Job
	for j, n := range []int{300, 60, 5} {
		name := fmt.Sprint("serviceMonitor/default/job-", j, "/0")
		entries := make([]Entry, n)
		for i := range entries {
			address := fmt.Sprintf("10.0.%d.%d:8080", j, i)
			entries[i] = Entry{
				ID:    Identity(name, labels.FromStrings("instance", address, "__meta_pod", "is not counted")),
				Key:   Key(name, "http", address, "/metrics", nil),
				Class: uint8(i % classes),
				Place: Place{Node: fmt.Sprint("node-", i%9), Zone: fmt.Sprint("zone-", i%4)},
			}
		}
		jobs = append(jobs, &Job{Name: name, Blocks: []*Block{NewBlock(entries)}})
	}
	return jobs
}

var update = flag.Bool("update", false, "rewrite testdata")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: make it with -update", err)
	}
	if string(want) != got {
		t.Errorf("owners are not those of %s: what changes owners needs another name of Algorithm\n%s", path, got)
	}
}

func TestHashes(t *testing.T) {
	params := []labels.Label{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}}
	key := Key("job", "http", "host:80", "/metrics", params)
	for name, other := range map[string]uint64{
		"job": Key("jo", "bhttp", "host:80", "/metrics", params), "path": Key("job", "http", "host:80", "/", params),
		"scheme": Key("job", "https", "host:80", "/metrics", params), "params": Key("job", "http", "host:80", "/metrics", params[:1]),
	} {
		if other == key {
			t.Errorf("another %s, but the same key", name)
		}
	}
	ls := labels.FromStrings("instance", "x", "job", "j", "__meta_a", "1")
	if Identity("j", ls) != Identity("j", labels.FromStrings("instance", "x", "job", "j", "__meta_b", "2")) {
		t.Error("labels of service discovery have a part in the identity")
	}
	if Identity("j", ls) == Identity("j", labels.FromStrings("instance", "y", "job", "j")) || Identity("j", ls) == Identity("k", ls) {
		t.Error("targets that differ have the same identity")
	}
	if n := testing.AllocsPerRun(100, func() { Key("job", "http", "host:80", "/metrics", params); Identity("j", ls) }); n != 0 {
		t.Errorf("hashing allocates %v times", n)
	}
}
