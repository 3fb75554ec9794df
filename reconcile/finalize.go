package reconcile

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// writeAhead makes sure, before a plan creates anything, that the inventory names it, and that the collector can't go before its
// cluster-scoped objects. Then nothing that a pass has made is forgotten, wherever it is cut off.
func (p *pass) writeAhead(ctx context.Context, plan *Plan) error {
	has := inventoryOf(p.collector)
	ahead := has.ahead(plan)
	if ahead.clusterScoped() && !slices.Contains(p.collector.Finalizers, crds.Finalizer) {
		if err := p.applyFinalizers(ctx, crds.Finalizer); err != nil {
			return err
		}
	}
	if has.covers(ahead) {
		return nil
	}
	o := p.observed
	o.inventory = ahead.entries()
	o.health = beingApplied()
	_, err := p.writeStatus(ctx, buildStatus(o, p.clock.Now()))
	return err
}

// inventory is what the status is to say now. While not all is done it still has what it had.
func (p *pass) inventory() []crds.InventoryEntry {
	now := owned(p.collector, p.live)
	if p.observed.problem != nil || p.observed.paused || p.pending {
		for id, e := range inventoryOf(p.collector) {
			if _, there := now[id]; !there {
				now[id] = e
			}
		}
	}
	return now.entries()
}

// inventoryLags tells whether the finalizer is not what the inventory asks for, although no object has to be changed.
func (p *pass) inventoryLags() bool {
	return owned(p.collector, p.live).clusterScoped() != slices.Contains(p.collector.Finalizers, crds.Finalizer)
}

// settleFinalizer takes the finalizer away once nothing needs it any more, or adds it where it was lost.
func (p *pass) settleFinalizer(ctx context.Context) error {
	switch needed := owned(p.collector, p.live).clusterScoped(); {
	case needed == slices.Contains(p.collector.Finalizers, crds.Finalizer):
		return nil
	case needed:
		return p.applyFinalizers(ctx, crds.Finalizer)
	default:
		return p.applyFinalizers(ctx)
	}
}

// finalize deletes what the garbage collector does not, and lets the collector go. All else goes with its owner.
func (p *pass) finalize(ctx context.Context) error {
	if !slices.Contains(p.collector.Finalizers, crds.Finalizer) || p.observe {
		return nil
	}
	for id, e := range inventoryOf(p.collector) {
		if id.Namespace != "" {
			continue
		}
		u, err := p.cluster.Get(ctx, id)
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return fmt.Errorf("collector %s: finalize: get %s: %w", p.key(), id, err)
		case !belongsTo(p.collector, u):
			continue
		}
		if err := deleteOne(ctx, p.cluster, id, u.GetUID(), metav1.DeletePropagationBackground); err != nil {
			return fmt.Errorf("collector %s: finalize: %s", p.key(), err.Error()) // tried again, also if it is Forbidden: no status tells
		}
		p.metrics.deleted(id)
		p.log.Info("deleted with its collector", "collector", p.key(), "object", id.String(), "uid", e.UID)
	}
	return p.applyFinalizers(ctx)
}

// applyFinalizers makes these, and only these, ours. The UID keeps a collector that is gone from coming back.
func (p *pass) applyFinalizers(ctx context.Context, finalizers ...string) error {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetAPIVersion(crds.Group + "/" + crds.VersionV1Beta1)
	u.SetKind(crds.Kind)
	u.SetNamespace(p.collector.Namespace)
	u.SetName(p.collector.Name)
	u.SetUID(p.collector.UID)
	if len(finalizers) > 0 {
		u.SetFinalizers(finalizers)
	}
	got, err := p.cluster.Apply(ctx, u, false)
	if apierrors.IsNotFound(err) && len(finalizers) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("collector %s: finalizers: %w", p.key(), err)
	}
	p.wroteResource(p.key(), crds.CollectorResource(), got.GetResourceVersion())
	c := *p.collector
	c.Finalizers = finalizers
	p.collector = &c
	return nil
}
