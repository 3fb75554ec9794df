package monitor

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
)

const (
	// Changes are taken in when nothing has changed for quiet, and after most in any case.
	quiet = 200 * time.Millisecond
	most  = 2 * time.Second
	// assetPatience is how long the first result waits for Secrets and ConfigMaps that can't be read for the moment, once all else is
	// known.
	assetPatience = time.Minute
	// rightsPatience is how long the first result waits for the right to list something, from when it was first asked for.
	rightsPatience = 5 * time.Minute
	// translators is how many objects are translated at a time. They wait for the API server more than they compute.
	translators = 8
)

// Options of a Watcher.
type Options struct {
	Clients Clients
	// Namespaces to watch; all when empty.
	Namespaces []string
	// Recorder of Events on objects that are left out; nil for none.
	Recorder events.EventRecorder
	// Elected is closed when this process is the one to record Events; until then others do. It then records what is wrong at that time.
	// Nil if there are no others.
	Elected <-chan struct{}
	// Clock, and Log; the real clock and none by default.
	Clock clock.Clock
	Log   *slog.Logger
}

// Watcher makes jobs for any number of selections. There is one in a process.
type Watcher struct {
	options    Options
	clock      clock.Clock
	log        *slog.Logger
	namespaces []string // to watch; one empty string for all
	assets     *assetCache
	wake       chan struct{}
	started    sync.WaitGroup // feeds
	forRights  time.Duration  // rightsPatience

	mu       sync.Mutex
	running  context.Context // that of Run; nil before
	objects  map[objectKey]*object
	labels   map[string]labels.Set // of namespaces
	feeds    map[feedKey]*feedStatus
	watched  map[feedKey]context.CancelFunc // feeds of Secrets and ConfigMaps
	subs     []*subscription
	profiles map[string]*profile
	changed  map[assetKey]bool
	reported map[objectKey]string // the problem of which there has been an Event
	passes   uint64
}

// feedKey identifies a feed: what is watched, and in which namespace.
type feedKey struct {
	what      string
	namespace string
}

type feedStatus struct {
	state feedState
	err   error
	asked time.Time // when it was started
	known bool      // everything has been seen once
}

// subscription is one selection and whom to tell.
type subscription struct {
	matcher *matcher
	profile *profile
	key     string
	err     error
	notify  func(Result)
	ready   time.Time // since when all feeds are that it depends on
	planned uint64    // the pass that has last looked at all that it selects
	last    *Result
	closed  bool
}

// New makes a Watcher, which does nothing before Run.
func New(o Options) *Watcher {
	w := &Watcher{
		options: o, clock: o.Clock, log: o.Log, namespaces: slices.Clone(o.Namespaces), wake: make(chan struct{}, 1),
		objects: map[objectKey]*object{}, labels: map[string]labels.Set{}, feeds: map[feedKey]*feedStatus{},
		watched: map[feedKey]context.CancelFunc{}, profiles: map[string]*profile{}, changed: map[assetKey]bool{},
		reported: map[objectKey]string{}, forRights: rightsPatience,
	}
	if w.clock == nil {
		w.clock = clock.RealClock{}
	}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if len(w.namespaces) == 0 {
		w.namespaces = []string{metav1.NamespaceAll}
	}
	w.assets = newAssetCache(o.Clients.fetch, w.clock, w.assetChanged)
	return w
}

// Subscribe has notify called with what a selection gives: first when the picture is complete, then whenever it has changed. Calls come one
// at a time from the goroutine of Run, which a slow one holds up. After unsubscribe has returned at most a call that is under way
// still comes to its end. Both may be called at any time, from notify too.
func (w *Watcher) Subscribe(s Selection, notify func(Result)) (unsubscribe func()) {
	sub := &subscription{notify: notify}
	if sub.matcher, sub.err = s.matcher(); sub.err == nil {
		sub.key, sub.err = s.settings().key()
	}
	w.mu.Lock()
	if sub.err == nil {
		sub.profile = w.profiles[sub.key]
		if sub.profile == nil {
			sub.profile = newProfile(&s)
			w.profiles[sub.key] = sub.profile
		}
		sub.profile.users++
		if sub.err = sub.profile.err; sub.err == nil {
			w.need(sub.matcher)
		}
	}
	w.subs = append(w.subs, sub)
	w.mu.Unlock()
	w.poke()
	return func() { w.unsubscribe(sub) }
}

func (w *Watcher) unsubscribe(sub *subscription) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if sub.closed {
		return
	}
	sub.closed = true
	w.subs = slices.DeleteFunc(w.subs, func(s *subscription) bool { return s == sub })
	if sub.profile != nil {
		sub.profile.users--
	}
	w.retire()
}

// retire forgets the profiles that nobody has. While a selection has no result yet they stay: it may have taken the place of one that
// had one of them, and needs what that has made for as long as it can't be made anew. It is called with the mutex held.
func (w *Watcher) retire() {
	if slices.ContainsFunc(w.subs, func(s *subscription) bool { return s.last == nil }) {
		return
	}
	maps.DeleteFunc(w.profiles, func(_ string, p *profile) bool { return p.users == 0 })
}

// Waiting lists what is not known yet and keeps results back, such as "probes", or "the right to list and watch probes".
func (w *Watcher) Waiting() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, sub := range w.subs {
		if sub.err != nil {
			continue
		}
		for _, key := range w.depends(sub.matcher) {
			status := w.feeds[key]
			if status == nil || w.decided(status, sub) {
				continue
			}
			text := strings.TrimSuffix(key.what+" in "+key.namespace, " in ")
			if status.state == feedForbidden {
				text = "the right to list and watch " + text
			}
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// poke has the picture looked at again.
func (w *Watcher) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run watches, translates and notifies until ctx ends. It returns when everything that it started has stopped.
func (w *Watcher) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	w.running = ctx
	for _, sub := range w.subs {
		if sub.err == nil {
			w.need(sub.matcher)
		}
	}
	w.mu.Unlock()
	if w.options.Elected != nil {
		w.started.Go(func() {
			select {
			case <-w.options.Elected:
				w.poke()
			case <-ctx.Done():
			}
		})
	}
	w.loop(ctx)
	cancel()
	w.started.Wait()
	return nil
}

// loop takes changes in, some at a time.
func (w *Watcher) loop(ctx context.Context) {
	var first, last time.Time // of the changes that are still to be taken in
	var again time.Time       // when something is to be looked at without a change
	timer := w.clock.NewTimer(most)
	defer timer.Stop()
	for {
		now := w.clock.Now()
		var due time.Time
		if !first.IsZero() {
			due = earlier(last.Add(quiet), first.Add(most))
		}
		if !again.IsZero() {
			due = earlier(due, again)
		}
		if !due.IsZero() && !due.After(now) {
			first, last = time.Time{}, time.Time{}
			again = w.pass(ctx)
			continue
		}
		wait := time.Hour
		if !due.IsZero() {
			wait = due.Sub(now)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
			if last = w.clock.Now(); first.IsZero() {
				first = last
			}
		case <-timer.C():
		}
	}
}

// earlier of two times, of which the zero one doesn't count.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
