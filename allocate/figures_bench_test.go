package allocate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// BenchmarkFigures measures what the rules promise, as metrics. Percentages are of all targets; optimum is what one more collector has
// to get.
func BenchmarkFigures(b *testing.B) {
	for _, size := range []struct{ n, k int }{{10_000, 10}, {10_000, 100}, {30_000, 30}, {100_000, 10}, {100_000, 100}} {
		for _, rule := range []struct {
			name  string
			rules Rules
		}{
			{"rendezvous", Rules{Strategy: ConsistentHashing}},
			{"home-first", Rules{}},
			{"home-first+2%", Rules{Tolerance: 0.02}},
			{"home-first+5%", Rules{Tolerance: 0.05}},
		} {
			b.Run(fmt.Sprintf("%dx%d/%s", size.n, size.k, rule.name), func(b *testing.B) {
				sums := figures{}
				runs := 0
				for b.Loop() {
					sums.measure(size.n, size.k, uint64(runs), rule.rules)
					runs++
				}
				sums.report(b, float64(runs))
			})
		}
	}
}

// figures by name, summed up over runs.
type figures map[string]float64

func (f figures) report(b *testing.B, runs float64) {
	b.ReportMetric(0, "ns/op")
	for name, sum := range f {
		b.ReportMetric(sum/runs, name)
	}
}

// scene is a pool over time, with its targets as they are now.
type scene struct {
	rnd   *rand.Rand
	jobs  [][]Entry
	rules Rules
	a     *Assigner
}

func newScene(n, perJob int, seed uint64, rules Rules) *scene {
	s := &scene{rnd: rand.New(rand.NewPCG(seed, 11)), rules: rules, a: NewAssigner()}
	for range n / perJob {
		s.jobs = append(s.jobs, s.fresh(perJob))
	}
	return s
}

func (s *scene) fresh(n int) []Entry {
	out := make([]Entry, n)
	for i := range out {
		out[i] = Entry{ID: s.rnd.Uint64(), Key: s.rnd.Uint64()}
	}
	return out
}

func (s *scene) assign(a *Assigner, members []Member) *Assignment {
	jobs := make([]*Job, len(s.jobs))
	for i, entries := range s.jobs {
		jobs[i] = &Job{Name: fmt.Sprintf("job-%05d", i), Blocks: []*Block{NewBlock(entries)}}
	}
	return a.Assign(jobs, members, s.rules)
}

// churn removes and adds that many targets of random jobs.
func (s *scene) churn(remove, add int) {
	for range remove {
		j := s.rnd.IntN(len(s.jobs))
		if e := s.jobs[j]; len(e) > 0 {
			i := s.rnd.IntN(len(e))
			e[i] = e[len(e)-1]
			s.jobs[j] = e[:len(e)-1]
		}
	}
	for range add {
		j := s.rnd.IntN(len(s.jobs))
		s.jobs[j] = append(s.jobs[j], s.fresh(1)...)
	}
}

