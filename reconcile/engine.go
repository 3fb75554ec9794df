package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"

	"github.com/otelier/otelier/crds"
)

// store is a view that changes come to by watching, and so later than they happen.
type store interface {
	view
	// collector is the named one as the API server held it, nil when there was none.
	collector(key types.NamespacedName) *unstructured.Unstructured
	// seen tells whether what was there of a resource at resourceVersion, or something newer, has come.
	seen(resource schema.GroupVersionResource, namespace, version string) bool
}

// engine makes passes over collectors. All that it remembers between them may be lost: then a pass costs more, and comes to the same.
type engine struct {
	store    store
	cluster  Cluster
	planner  *Planner
	recorder events.EventRecorder
	metrics  *metrics
	clock    clock.WithTicker
	log      *slog.Logger
	observe  bool          // plan, and change nothing
	deadline time.Duration // of rollouts without progress

	conditions Conditions                        // of others; may be nil
	replicas   func(types.NamespacedName, int32) // tells others; may be nil

	noClasses atomic.Bool // storage classes may not be read: that was tried once

	mu      sync.Mutex
	memory  map[types.NamespacedName]*memory
	working map[types.NamespacedName]*workLock // by the name of the workload, which several collectors may come to share
}

// pass is one run over one collector.
type pass struct {
	*engine
	collector *crds.Collector
	in        Input   // of the plan
	live      Objects // as planned with, then as changed
	pending   bool    // something has to go before it is made anew
	observed  observation
}

func (p *pass) key() types.NamespacedName {
	return types.NamespacedName{Namespace: p.collector.Namespace, Name: p.collector.Name}
}

// sync is one pass over a collector. It returns when to make the next one although nothing happens, 0 for never. An error that only a
// person can resolve is a *Problem that is not transient; it is in the status then.
func (e *engine) sync(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	u := e.store.collector(key)
	if u == nil {
		e.forget(key)
		return 0, e.sweep(ctx, key)
	}
	e.meet(key, u.GetUID())
	if wait := e.stale(key); wait > 0 {
		return wait, nil // the event that we wait for will bring us back sooner
	}
	collector, err := crds.Decode(u)
	p := &pass{engine: e, collector: collector, observed: observation{collector: collector}}
	if u.GetDeletionTimestamp() != nil {
		return 0, p.finalize(ctx)
	}
	if err != nil {
		p.observed.problem = specProblem(err)
		return p.finish(ctx, nil)
	}
	if collector.Spec.ManagementState == crds.StateUnmanaged {
		p.live = e.store.ownedBy(collector.UID)
		p.observed.paused = true
		return p.finish(ctx, workloads(p.live))
	}
	return p.reconcile(ctx)
}

func (p *pass) reconcile(ctx context.Context) (time.Duration, error) {
	p.observed.unsupported = p.collector.Spec.UnsupportedFields()
	rendered, err := p.planner.render(p.collector)
	if err != nil {
		p.live = p.store.ownedBy(p.collector.UID)
		p.observed.problem = specProblem(err)
		return p.finish(ctx, workloads(p.live))
	}
	p.observed.warnings = rendered.Warnings
	var ids []ID
	for _, u := range rendered.Objects {
		ids = append(ids, idOf(u))
	}
	defer p.lock(p.collector.Namespace, p.collector.Name)()
	in, err := gather(ctx, p.store, p.cluster, p.collector, rendered.Objects, !p.noClasses.Load())
	if in.noClasses {
		p.noClasses.Store(true)
	}
	p.live = in.Live
	if errors.As(err, &p.observed.problem) {
		return p.finish(ctx, ids)
	} else if err != nil {
		return 0, err
	}
	p.recall(&in)
	p.in = in
	plan, err := p.planner.Build(in)
	if err != nil {
		return 0, err
	}
	if p.observe {
		p.announcePlan(plan)
		return 0, nil
	}
	if left, err := p.leaves(ctx, plan); left || err != nil {
		return 0, err // the event of that brings us back
	}
	p.settle(plan)
	p.observed.planned, p.observed.notes = true, plan.Notes
	if !plan.Empty() || p.inventoryLags() {
		err = p.change(ctx, plan, rendered.Objects)
	}
	if err != nil && !errors.As(err, &p.observed.problem) {
		return 0, err
	}
	if err == nil && p.collector.Spec.Mode == crds.ModeSidecar {
		p.observed.problem = &Problem{Reason: crds.ReasonNotImplemented, Message: "spec.mode: sidecars are not injected by this version"}
	}
	return p.finish(ctx, ids)
}

// change carries out a plan, unless the API server has refused the very same a short while ago.
func (p *pass) change(ctx context.Context, plan *Plan, want []*unstructured.Unstructured) error {
	if before := p.refusedBefore(p.key(), want, p.live); before != nil {
		return before
	}
	intent := intentOf(want, p.live)
	err := p.execute(ctx, plan)
	p.noteRefusal(p.key(), intent, err)
	return err
}

// finish judges what is live and writes the status.
func (p *pass) finish(ctx context.Context, ids []ID) (time.Duration, error) {
	if p.observe {
		p.remember(p.key(), func(m *memory) { p.countPlanned(m, nil) })
		return 0, asError(p.observed.problem)
	}
	o := &p.observed
	o.collector = p.collector
	o.inventory = p.inventory()
	o.foreignKnown = true
	if p.conditions != nil {
		o.foreign, o.foreignKnown = p.conditions(p.key())
	}
	o.health = health(evidence{
		ids: ids, live: p.live, pods: p.store.pods(p.collector), claims: p.store.claims(p.collector), crashing: crashing(p.collector),
	})
	for id, u := range p.live {
		if k, ok := crds.KindOf(schemaGroupKind(id)); ok && k.Stage == crds.StageWorkload {
			o.workload = u
		}
	}
	again := p.watchProgress(o)
	wait, err := p.writeStatus(ctx, buildStatus(*o, p.clock.Now()))
	if err != nil {
		return 0, err
	}
	return soonest(again, wait, p.claimsDue()), asError(o.problem)
}

// asError keeps a nil problem from becoming an error that is not nil.
func asError(p *Problem) error {
	if p == nil {
		return nil
	}
	return p
}

func soonest(waits ...time.Duration) time.Duration {
	waits = slices.DeleteFunc(waits, func(d time.Duration) bool { return d <= 0 })
	if len(waits) == 0 {
		return 0
	}
	return slices.Min(waits)
}

func workloads(live Objects) []ID {
	var out []ID
	for id := range live {
		if k, ok := crds.KindOf(schemaGroupKind(id)); ok && k.Stage == crds.StageWorkload {
			out = append(out, id)
		}
	}
	slices.SortFunc(out, func(a, b ID) int { return strings.Compare(a.String(), b.String()) })
	return out
}
