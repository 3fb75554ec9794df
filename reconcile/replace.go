package reconcile

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// rehearsalName is that under which a replacement is tried. Nothing of that name is ever made.
func rehearsalName(u *unstructured.Unstructured) string {
	const suffix = "-rehearsal"
	return u.GetName()[:min(len(u.GetName()), crds.MaxNameLength-len(suffix))] + suffix
}

// rehearse creates the replacement with a dry run, under another name. What the API server would refuse, or what would not come out
// as wanted, must not cost the object that is there.
func (p *pass) rehearse(ctx context.Context, c *Change) error {
	if p.replacedBefore(c) {
		return &Problem{Reason: crds.ReasonFieldsNotConverging, Message: fmt.Sprintf(
			"%s: was made anew for this generation of the collector, and %s still differs: somebody changes it on its way", c.ID, strings.Join(c.Immutable, ", "))}
	}
	got, err := rehearsed(ctx, p.cluster, c)
	if err != nil {
		p.metrics.applied(c.ID, err)
		return err
	}
	left, err := p.planner.delta(got, renamed(c.Want))
	if err != nil {
		return nil //nolint:nilerr // the API server takes it, and that is what was to be known
	}
	k, err := kindOf(c.Want)
	if err != nil {
		return err
	}
	if paths := left.immutablePaths(k); len(paths) > 0 {
		return &Problem{Reason: crds.ReasonFieldsNotConverging, Message: fmt.Sprintf(
			"%s: would have to be made anew for %s, but would not come out as wanted: somebody changes %s on its way",
			c.ID, strings.Join(c.Immutable, ", "), strings.Join(paths, ", "))}
	}
	return nil
}

func rehearsed(ctx context.Context, cluster Cluster, c *Change) (*unstructured.Unstructured, error) {
	got, err := cluster.Apply(ctx, renamed(c.Want), true)
	if err != nil {
		problem := apiProblem("make anew", c.ID, err)
		if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota") {
			problem.Message += "; to try it first takes room for one more"
		}
		return nil, problem
	}
	return got, nil
}

func renamed(want *unstructured.Unstructured) *unstructured.Unstructured {
	out := want.DeepCopy()
	out.SetName(rehearsalName(want))
	return out
}

// replace deletes what can't be changed in place; the event of its end brings the pass that makes it anew. The pods and claims of a
// StatefulSet stay and are adopted by the new one. What a Deployment or DaemonSet with another selector has made, nobody would adopt.
func (p *pass) replace(ctx context.Context, c *Change) error {
	propagation := metav1.DeletePropagationBackground
	if c.ID.Kind == "StatefulSet" {
		propagation = metav1.DeletePropagationOrphan
	}
	theirs, err := p.planner.carry(&c.delta)
	if err != nil {
		return err
	}
	if err := p.delete(ctx, c, propagation); err != nil {
		return err
	}
	p.replaced(c, theirs)
	p.mu.Lock()
	p.pending = true
	p.mu.Unlock()
	p.event(c.Live, crds.ReasonReplaced, fmt.Sprintf("%s: made anew, because %s can't be changed in place", c.ID, strings.Join(c.Immutable, ", ")))
	return nil
}

// restore gives back to others what they owned in an object that was made anew. A kill of the process between the deletion and here
// loses their fields.
func (p *pass) restore(ctx context.Context, c *Change, got *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if c.carried == nil {
		return got, nil
	}
	owners, err := p.planner.ownersWith(c.rendered, c.carried, p.clock.Now())
	if err != nil {
		return nil, err
	}
	if got, err = p.cluster.SetOwners(ctx, c.ID, got.GetUID(), owners); err != nil {
		return nil, apiProblem("set owners of fields", c.ID, err)
	}
	p.remember(p.key(), func(m *memory) { delete(m.carried, c.ID) })
	return got, nil
}
