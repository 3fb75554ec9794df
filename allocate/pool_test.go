package allocate

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func testJob(name string, blocks ...*Block) *Job {
	return &Job{Name: name, Config: fmt.Appendf(nil, `{"job_name":%s}`, appendQuoted(nil, name)), Blocks: blocks, Source: "static/" + name}
}

func testMembers(n int) []Member {
	out := make([]Member, n)
	for i := range out {
		out[i] = Member{Name: fmt.Sprintf("collector-%03d", i), Seed: fmt.Sprintf("collector-%03d", i)}
	}
	return out
}

// readyPool has jobs and members.
func readyPool(t testing.TB, options PoolOptions, members int, jobs ...*Job) *Pool {
	t.Helper()
	if options.Log == nil {
		options.Log = quiet()
	}
	p := NewPool(options)
	t.Cleanup(p.Close)
	p.SetMembers(testMembers(members))
	p.SetJobs(jobs)
	return p
}

func ask(h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, http.NoBody)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPoolIsReadyWhenJobsAndMembersAreKnown(t *testing.T) {
	for _, first := range []string{"jobs", "members"} {
		p := NewPool(PoolOptions{Log: quiet()})
		set := []func(){func() { p.SetJobs(nil) }, func() { p.SetMembers(nil) }}
		if first == "members" {
			slices.Reverse(set)
		}
		for i, f := range set {
			if p.Ready() || p.Snapshot() != nil {
				t.Fatalf("with %s first, the pool is ready after %d of 2", first, i)
			}
			f()
		}
		if !p.Ready() || p.Snapshot().Generation != 1 {
			t.Fatalf("with %s first, the pool is not ready", first)
		}
	}
}

func TestPoolDoesNothingWhenNothingChanges(t *testing.T) {
	job := testJob("a", NewBlock(podEntries(10)))
	p := readyPool(t, PoolOptions{}, 3, job)
	s := p.Snapshot()
	p.SetJobs([]*Job{job})
	p.SetMembers(testMembers(3))
	p.SetRules(Rules{})
	if p.Snapshot() != s {
		t.Fatal("the same jobs, members and rules made another snapshot")
	}
	p.SetJobs([]*Job{job, testJob("b", NewBlock(podEntriesFrom(10, 10)))})
	if n := p.Snapshot(); n.Generation != s.Generation+1 || n.view("a") != s.view("a") && stillTrue(s.view("a"), job, s.Assignment, n.Assignment) {
		t.Fatalf("generation is %d after %d, or the list of a job whose targets stay was made anew", n.Generation, s.Generation)
	}
}

func TestPoolCountsMoves(t *testing.T) {
	p := readyPool(t, PoolOptions{}, 4, testJob("a", NewBlock(podEntries(1000))))
	if moved := p.Snapshot().Moved; moved != 0 {
		t.Fatalf("%d targets have moved at the start", moved)
	}
	before := p.Snapshot()
	p.SetRules(Rules{Strategy: ConsistentHashing})
	after := p.Snapshot()
	want := 0
	b := before.Jobs[0].Blocks[0]
	for i, owner := range before.Assignment.Owners(b) {
		if after.Assignment.Owners(b)[i] != owner {
			want++
		}
	}
	if want == 0 || int(after.Moved) != want {
		t.Fatalf("%d targets have moved, %d are counted", want, after.Moved)
	}
}

// poolStep changes a pool.
type poolStep struct {
	jobs    []*Job
	members []Member
	rules   Rules
}

func drawJobs(t *rapid.T) []*Job {
	var jobs []*Job
	for j := range rapid.IntRange(0, 4).Draw(t, "jobs") {
		from, n := rapid.IntRange(0, 40).Draw(t, "from"), rapid.IntRange(0, 60).Draw(t, "targets")
		all := podEntriesFrom(1000*j+from, n)
		jobs = append(jobs, testJob(fmt.Sprint("job/", j), cutBlocks(t, all)...))
	}
	return jobs
}

// cutBlocks makes blocks of entries, some of which do not ascend.
func cutBlocks(t *rapid.T, all []Entry) []*Block {
	var blocks []*Block
	for len(all) > 0 {
		n := rapid.IntRange(1, len(all)).Draw(t, "cut")
		blocks = append(blocks, NewBlock(all[:n]))
		all = all[n:]
	}
	return blocks
}

// everything that a pool answers.
func everything(p *Pool) string {
	h, s := p.Handler(), p.Snapshot()
	paths := []string{"/scrape_configs", "/jobs"}
	for j := range 5 {
		job := fmt.Sprintf("/jobs/job%%2F%d/targets", j)
		paths = append(paths, job)
		for _, m := range s.Assignment.Members {
			paths = append(paths, job+"?collector_id="+m.Name)
		}
	}
	var out strings.Builder
	for _, path := range paths {
		w := ask(h, path)
		fmt.Fprintln(&out, path, w.Code, w.Header().Get("ETag"), w.Header().Get("Content-Length"), w.Body.Len(), w.Body)
	}
	return out.String()
}

