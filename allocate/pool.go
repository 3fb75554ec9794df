package allocate

import (
	"cmp"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/utils/clock"
)

// PoolOptions are what a pool is made of. The zero value is a pool that stands alone, with the default rules.
type PoolOptions struct {
	// Name is NAMESPACE/NAME, or empty for a pool that stands alone at the root of its server.
	Name  string
	Rules Rules
	// Log; slog.Default() when nil.
	Log *slog.Logger
	// Clock; the real one when nil.
	Clock clock.PassiveClock
	// Metrics that speak for the pool until it is closed; none when nil.
	Metrics *Metrics
	// Polled is called with each collector_id that asks for targets, whether it is a member or not and also before the pool is ready, on
	// the path of the request: it must be quick and safe for several goroutines. May be nil.
	Polled func(collectorID string)
	// Waiting says what the pool waits for until it is ready, for people. May be nil.
	Waiting func() string
	// Relabel says what becomes of a target's labels, for the page: nothing else depends on it. May be nil.
	Relabel func(job string, before labels.Labels) (after labels.Labels, kept bool)
}

// Pool is a set of collectors that share the targets of a set of jobs. Its methods are safe for several goroutines; those that change it
// do the work themselves, and those that read never wait.
type Pool struct {
	options PoolOptions

	mu        sync.Mutex // for what is below
	assigner  *Assigner
	jobs      []*Job
	members   []Member
	rules     Rules
	jobsKnown bool
	known     bool // members

	snapshot   atomic.Pointer[Snapshot] // nil until the pool is ready
	withheld   atomic.Int64
	discovered atomic.Int64  // -1 until it was said
	searches   chan struct{} // one at a time
	buffers    buffers
}

// NewPool returns a pool that is not ready: it serves nothing before it knows its jobs and its members.
func NewPool(options PoolOptions) *Pool {
	if options.Log == nil {
		options.Log = slog.Default()
	}
	if options.Clock == nil {
		options.Clock = clock.RealClock{}
	}
	p := &Pool{options: options, rules: options.Rules, assigner: NewAssigner(), searches: make(chan struct{}, 1)}
	p.discovered.Store(-1)
	if options.Metrics != nil {
		options.Metrics.add(p)
	}
	return p
}

// Close ends the pool's metrics.
func (p *Pool) Close() {
	if p.options.Metrics != nil {
		p.options.Metrics.remove(p)
	}
}

// SetJobs is the complete picture of the jobs. It must not be called before there is one. Of jobs with the same name the first one stays.
func (p *Pool) SetJobs(jobs []*Job) {
	byName := func(a, b *Job) int { return cmp.Compare(a.Name, b.Name) }
	jobs = slices.Clone(jobs)
	slices.SortStableFunc(jobs, byName)
	jobs = slices.CompactFunc(jobs, func(a, b *Job) bool { return a.Name == b.Name })
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.jobsKnown && slices.Equal(jobs, p.jobs) {
		return
	}
	p.jobs, p.jobsKnown = jobs, true
	p.assign("SetTargets")
}

// SetMembers is the complete picture of the members. It must not be called before there is one.
func (p *Pool) SetMembers(members []Member) {
	byName := func(a, b Member) int { return cmp.Compare(a.Name, b.Name) }
	members = slices.Clone(members)
	slices.SortStableFunc(members, byName)
	members = slices.CompactFunc(members, func(a, b Member) bool { return a.Name == b.Name })
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known && slices.Equal(members, p.members) {
		return
	}
	p.members, p.known = members, true
	p.assign("SetCollectors")
}

// SetRules replaces the rules of PoolOptions.
func (p *Pool) SetRules(r Rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rules == r {
		return
	}
	p.rules = r
	p.assign("SetRules")
}

// SetWithheld says how many jobs are left out, or have targets that are, for metrics and the page.
func (p *Pool) SetWithheld(jobs int) { p.withheld.Store(int64(jobs)) }

// SetDiscovered says how many collectors there are, members or not yet, for metrics. Until then it is the number of members.
func (p *Pool) SetDiscovered(collectors int) { p.discovered.Store(int64(collectors)) }

// assign publishes a new snapshot if the pool is ready for it. method is for metrics. The caller holds mu.
func (p *Pool) assign(method string) {
	if !p.jobsKnown || !p.known {
		return
	}
	start := p.options.Clock.Now()
	a := p.assigner.Assign(p.jobs, p.members, p.rules)
	last := p.snapshot.Load()
	s := newSnapshot(p.jobs, p.rules, a, last)
	p.snapshot.Store(s)
	took := p.options.Clock.Since(start)
	if p.options.Metrics != nil {
		p.options.Metrics.assigned(method, s.strategy(), took)
	}
	say := p.options.Log.Debug
	if last == nil || a.Moved > 0 || a.Unassigned != last.Assignment.Unassigned {
		say = p.options.Log.Info
	}
	say("targets assigned", "pool", p.options.Name, "jobs", len(s.Jobs), "unknown", s.unknowns, "targets", s.total, "collectors", len(a.Members),
		"moved", a.Moved, "unassigned", a.Unassigned, "took", took.Round(time.Microsecond))
}

// Ready tells whether jobs and members are known.
func (p *Pool) Ready() bool { return p.snapshot.Load() != nil }

// Snapshot is the pool as it is now, or nil while it is not ready.
func (p *Pool) Snapshot() *Snapshot { return p.snapshot.Load() }

// Handler serves the pool: see Server for the paths.
func (p *Pool) Handler() http.Handler {
	page := newPage()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if acceptable(w, r) {
			p.serve(w, r, r.URL.EscapedPath(), page)
		}
	})
}

// root is the path below which a Server serves the pool, without a slash at its end.
func (p *Pool) root() string {
	if p.options.Name == "" {
		return ""
	}
	return "/pools/" + p.options.Name
}
