package monitor

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// feedState is what is known of a watched resource.
type feedState int

const (
	feedStarting  feedState = iota // nothing yet
	feedSynced                     // everything
	feedMissing                    // the resource does not exist
	feedForbidden                  // we may not read it; what was seen before stays
)

const (
	// absenceChecks in a row, probeInterval apart, make an absence certain: an API server that starts can deny for a moment that a
	// custom resource exists.
	absenceChecks = 3
	probeInterval = time.Second
	// forbiddenPatience is how long being forbidden is taken for a role that is still to be applied.
	forbiddenPatience = 30 * time.Second
	// revisitInterval is how often a resource that is missing or forbidden is asked for again.
	revisitInterval = 10 * time.Second
)

// feed watches one resource, also over its absence: when the resource is not there it asks again until it is, and when it goes
// it says so. Callbacks come from one goroutine at a time.
type feed struct {
	what      string // for logs
	client    any    // says whether it can stream lists
	list      func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch     cache.WatchFuncWithContext
	transform cache.TransformFunc
	example   runtime.Object
	// report is called when the state changes. Objects of a feed that is missing are gone, without changed having been called.
	report func(state feedState, err error)
	// changed is called with an object that is new (was is nil), different, or gone (is is nil).
	changed func(was, is any)
	// synced, if set, is called with everything once the first list is there, before report.
	synced func(all []any)
	clock  clock.Clock
	log    *slog.Logger

	mu    sync.Mutex
	state feedState

	blind atomic.Bool // it was said that the resource may not be watched
}

// run returns when ctx has ended and everything has stopped.
func (f *feed) run(ctx context.Context) {
	for f.await(ctx) {
		f.follow(ctx)
	}
}

func (f *feed) set(state feedState, err error) {
	f.mu.Lock()
	changed := f.state != state
	f.state = state
	f.mu.Unlock()
	if !changed {
		return
	}
	if state == feedMissing || state == feedForbidden {
		f.log.Info("watch of a resource", "resource", f.what, "state", state.String(), "err", err)
	}
	f.report(state, err)
}

func (s feedState) String() string {
	return [...]string{"starting", "synced", "missing", "forbidden"}[s]
}

// probe asks for one object, to see whether the resource is there.
func (f *feed) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	_, err := f.list(ctx, metav1.ListOptions{Limit: 1})
	return err
}

// await returns true when the resource can be read, false when ctx has ended.
func (f *feed) await(ctx context.Context) bool {
	var absent int
	var denied time.Time
	for ctx.Err() == nil {
		err := f.probe(ctx)
		wait := probeInterval
		if !apierrors.IsNotFound(err) {
			absent = 0
		}
		if !apierrors.IsForbidden(err) {
			denied = time.Time{}
		}
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			return true
		case apierrors.IsNotFound(err):
			if absent++; absent >= absenceChecks {
				f.set(feedMissing, err)
				wait = revisitInterval
			}
		case apierrors.IsForbidden(err):
			if denied.IsZero() {
				denied = f.clock.Now()
			}
			if f.clock.Since(denied) >= forbiddenPatience {
				f.set(feedForbidden, err)
				wait = revisitInterval
			}
		default:
			f.log.Debug("resource can't be read", "resource", f.what, "err", err)
		}
		f.sleep(ctx, wait)
	}
	return false
}

func (f *feed) sleep(ctx context.Context, d time.Duration) {
	timer := f.clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C():
	}
}

// follow watches the resource until it is certain that it has gone, or ctx ends.
func (f *feed) follow(ctx context.Context) {
	f.set(feedStarting, nil)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	trouble := make(chan error, 1)
	source := cache.ToListWatcherWithWatchListSemantics(
		&cache.ListWatch{ListWithContextFunc: f.list, WatchFuncWithContext: f.watch}, f.client)
	informer := cache.NewSharedIndexInformer(source, f.example, 0, cache.Indexers{})
	handler, err := f.prepare(informer, trouble)
	if err != nil {
		f.log.Error("watch of a resource", "resource", f.what, "err", err)
		<-ctx.Done()
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { informer.RunWithContext(ctx) })
	full := make(chan struct{})
	wg.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), handler.HasSynced) {
			close(full)
		}
	})
	for {
		select {
		case <-ctx.Done():
			return
		case <-full:
			full = nil
			if f.synced != nil {
				f.synced(informer.GetStore().List())
			}
			f.set(feedSynced, nil)
		case err := <-trouble:
			if f.gone(ctx, err, full == nil) {
				cancel()
				wg.Wait()
				f.set(feedMissing, err)
				return
			}
		}
	}
}

func (f *feed) prepare(informer cache.SharedIndexInformer, trouble chan<- error) (cache.ResourceEventHandlerRegistration, error) {
	if err := informer.SetTransform(f.transform); err != nil {
		return nil, err
	}
	err := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		if apierrors.IsForbidden(err) && !f.blind.Swap(true) {
			f.log.Warn("not allowed to watch: changes are seen late, by listing again and again", "resource", f.what, "err", err)
		}
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			select {
			case trouble <- err:
			default:
			}
			return
		}
		f.log.Debug("watch ended", "resource", f.what, "err", err)
	})
	if err != nil {
		return nil, err
	}
	return informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.changed(nil, o) },
		UpdateFunc: f.changed,
		DeleteFunc: func(o any) {
			if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = last.Obj
			}
			f.changed(o, nil)
		},
	})
}

// gone is called when a watch has ended with 404 or 403. It asks until it is certain what that means: true when the resource doesn't
// exist, false when it does. Being forbidden is reported, and waited out.
func (f *feed) gone(ctx context.Context, err error, synced bool) bool {
	absent, since := 0, f.clock.Now()
	for ctx.Err() == nil {
		wait := probeInterval
		switch {
		case apierrors.IsNotFound(err):
			if absent++; absent >= absenceChecks {
				return true
			}
		case apierrors.IsForbidden(err):
			absent = 0
			if f.clock.Since(since) >= forbiddenPatience {
				f.set(feedForbidden, err)
				wait = revisitInterval
			}
		case err == nil:
			if synced {
				f.set(feedSynced, nil)
			}
			return false
		default:
			absent = 0
		}
		f.sleep(ctx, wait)
		err = f.probe(ctx)
	}
	return false
}