// A pool that has seen changes answers what one answers that has just begun, however its targets are cut into blocks.
func TestAnswersDoNotDependOnHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := NewPool(PoolOptions{Log: quiet()})
		var last poolStep
		for range rapid.IntRange(1, 5).Draw(t, "steps") {
			last = poolStep{
				jobs: drawJobs(t), members: testMembers(rapid.IntRange(0, 5).Draw(t, "members")),
				rules: Rules{Strategy: rapid.SampledFrom([]Strategy{"", LeastWeighted, ConsistentHashing, PerNode}).Draw(t, "strategy"), MaxTargets: rapid.SampledFrom([]int{0, 0, 10}).Draw(t, "max")},
			}
			p.SetJobs(last.jobs)
			p.SetMembers(last.members)
			p.SetRules(last.rules)
			checkLists(t, p.Snapshot())
		}
		fresh := NewPool(PoolOptions{Log: quiet(), Rules: last.rules})
		var again []*Job
		for _, job := range last.jobs {
			var all []Entry
			for _, b := range job.Blocks {
				for i := range b.Len() {
					all = append(all, Entry{ID: b.IDs()[i], Key: b.Keys()[i], Place: b.Place(i), Class: b.Class(i), Labels: b.Labels(i)})
				}
			}
			again = append(again, testJob(job.Name, cutBlocks(t, all)...))
		}
		fresh.SetMembers(last.members)
		fresh.SetJobs(again)
		if got, want := everything(p), everything(fresh); got != want {
			t.Fatalf("answers are\n%s\nthose of a fresh pool are\n%s", got, want)
		}
	})
}

// checkLists against the assignment.
func checkLists(t *rapid.T, s *Snapshot) {
	for _, job := range s.Jobs {
		v := s.view(job.Name)
		have := map[uint64]string{}
		for _, m := range s.Assignment.Members {
			last := uint64(0)
			for k, ref := range s.list(job.Name, m.Name).refs {
				b, i := v.locate(ref)
				id := b.IDs()[i]
				if k > 0 && id <= last {
					t.Fatalf("job %s: targets of %s are not sorted", job.Name, m.Name)
				}
				last = id
				if other, twice := have[id]; twice {
					t.Fatalf("job %s: target %x is on %s and %s", job.Name, id, other, m.Name)
				}
				have[id] = m.Name
			}
		}
		total, unassigned := 0, 0
		for _, b := range job.Blocks {
			for i, owner := range s.Assignment.Owners(b) {
				total++
				want := ""
				if owner == Nobody {
					unassigned++
				} else {
					want = s.Assignment.Members[owner].Name
				}
				if got := have[b.IDs()[i]]; got != want {
					t.Fatalf("job %s: target %x is in the list of %q, its owner is %q", job.Name, b.IDs()[i], got, want)
				}
			}
		}
		if v.total() != total || v.unassigned != unassigned || len(have) != total-unassigned {
			t.Fatalf("job %s: total %d, unassigned %d, listed %d; want %d, %d", job.Name, v.total(), v.unassigned, len(have), total, unassigned)
		}
	}
}

func TestPollsAreSeen(t *testing.T) {
	var asked []string
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	p := NewPool(PoolOptions{Log: quiet(), Clock: clock, Polled: func(id string) { asked = append(asked, id) }})
	h := p.Handler()
	ask(h, "/jobs/a/targets?collector_id=collector-000") // before it is ready
	p.SetJobs([]*Job{testJob("a", NewBlock(podEntries(10)))})
	p.SetMembers(testMembers(2))
	ask(h, "/jobs/a/targets?collector_id=collector-001")
	ask(h, "/jobs/a/targets?collector_id=stranger")
	ask(h, "/jobs/a/targets?collector_id="+strings.Repeat("x", maxID+1))
	ask(h, "/jobs/a/targets")
	if want := []string{"collector-000", "collector-001", "stranger"}; !slices.Equal(asked, want) {
		t.Fatalf("polled by %q, want %q", asked, want)
	}
	p.SetMembers(testMembers(3)) // polls stay known
	s := p.Snapshot()
	if !s.LastPoll(0).IsZero() || !s.LastPoll(1).Equal(clock.Now()) || !s.LastPoll(2).IsZero() {
		t.Fatalf("last polls are %v, %v and %v", s.LastPoll(0), s.LastPoll(1), s.LastPoll(2))
	}
}

// get over a real connection.
func get(t testing.TB, client *http.Client, url string) (status int, header http.Header, body []byte) {
	t.Helper()
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if body, err = io.ReadAll(r.Body); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header, body
}

func lbls(values ...string) labels.Labels { return labels.FromStrings(values...) }

func TestEmptyBlocksInJobs(t *testing.T) {
	empty := NewBlock(nil)
	for _, s := range []Strategy{LeastWeighted, ConsistentHashing, PerNode} {
		p := readyPool(t, PoolOptions{Rules: Rules{Strategy: s}}, 2, testJob("a", empty, NewBlock(podEntries(10)), empty), testJob("b", empty))
		want := ask(p.Handler(), "/jobs/a/targets").Body.String()
		p.SetJobs([]*Job{testJob("a", NewBlock(podEntries(10)), empty), testJob("b", empty, empty)})
		p.SetMembers(testMembers(3))
		p.SetMembers(testMembers(2))
		if got := ask(p.Handler(), "/jobs/a/targets").Body.String(); got != want {
			t.Errorf("%s: with empty blocks elsewhere, targets are %s, want %s", s, got, want)
		}
		if got := ask(p.Handler(), "/jobs").Body.String(); got != `{"a":{"_link":"/jobs/a/targets"}}` {
			t.Errorf("%s: jobs are %s", s, got)
		}
	}
}
