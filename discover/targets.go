package discover

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"

	"github.com/otelier/otelier/allocate"
)

// TargetsOptions is what NewTargets needs.
type TargetsOptions struct {
	// Filter leaves targets out that relabelling drops. Without it they are allocated as they are, and the collector drops them.
	Filter bool
	// Publish gets the complete picture, sorted by name: first when every job has told what it has, or has had its time, and then with
	// every change. A job that has not told is Unknown. Jobs and blocks that have not changed are the same pointers as before. One
	// goroutine calls it.
	Publish func(jobs []*allocate.Job)
	// Lag is told after each Publish how long ago the first of the changes was noticed that it was about. May be nil.
	Lag func(time.Duration)
	// Log; nil for none.
	Log *slog.Logger
	// Clock; nil for that of the providers.
	Clock clock.Clock
	// Deadline is how long the first picture waits for a job to tell what it has, and from when on it is a problem that it has not; 0 for twice its longest refresh interval, of 10 s to 60 s.
	Deadline time.Duration
}

// Targets turns the jobs of one pool into targets.
type Targets struct {
	opts      TargetsOptions
	providers *Providers
	wake      chan struct{}
	status    atomic.Pointer[Status]

	mu     sync.Mutex
	wanted []Job
	news   bool
	marked map[*state]struct{}

	// The rest is of the goroutine of Run.
	jobs      map[string]*entry
	pending   coalescer
	known     bool // SetJobs has been called
	published []*allocate.Job
	warm      bool
	stale     bool // status is
}

// entry is a job: the configuration that is in use, and the one that will be when it knows its targets.
type entry struct{ current, next *state }

// NewTargets prepares one pool's. Nothing runs before Run.
func (ps *Providers) NewTargets(opts TargetsOptions) *Targets {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Clock == nil {
		opts.Clock = ps.opts.Clock
	}
	t := &Targets{
		opts: opts, providers: ps, wake: make(chan struct{}, 1), jobs: map[string]*entry{}, marked: map[*state]struct{}{},
	}
	t.status.Store(&Status{Waiting: []string{"the list of jobs"}})
	return t
}

// SetJobs says which jobs there are: all of them. A job with the Hash, Weight and Source that it had is left alone.
func (t *Targets) SetJobs(jobs []Job) {
	t.mu.Lock()
	t.wanted = slices.Clone(jobs)
	t.news = true
	t.mu.Unlock()
	t.poke()
}

func (t *Targets) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *Targets) mark(s *state) {
	t.mu.Lock()
	t.marked[s] = struct{}{}
	t.mu.Unlock()
	t.poke()
}

// Run discovers and publishes until ctx is done.
func (t *Targets) Run(ctx context.Context) error {
	defer t.close()
	timer := t.opts.Clock.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		t.step()
		timer.Stop()
		if d, ok := t.next(); ok {
			timer = t.opts.Clock.NewTimer(d)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
		case <-timer.C():
		}
	}
}

func (t *Targets) close() {
	for _, e := range t.jobs {
		e.current.close(t.providers)
		if e.next != nil {
			e.next.close(t.providers)
		}
	}
}

// step takes in what is new, and publishes when it is time.
func (t *Targets) step() {
	t.mu.Lock()
	jobs, news, marked := t.wanted, t.news, t.marked
	t.wanted, t.news, t.marked = nil, false, map[*state]struct{}{}
	t.mu.Unlock()
	if news {
		t.setJobs(jobs)
	}
	for s := range marked {
		t.stale = true
		if s.update() && s.reported {
			t.pending.touch(t.opts.Clock.Now())
		}
	}
	t.settle()
	now := t.opts.Clock.Now()
	if t.warm {
		if due := t.pending.due(); !due.IsZero() && !due.After(now) {
			t.publish()
		}
	} else if t.known && len(t.unsettled()) == 0 {
		t.warm = true
		t.publish()
	}
	t.report()
}

// next is how long nothing has to be done unless something happens.
func (t *Targets) next() (time.Duration, bool) {
	var at time.Time
	if t.warm {
		at = t.pending.due()
	}
	for _, s := range t.unsettled() {
		if at.IsZero() || s.deadline.Before(at) {
			at = s.deadline
		}
	}
	if at.IsZero() {
		return 0, false
	}
	return max(at.Sub(t.opts.Clock.Now()), 0), true
}

