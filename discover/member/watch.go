package member

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/otelier/otelier/allocate"
)

// Options of a Watcher.
type Options struct {
	Client kubernetes.Interface
	// Metadata reads the zones of nodes. Without it, zones are not known.
	Metadata metadata.Interface

	// Namespace of the pods, and Selector of their labels.
	Namespace string
	Selector  labels.Selector
	// Kind of the workload, such as KindStatefulSet; when it is empty, the owners of the pods tell.
	Kind string
	// Name of the workload; when it is empty, all in the namespace whose pods Selector matches.
	Name string
	// HoldDown is for how long a member without a ready pod stays one: 0 for DefaultHoldDown, negative for ever.
	HoldDown time.Duration

	// Notify gets the complete list whenever it has changed, and first when it is known. It must not call the Watcher.
	Notify func([]allocate.Member)

	Log   *slog.Logger
	Clock clock.WithTicker
}

// Watcher keeps the list of members of one pool. It watches the pods of that pool only, and the StatefulSet that they are of.
type Watcher struct {
	o       Options
	pods    cache.SharedIndexInformer
	sets    cache.SharedIndexInformer // nil when the pods are not of one
	zones   *zones
	changed chan struct{}
	blocked atomic.Pointer[string] // why pods can't be read
	noSets  atomic.Bool            // StatefulSets may not be read

	expected atomic.Pointer[[]string] // pods that become members when they ask

	mu      sync.Mutex
	tracker Tracker
	told    bool
	members []allocate.Member
	limits  map[string]limit
}

// limit is a number of replicas that the spec is about to say.
type limit struct {
	replicas int32
	until    time.Time
}

// limitGrace is for how long a number that was announced holds without coming true.
const limitGrace = 30 * time.Second

// New makes a Watcher. It starts nothing.
func New(o Options) (*Watcher, error) {
	w := &Watcher{o: o, changed: make(chan struct{}, 1), tracker: Tracker{HoldDown: o.HoldDown}, limits: map[string]limit{}}
	if o.Metadata != nil {
		w.zones = newZones(o.Metadata, o.Clock, o.Log)
	}
	w.pods = podInformer(o.Client, o.Namespace, o.Selector)
	if o.Kind == "" || o.Kind == KindStatefulSet {
		w.sets = setInformer(o.Client, o.Namespace, o.Name)
	}
	for _, i := range w.informers() {
		if err := i.SetWatchErrorHandlerWithContext(w.failed(i)); err != nil {
			return nil, fmt.Errorf("watch members of %s: %w", o.Namespace, err)
		}
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { w.wake() }, UpdateFunc: func(any, any) { w.wake() }, DeleteFunc: func(any) { w.wake() },
		}); err != nil {
			return nil, fmt.Errorf("watch members of %s: %w", o.Namespace, err)
		}
	}
	return w, nil
}

func (w *Watcher) informers() []cache.SharedIndexInformer {
	out := []cache.SharedIndexInformer{w.pods}
	if w.sets != nil {
		out = append(out, w.sets)
	}
	return out
}

func (w *Watcher) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// stopGrace is how long informers get to stop. While the API server can't be reached, a reflector sleeps for up to half a minute
// without looking at its context (k8s.io/client-go/tools/cache/reflector.go, watchList).
const stopGrace = 2 * time.Second

// Run watches until ctx ends, and returns when all it started has stopped, or stopGrace is over.
func (w *Watcher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, i := range w.informers() {
		wg.Go(func() { i.RunWithContext(ctx) })
		wg.Go(func() {
			if cache.WaitForCacheSync(ctx.Done(), i.HasSynced) {
				w.wake()
			}
		})
	}
	w.follow(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		wg.Wait()
	}()
	select {
	case <-stopped:
	case <-time.After(stopGrace):
	}
}

// follow decides anew whenever something has happened, or is due.
func (w *Watcher) follow(ctx context.Context) {
	timer := w.o.Clock.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		case <-timer.C():
		}
		if !w.known() {
			continue
		}
		unknown := w.zones.learn(ctx, w.nodes())
		timer.Stop()
		wait := time.Hour
		if again := soonest(w.update(), unknown); !again.IsZero() {
			wait = max(again.Sub(w.o.Clock.Now()), 10*time.Millisecond)
		}
		timer.Reset(wait)
	}
}

// known tells whether what there is has been listed.
func (w *Watcher) known() bool {
	return w.pods.HasSynced() && (w.sets == nil || w.sets.HasSynced() || w.noSets.Load())
}

// Waiting says what the members are not known for; empty when they are.
func (w *Watcher) Waiting() string {
	if w.known() {
		return ""
	}
	if why := w.blocked.Load(); why != nil {
		return *why
	}
	return "the collectors' pods in namespace " + w.o.Namespace
}

// Polled says that a collector has asked for its targets. It costs next to nothing unless that one is about to become a member.
func (w *Watcher) Polled(pod string) {
	expected := w.expected.Load()
	if expected == nil || !slices.Contains(*expected, pod) {
		return
	}
	w.mu.Lock()
	joined := w.tracker.Polled(pod)
	w.mu.Unlock()
	if joined {
		w.wake()
	}
}

// Replicas announces how many replicas a StatefulSet is about to have: its members leave before their pods do. It returns when the
// members have been told. A larger number than it has is none of our business: members join when they are there.
func (w *Watcher) Replicas(set string, n int32) {
	w.mu.Lock()
	w.limits[set] = limit{n, w.o.Clock.Now().Add(limitGrace)}
	w.mu.Unlock()
	if w.known() {
		w.update()
		w.wake()
	}
}

// update decides anew, and tells when that is due again.
func (w *Watcher) update() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.o.Clock.Now()
	view, again := w.view(now)
	members, due := w.tracker.Update(view, now)
	expected := w.tracker.Expected()
	w.expected.Store(&expected)
	if !w.told || !slices.Equal(members, w.members) {
		w.told, w.members = true, members
		said := []any{"count", len(members)}
		if len(expected) > 0 {
			said = append(said, "expected", len(expected))
		}
		w.o.Log.Info("members", said...)
		w.o.Notify(slices.Clone(members))
	}
	return soonest(again, due)
}

// view is what the informers hold, with what was announced in place of what is not yet written.
func (w *Watcher) view(now time.Time) (View, time.Time) {
	v := View{Sets: map[string]Range{}, Zones: w.zones.known()}
	for _, obj := range w.pods.GetStore().List() {
		v.Pods = append(v.Pods, podOf(obj.(*corev1.Pod)))
	}
	if w.sets != nil && w.sets.HasSynced() {
		for _, obj := range w.sets.GetStore().List() {
			if name, r, ok := rangeOf(obj, w.o.Selector); ok {
				v.Sets[name] = r
			}
		}
	}
	var again time.Time
	for name, l := range w.limits {
		r, there := v.Sets[name]
		if !now.Before(l.until) || there && r.Replicas == l.replicas {
			delete(w.limits, name)
			continue
		}
		if there && l.replicas < r.Replicas {
			r.Replicas = l.replicas
			v.Sets[name] = r
			again = soonest(again, l.until)
		}
	}
	return v, again
}

// nodes are those of the pods, and those of the pods that are missing.
func (w *Watcher) nodes() []string {
	w.mu.Lock()
	out := w.tracker.nodes()
	w.mu.Unlock()
	for _, obj := range w.pods.GetStore().List() {
		if node := obj.(*corev1.Pod).Spec.NodeName; node != "" {
			out = append(out, node)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