func (f figures) measure(n, k int, seed uint64, rules Rules) {
	s := newScene(n, 100, seed, rules)
	members := namedMembers(fmt.Sprint("collector-", seed), k+1)
	percent := func(x int) float64 { return 100 * float64(x) / float64(n) }
	first := s.assign(s.a, members[:k])
	f["max/mean"] += float64(slices.Max(first.Load())) * float64(k) / float64(n)
	f["min/mean"] += float64(slices.Min(first.Load())) * float64(k) / float64(n)
	spread := 0
	for _, j := range first.Jobs() {
		spread += mostOf(first, j)
	}
	f["job-max"] += float64(spread) / float64(len(s.jobs))
	more := s.assign(s.a, members)
	i := slices.IndexFunc(more.Members, func(m Member) bool { return m.Name == members[k].Name })
	f["+1-%"] += percent(more.Moved + more.Load()[i])
	f["+1-ratio"] += float64(more.Moved+more.Load()[i]) * float64(k+1) / float64(n)
	fewer := members[1:]
	i = slices.IndexFunc(more.Members, func(m Member) bool { return m.Name == members[0].Name })
	gone := more.Load()[i]
	less := s.assign(s.a, fewer)
	f["-1-%"] += percent(less.Moved + gone)
	s.churn(0, n/100)
	f["+1%-others-%"] += percent(s.assign(s.a, fewer).Moved)
	s.churn(n/100, n/100)
	f["churn-others-%"] += percent(s.assign(s.a, fewer).Moved)
	others := 0
	for range 20 {
		s.churn(1, 1)
		others += s.assign(s.a, fewer).Moved
	}
	f["others/replaced"] += float64(others) / 20
	now := s.a.last
	f["restart-%"] += percent(differ(now, s.assign(NewAssigner(), fewer)))
	s.rnd.Shuffle(len(fewer), func(i, j int) { fewer[i], fewer[j] = fewer[j], fewer[i] })
	f["replicas-%"] += percent(differ(now, s.assign(NewAssigner(), fewer)))
	s.churn(n/1000, 0)
	f["skew-%"] += percent(differ(now, s.assign(NewAssigner(), fewer)))
}

func mostOf(a *Assignment, j *Job) int {
	load := make([]int, len(a.Members))
	for _, b := range j.Blocks {
		for _, o := range a.Owners(b) {
			load[o]++
		}
	}
	return slices.Max(load)
}

// differ counts the targets of both that are on another member.
func differ(a, b *Assignment) int {
	n := 0
	then := owners(a)
	for id, o := range owners(b) {
		if was, ok := then[id]; ok && was != o {
			n++
		}
	}
	return n
}

// BenchmarkWeights measures the balance of weights: log-normal ones, and of 2,000 targets one giant.
func BenchmarkWeights(b *testing.B) {
	for _, size := range []struct{ n, k int }{{10_000, 10}, {10_000, 100}, {100_000, 10}, {100_000, 100}} {
		for _, tolerance := range []float64{0, 0.05, 0.10} {
			b.Run(fmt.Sprintf("%dx%d/+%g%%", size.n, size.k, 100*tolerance), func(b *testing.B) {
				sums := figures{}
				runs := 0
				for b.Loop() {
					sums.weigh(size.n, size.k, uint64(runs), Rules{Tolerance: tolerance})
					runs++
				}
				sums.report(b, float64(runs))
			})
		}
	}
}

func (f figures) weigh(n, k int, seed uint64, rules Rules) {
	s := newScene(n, 100, seed, rules)
	sum, giant := 0.0, 0.0
	series := map[uint64]float64{}
	for _, entries := range s.jobs {
		for i := range entries {
			w := 1000 * math.Exp(1.5*s.rnd.NormFloat64())
			if s.rnd.IntN(2000) == 0 {
				w = 200_000 + 300_000*s.rnd.Float64()
			}
			entries[i].Class = uint8(max(0, math.Round(math.Log2(w))))
			series[entries[i].ID] = w
			sum += w
			giant = max(giant, w)
		}
	}
	members := namedMembers(fmt.Sprint("collector-", seed), k+1)
	first := s.assign(s.a, members[:k])
	load := make([]float64, k)
	for _, j := range first.Jobs() {
		for _, b := range j.Blocks {
			for i, o := range first.Owners(b) {
				load[o] += series[b.IDs()[i]]
			}
		}
	}
	total, most := uint64(0), slices.Max(first.Weights())
	for _, w := range first.Weights() {
		total += w
	}
	f["bound"] += max(1, giant*float64(k)/sum)
	f["max/mean"] += float64(most) * float64(k) / float64(total)
	f["series-max/mean"] += slices.Max(load) * float64(k) / sum
	more := s.assign(s.a, members)
	i := slices.IndexFunc(more.Members, func(m Member) bool { return m.Name == members[k].Name })
	f["+1-%"] += 100 * float64(more.Moved+more.Load()[i]) / float64(n)
}
