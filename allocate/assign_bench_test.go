package allocate

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// randomJobs are n targets with random keys in jobs of perJob.
func randomJobs(rnd *rand.Rand, n, perJob int) []*Job {
	var jobs []*Job
	for at := 0; at < n; at += perJob {
		entries := make([]Entry, min(perJob, n-at))
		for i := range entries {
			entries[i] = Entry{ID: rnd.Uint64(), Key: rnd.Uint64()}
		}
		jobs = append(jobs, &Job{Name: fmt.Sprintf("job-%07d", len(jobs)), Blocks: blocks(entries, 4096)})
	}
	return jobs
}

// blocks cuts entries into blocks of about that size, by identity.
func blocks(entries []Entry, size int) []*Block {
	n := (len(entries) + size - 1) / size
	parts := make([][]Entry, max(n, 1))
	for _, e := range entries {
		i := int(e.ID % uint64(len(parts)))
		parts[i] = append(parts[i], e)
	}
	out := make([]*Block, len(parts))
	for i, p := range parts {
		out[i] = NewBlock(p)
	}
	return out
}

func namedMembers(prefix string, n int) []Member {
	out := make([]Member, n)
	for i := range out {
		out[i] = Member{Name: fmt.Sprintf("%s-%d", prefix, i)}
	}
	return out
}

// replaceOne gives a job another target in place of one of its.
func replaceOne(rnd *rand.Rand, jobs []*Job) []*Job {
	out := append([]*Job(nil), jobs...)
	i := rnd.IntN(len(out))
	j := *out[i]
	j.Blocks = append([]*Block(nil), j.Blocks...)
	k := rnd.IntN(len(j.Blocks))
	b := j.Blocks[k]
	entries := []Entry{{ID: rnd.Uint64(), Key: rnd.Uint64()}}
	for x := 1; x < b.Len(); x++ {
		entries = append(entries, Entry{ID: b.IDs()[x], Key: b.Keys()[x]})
	}
	j.Blocks[k] = NewBlock(entries)
	out[i] = &j
	return out
}

func BenchmarkAssign(b *testing.B) {
	for _, s := range []struct{ targets, members, perJob int }{
		{100_000, 50, 100}, {100_000, 100, 100}, {1_000_000, 100, 100}, {1_000_000, 1000, 100}, {1_000_000, 1000, 1_000_000},
	} {
		rnd := rand.New(rand.NewPCG(1, 2))
		jobs := randomJobs(rnd, s.targets, s.perJob)
		members := namedMembers("collector", s.members+1)
		few := members[:s.members]
		name := func(what string) string { return fmt.Sprintf("%s/%dx%d/job=%d", what, s.targets, s.members, s.perJob) }
		b.Run(name("initial"), func(b *testing.B) {
			for b.Loop() {
				NewAssigner().Assign(jobs, few, Rules{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*s.targets), "ns/target")
		})
		b.Run(name("one-more-collector"), func(b *testing.B) {
			a := NewAssigner()
			for b.Loop() {
				b.StopTimer()
				a.Assign(jobs, few, Rules{})
				b.StartTimer()
				a.Assign(jobs, members, Rules{})
			}
		})
		b.Run(name("one-target-replaced"), func(b *testing.B) {
			a := NewAssigner()
			a.Assign(jobs, few, Rules{})
			for b.Loop() {
				b.StopTimer()
				next := replaceOne(rnd, jobs)
				b.StartTimer()
				a.Assign(next, few, Rules{})
			}
		})
		b.Run(name("no-change"), func(b *testing.B) {
			a := NewAssigner()
			a.Assign(jobs, few, Rules{})
			for b.Loop() {
				a.Assign(jobs, few, Rules{})
			}
		})
	}
}
