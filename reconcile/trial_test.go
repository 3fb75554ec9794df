package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
)

// call is one request of the operator, named so that it can be found again in another run: those of one stage come in any order.
type call struct {
	name  string // verb and object
	n     int    // which one of that name it is
	write bool   // not a read, and not a dry run
	moved bool   // something is different since
	again bool   // the object was already being deleted
}

// fault is what happens at one call.
type fault struct {
	kind faultKind
	name string
	n    int
}

func (f fault) String() string { return fmt.Sprintf("%s at %s #%d", f.kind, f.name, f.n) }

type faultKind string

const (
	faultNone      faultKind = ""
	faultError     faultKind = "503 before acting"
	faultInternal  faultKind = "500 before acting"
	faultConflict  faultKind = "409 before acting"
	faultThrottled faultKind = "429 with Retry-After"
	faultTimeout   faultKind = "timeout after acting"
	faultKill      faultKind = "killed before acting"
	faultKillAfter faultKind = "killed after acting"
	faultStale     faultKind = "all watches late"
	faultStaleOwn  faultKind = "watch of the object late"
	faultStaleRest faultKind = "watches of all else late"
	faultClosed    faultKind = "all watches closed"
	faultClosedOwn faultKind = "watch of the object closed"
)

// trial runs an operator over a world, as its Controller would: a pass for each event, for each time that a pass has asked for, and for
// each error; and a new process where the old one was killed.
type trial struct {
	world   *world
	slims   *slimmed
	planner *Planner
	key     types.NamespacedName
	fault   fault

	engine *engine
	feed   *feed
	edge   *edge

	mu    sync.Mutex
	calls []call
	seen  map[string]int
	told  []string // Events
	hit   bool
	dirty bool
	due   time.Time
	idle  bool // the last pass came from due alone
}

func newTrial(w *world, slims *slimmed, planner *Planner, f fault) (*trial, error) {
	t := &trial{
		world: w, slims: slims, planner: planner, fault: f, seen: map[string]int{},
		key: types.NamespacedName{Namespace: "ns", Name: "a"},
	}
	return t, t.restart()
}

// restart is a new process: it remembers nothing, and has listed everything.
func (t *trial) restart() (err error) {
	t.due = time.Time{}
	if t.feed, err = newFeed(t.world, t.slims, t.enqueue); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.edge = &edge{trial: t, ctx: ctx, cancel: cancel}
	t.engine = newEngine(t.feed, Options{
		Planner: t.planner, Cluster: t.edge, Recorder: t, Registry: prometheus.NewRegistry(), Clock: t.world.clock,
		Log: slog.New(slog.DiscardHandler),
	})
	t.enqueue(t.key)
	return nil
}

func (t *trial) enqueue(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirty = t.dirty || key == t.key
}

// Eventf is how the engine tells of what it does.
func (t *trial) Eventf(_, _ runtime.Object, kind, reason, _, note string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = append(t.told, kind+" "+reason+": "+fmt.Sprintf(note, args...))
}

// take is what has come up since, and makes it none.
func (t *trial) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	dirty := t.dirty
	t.dirty = false
	return dirty
}

// writes are the calls that have changed something.
func (t *trial) writes() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, c := range t.calls {
		if c.moved {
			n++
		}
	}
	return n
}

const maxPasses = 60

// settle runs until nothing happens any more.
func (t *trial) settle() error {
	for range maxPasses {
		if err := t.world.controllers(); err != nil {
			return err
		}
		if err := t.feed.deliver(); err != nil {
			return err
		}
		switch {
		case t.edge.isDead():
			if err := t.restart(); err != nil {
				return err
			}
		case t.take():
			t.idle = false
			t.pass()
		case t.feed.waits():
			if err := t.feed.resume(); err != nil {
				return err
			}
		case t.due.IsZero():
			return nil
		default:
			before := t.writes()
			t.world.clock.SetTime(t.due)
			idle := t.idle
			t.idle = true
			t.pass()
			if idle && t.writes() == before && !t.edge.isDead() {
				return nil // it only looks again, now and then
			}
		}
	}
	return fmt.Errorf("not quiet after %d passes; calls: %s", maxPasses, strings.Join(t.names(), ", "))
}

// pass is Controller.next.
func (t *trial) pass() {
	t.due = time.Time{}
	again, err := t.engine.sync(t.edge.ctx, t.key)
	now := t.world.clock.Now()
	p, _ := errors.AsType[*Problem](err)
	switch {
	case t.edge.isDead():
	case err == nil:
		if again > 0 {
			t.due = now.Add(again)
		}
	case p != nil && !p.Transient:
		t.due = now.Add(soonest(p.retryAfter(), again))
	case p != nil && p.After > 0:
		t.due = now.Add(p.After)
	default:
		t.due = now.Add(firstRetry)
	}
}

func (t *trial) names() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for _, c := range t.calls {
		name := fmt.Sprintf("%s #%d", c.name, c.n)
		if c.write && !c.moved {
			name += " (nothing changed)"
		}
		out = append(out, name)
	}
	return out
}

// edge is the Cluster of one process.
type edge struct {
	*trial
	ctx    context.Context
	cancel context.CancelFunc
	dead   bool
}

