package reconcile

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// maxReplans is how often a change is planned again because the object has changed meanwhile.
const maxReplans = 3

// send applies what a change wants to the very version of the object that it was planned for: what somebody changes in between, an
// autoscaler's number of replicas for one, must not be undone unseen. An object that has changed is planned for again. Nothing is
// returned, without an error, when that finds nothing to do.
func (p *pass) send(ctx context.Context, c *Change) (*unstructured.Unstructured, error) {
	for range maxReplans {
		p.tellReplicas(c)
		got, err := p.cluster.Apply(ctx, atVersion(c), false)
		if !apierrors.IsConflict(err) || c.base == nil || c.Live == nil {
			return got, err
		}
		live, getErr := p.cluster.Get(ctx, c.ID)
		if getErr != nil {
			return nil, getErr
		}
		again, planErr := p.replan(c, live)
		if planErr != nil || again.Action == ActionNone {
			return nil, planErr
		}
		if again.Action != ActionUpdate || again.Problem != nil {
			return nil, err
		}
		*c = again
	}
	p.tellReplicas(c)
	return p.cluster.Apply(ctx, atVersion(c), false)
}

// tellReplicas says how many pods a workload is about to have, if that is new.
func (p *pass) tellReplicas(c *Change) {
	if p.replicas == nil || c.stage != crds.StageWorkload {
		return
	}
	want, set, _ := unstructured.NestedInt64(c.Want.Object, "spec", "replicas")
	if !set {
		return
	}
	if c.Live != nil {
		if live, ok, _ := unstructured.NestedInt64(c.Live.Object, "spec", "replicas"); ok && live == want {
			return
		}
	}
	p.replicas(p.key(), int32(want)) //nolint:gosec // the renderer has it from an int32
}

// atVersion is the intent for the version of the object that was planned with. Claims and pods are bound by their UID: of those only what
// nobody else sets is applied.
func atVersion(c *Change) *unstructured.Unstructured {
	if c.Live == nil || c.base == nil {
		return c.Want
	}
	out := c.Want.DeepCopy()
	out.SetResourceVersion(c.Live.GetResourceVersion())
	return out
}

func (p *pass) replan(c *Change, live *unstructured.Unstructured) (Change, error) {
	in := p.in
	in.Settled, in.Live = nil, Objects{c.ID: live}
	var plan Plan
	again, err := p.planner.change(in, c.base, &plan)
	if err != nil {
		return again, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range plan.Notes {
		if n.Kind == crds.ConditionReplicasYielded {
			p.observed.notes = append(p.observed.notes, n)
		}
	}
	if again.Action == ActionNone {
		p.live[c.ID] = live
	}
	return again, nil
}