// setJobs starts and ends configurations.
func (t *Targets) setJobs(jobs []Job) {
	t.known, t.stale = true, true
	now := t.opts.Clock.Now()
	gone := maps.Clone(t.jobs)
	for i := range jobs {
		job := &jobs[i]
		name := job.Config.JobName
		e, ok := t.jobs[name]
		if !ok {
			t.jobs[name] = &entry{current: t.start(job, now)}
			t.pending.touch(now)
			continue
		}
		if _, first := gone[name]; !first {
			t.opts.Log.Error("two jobs have the same name", "job", name, "left_out", job.Source)
			continue
		}
		delete(gone, name)
		e.change(t, job, now)
	}
	for name, e := range gone {
		e.current.close(t.providers)
		if e.next != nil {
			e.next.close(t.providers)
		}
		delete(t.jobs, name)
		t.pending.touch(now)
	}
}

// change gives a job a new configuration, unless it is the one that it has.
func (e *entry) change(t *Targets, job *Job, now time.Time) {
	if e.next != nil {
		if e.next.job.same(job) {
			return
		}
		e.next.close(t.providers)
		e.next = nil
	}
	if !e.current.job.same(job) {
		e.next = t.start(job, now)
	}
}

func (j *Job) same(o *Job) bool {
	return j.Hash == o.Hash && j.Weight == o.Weight && j.Source == o.Source
}

func (t *Targets) start(job *Job, now time.Time) *state {
	d := t.opts.Deadline
	if d == 0 {
		d = deadline(job.Config.ServiceDiscoveryConfigs)
	}
	s := newState(t.providers, job, t.opts.Filter, t.mark, now.Add(d))
	s.update()
	return s
}

// settle notes who has had its time, and lets new configurations take over.
func (t *Targets) settle() {
	now := t.opts.Clock.Now()
	for _, e := range t.jobs {
		for _, s := range []*state{e.current, e.next} {
			if s == nil || s.settled {
				continue
			}
			if s.late = !s.reported && (s.refused() || !s.deadline.After(now)); s.late {
				t.opts.Log.Warn("a job has not told all its targets in time", "job", s.job.Config.JobName, "source", s.job.Source,
					"error", s.problem())
			}
			if s.settled = s.reported || s.late; s.settled {
				t.stale = true
				t.pending.touch(now)
			}
		}
		if n := e.next; n != nil && (n.reported || !e.current.known() || n.known() && !e.current.reported) {
			n.inherit(e.current)
			e.current.close(t.providers)
			e.current, e.next = n, nil
			t.stale = true
			t.pending.touch(now)
		}
	}
}

// unsettled are those that may still report in time.
func (t *Targets) unsettled() []*state {
	var out []*state
	for _, e := range t.jobs {
		for _, s := range []*state{e.current, e.next} {
			if s != nil && !s.settled {
				out = append(out, s)
			}
		}
	}
	return out
}

// publish makes the picture and hands it on, if it is another one.
func (t *Targets) publish() {
	first := t.pending.first
	t.pending.reset()
	jobs := make([]*allocate.Job, 0, len(t.jobs))
	for _, e := range t.jobs {
		jobs = append(jobs, e.current.build())
	}
	slices.SortFunc(jobs, func(a, b *allocate.Job) int { return cmp.Compare(a.Name, b.Name) })
	if t.published != nil && slices.Equal(jobs, t.published) {
		return
	}
	t.published = jobs
	t.opts.Publish(slices.Clone(jobs))
	if t.opts.Lag != nil && !first.IsZero() {
		t.opts.Lag(t.opts.Clock.Since(first))
	}
}

// Waiting lists the jobs that have not told their targets yet, and why, as far as that is known. It is bounded.
func (t *Targets) Waiting() []string { return t.status.Load().Waiting }

// Status is how far discovery is, as of the last change.
func (t *Targets) Status() Status { return *t.status.Load() }

func (t *Targets) report() {
	if !t.stale {
		return
	}
	t.stale = false
	st := Status{Warm: t.warm}
	if !t.known {
		st.Waiting = []string{"the list of jobs"}
	}
	for _, name := range slices.Sorted(maps.Keys(t.jobs)) {
		t.jobs[name].report(&st)
	}
	if n := len(st.Waiting) - maxListed; n > 0 {
		st.Waiting = append(st.Waiting[:maxListed:maxListed], fmt.Sprintf("and %d more", n))
	}
	t.status.Store(&st)
}