func (e *edge) isDead() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dead
}

func (e *edge) kill() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dead = true
	e.cancel()
	return context.Canceled
}

// do makes a call, with the fault that is due at it.
func (e *edge) do(verb string, id ID, write bool, act func() (*unstructured.Unstructured, bool, error)) (*unstructured.Unstructured, error) {
	e.mu.Lock()
	if e.dead {
		e.mu.Unlock()
		return nil, context.Canceled
	}
	c := call{name: verb + " " + id.String(), write: write}
	c.n = e.seen[c.name]
	e.seen[c.name]++
	kind := faultNone
	if e.fault.kind != faultNone && e.fault.name == c.name && e.fault.n == c.n {
		kind = e.fault.kind
		e.hit = true
	}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.calls = append(e.calls, c)
	}()
	if err := e.before(kind, id); err != nil {
		c.write = false
		return nil, err
	}
	if u := e.world.get(id); verb == "delete" && u != nil {
		c.again = u.GetDeletionTimestamp() != nil
	}
	got, moved, err := act()
	c.moved = moved
	c.write = c.write && err == nil
	if kind == faultTimeout {
		return nil, errors.New("net/http: request canceled while awaiting headers")
	}
	if kind == faultKillAfter {
		return nil, e.kill()
	}
	return got, err
}

func (e *edge) before(kind faultKind, id ID) error {
	own := func(w watch) bool { return w.kind.Kind == id.Kind && w.kind.Group == id.Group }
	switch kind {
	case faultError:
		return apierrors.NewServiceUnavailable("the server is currently unable to handle the request")
	case faultInternal:
		return apierrors.NewInternalError(errors.New("etcdserver: leader changed"))
	case faultConflict:
		return apierrors.NewConflict(resourceOf(id), id.Name, errors.New("the object has been modified"))
	case faultThrottled:
		return apierrors.NewTooManyRequests("too many requests", 3)
	case faultKill:
		return e.kill()
	case faultStale, faultClosed:
		e.feed.hold(kind == faultClosed, func(watch) bool { return true })
	case faultStaleOwn, faultClosedOwn:
		e.feed.hold(kind == faultClosedOwn, own)
	case faultStaleRest:
		e.feed.hold(false, func(w watch) bool { return !own(w) })
	case faultNone, faultTimeout, faultKillAfter: // after acting
	}
	return nil
}

func (e *edge) Get(_ context.Context, id ID) (*unstructured.Unstructured, error) {
	return e.do("get", id, false, func() (*unstructured.Unstructured, bool, error) {
		u := e.world.get(id)
		if u == nil {
			return nil, false, apierrors.NewNotFound(resourceOf(id), id.Name)
		}
		return u.DeepCopy(), false, nil
	})
}

func (e *edge) Apply(_ context.Context, u *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error) {
	verb, manager := "apply", crds.FieldManager
	if dryRun {
		verb = "try"
	}
	if u.GetKind() == crds.Kind {
		manager = crds.FinalizerManager
	}
	return e.do(verb, idOf(u), !dryRun, func() (*unstructured.Unstructured, bool, error) {
		got, moved, err := e.world.apply(u, manager, "", dryRun)
		return got, moved && !dryRun, err
	})
}

func (e *edge) ApplyStatus(_ context.Context, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return e.do("status", idOf(u), true, func() (*unstructured.Unstructured, bool, error) {
		return e.world.apply(u, crds.FieldManager, "status", false)
	})
}

func (e *edge) SetOwners(
	_ context.Context, id ID, uid types.UID, owners []metav1.ManagedFieldsEntry,
) (*unstructured.Unstructured, error) {
	return e.do("own", id, true, func() (*unstructured.Unstructured, bool, error) {
		before := e.world.get(id)
		if before != nil && before.GetUID() != uid {
			return nil, false, apierrors.NewConflict(resourceOf(id), id.Name, errors.New("uid mismatch"))
		}
		err := e.world.update(id, crds.FieldManager, "", func(u *unstructured.Unstructured) { u.SetManagedFields(owners) })
		if err != nil {
			return nil, false, err
		}
		got := e.world.get(id)
		return got.DeepCopy(), got.GetResourceVersion() != before.GetResourceVersion(), nil
	})
}

func (e *edge) Delete(_ context.Context, id ID, uid types.UID, propagation metav1.DeletionPropagation) error {
	_, err := e.do("delete", id, true, func() (*unstructured.Unstructured, bool, error) {
		moved, err := e.world.delete(id, uid, propagation)
		return nil, moved, err
	})
	return err
}

// memories are copied from one engine to another, so that a trial can begin warm.
func warm(from, to *engine) {
	from.mu.Lock()
	defer from.mu.Unlock()
	for key, m := range from.memory {
		to.remember(key, func(out *memory) {
			out.settled, out.attempts, out.gone = maps.Clone(m.settled), maps.Clone(m.attempts), maps.Clone(m.gone)
			out.replaced, out.carried, out.claims, out.status = maps.Clone(m.replaced), maps.Clone(m.carried), maps.Clone(m.claims), m.status
			for id, a := range out.attempts {
				a.tries = slices.Clone(a.tries)
				out.attempts[id] = a
			}
		})
	}
}
