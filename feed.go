package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/utils/clock"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/discover"
)

// clash is a job that is left out because there is another one of its name.
type clash struct{ Job, Source, Other string }

// combined is what the jobs of a pool come to.
type combined struct {
	Jobs     []discover.Job
	Clashes  []clash
	Withheld []discover.Job // left out because they hold secrets, and the channel to the collectors is not trusted
}

// combine puts lists of jobs together. Of those with the same name the first one stays.
func combine(secrets bool, lists ...[]discover.Job) combined {
	var out combined
	first := map[string]string{}
	for _, list := range lists {
		for _, job := range list {
			name := job.Config.JobName
			if other, taken := first[name]; taken {
				out.Clashes = append(out.Clashes, clash{name, job.Source, other})
				continue
			}
			first[name] = job.Source
			if job.Secret && !secrets {
				out.Withheld = append(out.Withheld, job)
				continue
			}
			out.Jobs = append(out.Jobs, job)
		}
	}
	return out
}

// feedOptions are what a feed is made of.
type feedOptions struct {
	Providers *discover.Providers
	// Publish gets the jobs with their targets.
	Publish func([]*allocate.Job)
	// Withheld gets the number of jobs that are left out because of secrets or of their names. May be nil.
	Withheld func(int)
	// Lag gets how long it took from the first change that was noticed until it was published; may be nil.
	Lag func(time.Duration)
	// Filter leaves targets out that relabelling drops.
	Filter bool
	// Secrets lets jobs that hold some out.
	Secrets bool
	// Monitors is true when there will be jobs of monitors too.
	Monitors bool
	// MonitorsWait lists what the jobs of monitors are not known for; may be nil.
	MonitorsWait func() []string
	Log          *slog.Logger
	Clock        clock.Clock
}

// feed brings the jobs of one pool to its targets, and these to the pool: not before all of them are known.
type feed struct {
	o       feedOptions
	targets *discover.Targets

	mu         sync.Mutex
	own        []discover.Job
	monitors   []discover.Job
	knowOwn    bool
	knowOthers bool
	secrets    bool
	last       combined
}

func newFeed(o feedOptions) *feed {
	f := &feed{o: o, knowOthers: !o.Monitors, secrets: o.Secrets}
	f.targets = o.Providers.NewTargets(discover.TargetsOptions{Filter: o.Filter, Publish: o.Publish, Lag: o.Lag, Log: o.Log, Clock: o.Clock})
	return f
}

// Run discovers until ctx ends.
func (f *feed) Run(ctx context.Context) error { return f.targets.Run(ctx) }

// setOwn takes the jobs that are written down somewhere: all of them.
func (f *feed) setOwn(jobs []discover.Job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.own, f.knowOwn = jobs, true
	f.push()
}

// setMonitors takes the jobs of monitors: all of them.
func (f *feed) setMonitors(jobs []discover.Job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.monitors, f.knowOthers = jobs, true
	f.push()
}

// setSecrets lets jobs that hold secrets out, or not.
func (f *feed) setSecrets(allowed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.secrets != allowed {
		f.secrets = allowed
		f.push()
	}
}

// push is called with the lock held.
func (f *feed) push() {
	if !f.knowOwn || !f.knowOthers {
		return
	}
	now := combine(f.secrets, f.own, f.monitors)
	for _, c := range now.Clashes {
		if !slices.Contains(f.last.Clashes, c) {
			f.o.Log.Warn("a job is left out: another one has its name", "job", c.Job, "source", c.Source, "other", c.Other)
		}
	}
	for _, job := range now.Withheld {
		if !slices.ContainsFunc(f.last.Withheld, func(o discover.Job) bool { return o.Config.JobName == job.Config.JobName }) {
			f.o.Log.Warn("a job is left out: it holds secrets, and collectors are answered in clear text", "job", job.Config.JobName, "source", job.Source)
		}
	}
	f.last = now
	if f.o.Withheld != nil {
		f.o.Withheld(len(now.Withheld) + len(now.Clashes))
	}
	f.targets.SetJobs(now.Jobs)
}

// report is what there is to say of the jobs.
func (f *feed) report() (combined, discover.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.targets.Status()
}

// relabel is what becomes of the labels that a target of a job is served with.
func (f *feed) relabel(name string, before labels.Labels) (after labels.Labels, kept bool) {
	f.mu.Lock()
	jobs := f.last.Jobs
	f.mu.Unlock()
	i := slices.IndexFunc(jobs, func(j discover.Job) bool { return j.Config.JobName == name })
	if i < 0 {
		return labels.EmptyLabels(), false
	}
	return jobs[i].Relabel(before)
}

// waiting says what the jobs are not known for, but for what is said already; empty when they are.
func (f *feed) waiting(said ...string) string {
	f.mu.Lock()
	own, others := f.knowOwn, f.knowOthers
	f.mu.Unlock()
	switch {
	case !own:
		return "the scrape configs"
	case !others:
		if f.o.MonitorsWait != nil {
			if list := f.o.MonitorsWait(); len(list) > 0 {
				return "the monitors: " + strings.Join(list, ", ")
			}
		}
		return "the monitors"
	}
	known := func(text string) bool {
		return slices.ContainsFunc(said, func(s string) bool { return s == text || strings.HasPrefix(s, text+": ") })
	}
	if list := slices.DeleteFunc(slices.Clone(f.targets.Waiting()), known); len(list) > 0 {
		return fmt.Sprintf("targets of %s", strings.Join(list, ", "))
	}
	return ""
}

// waitingFor joins what several parts wait for.
func waitingFor(parts ...func() string) func() string {
	return func() string {
		var out []string
		for _, part := range parts {
			if text := part(); text != "" {
				out = append(out, text)
			}
		}
		return strings.Join(out, "; ")
	}
}

// together runs parts until ctx ends. When one fails, the others are stopped; it returns when all have, with the first error.
func together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for _, part := range parts {
		wg.Go(func() {
			if err := part(ctx); err != nil {
				once.Do(func() { first = err })
				stop(err)
			}
		})
	}
	wg.Wait()
	return first
}
