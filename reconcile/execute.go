package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/otelier/otelier/crds"
)

// applyConcurrency is how many objects of one stage are sent at a time.
const applyConcurrency = 4

// applied remembers what an object was when it was last applied. As long as the API server's record of our fields stays what
// it was then, nobody has changed any of them, and the same intent need not be sent again.
type applied struct {
	uid    types.UID
	intent string // digest of what was sent
	fields string // digest of what the API server then recorded as ours
}

// pass is one run over one collector.
type pass struct {
	*Controller
	collector *crds.Collector
	live      map[ID]*liveObject
}

// execute makes the cluster be what is wanted.
func (p *pass) execute(ctx context.Context, want []*unstructured.Unstructured) error {
	defer p.lock(p.collector.Namespace, p.collector.Name)()
	if err := p.apply(ctx, want); err != nil {
		return err
	}
	return p.prune(ctx, want, configVersions(p.collector))
}

// apply sends, stage by stage, what differs from what is live, and updates p.live. What preflight names is tried first with a dry
// run: when the API server refuses any of it, nothing is touched.
func (p *pass) apply(ctx context.Context, want []*unstructured.Unstructured) error {
	changed := slices.DeleteFunc(slices.Clone(want), p.untouched)
	stages, err := byStage(changed)
	if err != nil {
		return err
	}
	for _, u := range p.preflight(changed, stages) {
		// First whose it is: the API server's reason to refuse somebody else's would name a field, not the owner.
		if err := p.mayTake(ctx, idOf(u)); err != nil {
			return err
		}
		if _, err := p.cluster.Apply(ctx, u, true); err != nil {
			p.metrics.applied(idOf(u), err)
			return apiProblem("apply", idOf(u), err)
		}
	}
	for _, stage := range slices.Sorted(maps.Keys(stages)) {
		if err := p.applyStage(ctx, stages[stage]); err != nil {
			return err
		}
	}
	return nil
}

// preflight is what is tried with a dry run: for a collector that runs all that changes, so that one object that is refused leaves
// the others as they are; for a new one the workload, which most often is what is refused.
func (p *pass) preflight(changed []*unstructured.Unstructured, stages map[crds.Stage][]*unstructured.Unstructured) []*unstructured.Unstructured {
	if len(p.live) > 0 {
		return changed
	}
	return stages[crds.StageWorkload]
}

func (p *pass) applyStage(ctx context.Context, objects []*unstructured.Unstructured) error {
	var (
		group errgroup.Group
		mu    sync.Mutex
		errs  []error
		done  = map[ID]*liveObject{} // apart from p.live, which the others are reading
	)
	group.SetLimit(applyConcurrency)
	for _, u := range objects {
		group.Go(func() error {
			got, err := p.applyOne(ctx, u)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return nil
			}
			done[idOf(u)] = got
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	maps.Copy(p.live, done)
	return worst(errs)
}

// worst joins the problems of a stage into one. What only a person can resolve weighs more than what passes.
func worst(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	var problems []*Problem
	for _, err := range errs {
		p, ok := errors.AsType[*Problem](err)
		if !ok {
			p = &Problem{Reason: crds.ReasonRetrying, Message: err.Error(), Transient: true}
		}
		problems = append(problems, p)
	}
	slices.SortFunc(problems, func(a, b *Problem) int {
		if a.Transient != b.Transient {
			if a.Transient {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.Message, b.Message)
	})
	out := *problems[0]
	for _, q := range problems[1:] {
		out.Message += "; " + q.Message
		out.Transient = out.Transient || q.Transient
	}
	return &out
}

func (p *pass) applyOne(ctx context.Context, u *unstructured.Unstructured) (*liveObject, error) {
	id := idOf(u)
	if err := p.mayTake(ctx, id); err != nil {
		return nil, err
	}
	got, err := p.cluster.Apply(ctx, u, false)
	p.metrics.applied(id, err)
	if err != nil {
		return nil, apiProblem("apply", id, err)
	}
	p.log.Debug("applied", "collector", p.key(), "object", id.String(), "resourceVersion", got.GetResourceVersion())
	out := &liveObject{got, ownFields(got)}
	p.remember(p.key(), id, applied{got.GetUID(), digest(u.Object), out.ownFields})
	p.wrote(p.key(), id, got.GetResourceVersion())
	return out, nil
}

func (p *pass) key() types.NamespacedName {
	return types.NamespacedName{Namespace: p.collector.Namespace, Name: p.collector.Name}
}

// untouched tells whether sending u again would change nothing.
func (p *pass) untouched(u *unstructured.Unstructured) bool {
	live, ok := p.live[idOf(u)]
	if !ok {
		return false
	}
	last, ok := p.remembered(p.key(), idOf(u))
	return ok && last == applied{live.GetUID(), digest(u.Object), live.ownFields}
}

// mayTake refuses objects that are somebody else's: of another controller, or made by hand under the name that we need.
func (p *pass) mayTake(ctx context.Context, id ID) error {
	if _, ours := p.live[id]; ours {
		return nil
	}
	var u *unstructured.Unstructured
	if cached := p.cache.get(id); cached != nil {
		u = cached.Unstructured
	} else {
		var err error
		if u, err = p.cluster.Get(ctx, id); apierrors.IsNotFound(err) {
			return nil
		} else if err != nil {
			return apiProblem("get", id, err)
		}
	}
	owner := metav1.GetControllerOfNoCopy(u)
	switch {
	case owner == nil && u.GetLabels()[crds.LabelManagedBy] == crds.ManagedBy &&
		u.GetLabels()[crds.LabelInstance] == crds.Instance(p.collector.Namespace, p.collector.Name):
		return nil // what an orphaning delete of this collector has left
	case owner == nil:
		return &Problem{Reason: crds.ReasonOwnershipConflict, Message: fmt.Sprintf(
			"%s: exists and was not made for this collector; delete it, or give the collector another name", id)}
	case owner.UID == p.collector.UID:
		return nil
	case owner.Kind == crds.Kind && owner.Name == p.collector.Name:
		return &Problem{Reason: crds.ReasonRetrying, Transient: true, Message: fmt.Sprintf(
			"%s: still there from a deleted collector of the same name", id)}
	default:
		return &Problem{Reason: crds.ReasonOwnershipConflict, Message: fmt.Sprintf(
			"%s: belongs to %s %s; give the collector another name", id, owner.Kind, owner.Name)}
	}
}

// prune deletes what the collector owns and no longer renders, in the reverse of the order in which it was applied. Of kinds
// with a history the newest keep unused ones stay.
func (p *pass) prune(ctx context.Context, want []*unstructured.Unstructured, keep int) error {
	wanted := map[ID]bool{}
	for _, u := range want {
		wanted[idOf(u)] = true
	}
	stale, err := staleObjects(p.live, wanted, keep)
	if err != nil {
		return err
	}
	for _, u := range stale {
		id := idOf(u.Unstructured)
		err := p.cluster.Delete(ctx, id, u.GetUID())
		// A conflict means that somebody has made it anew since: then it is not what was stale.
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return apiProblem("delete", id, err)
		}
		delete(p.live, id)
		p.forgetObject(id)
		p.metrics.deleted(id)
		p.log.Info("deleted what is no longer rendered", "collector", p.key(), "object", id.String())
	}
	return nil
}

func staleObjects(live map[ID]*liveObject, wanted map[ID]bool, keep int) ([]*liveObject, error) {
	var stale, history []*liveObject
	for id, u := range live {
		k, err := kindOf(u.Unstructured)
		switch {
		case err != nil:
			return nil, err
		case wanted[id] || u.GetDeletionTimestamp() != nil:
		case k.History:
			history = append(history, u)
		default:
			stale = append(stale, u)
		}
	}
	slices.SortFunc(history, func(a, b *liveObject) int {
		return cmp.Or(b.GetCreationTimestamp().Compare(a.GetCreationTimestamp().Time), newer(b, a), strings.Compare(a.GetName(), b.GetName()))
	})
	if len(history) > keep {
		stale = append(stale, history[keep:]...)
	}
	slices.SortFunc(stale, func(a, b *liveObject) int {
		ka, _ := kindOf(a.Unstructured)
		kb, _ := kindOf(b.Unstructured)
		return cmp.Or(cmp.Compare(kb.Stage, ka.Stage), strings.Compare(idOf(a.Unstructured).String(), idOf(b.Unstructured).String()))
	})
	return stale, nil
}

// newer orders by resourceVersion what was created in the same second.
func newer(a, b *liveObject) int {
	order, err := resourceversion.CompareResourceVersion(a.GetResourceVersion(), b.GetResourceVersion())
	if err != nil {
		return 0
	}
	return order
}

func byStage(objects []*unstructured.Unstructured) (map[crds.Stage][]*unstructured.Unstructured, error) {
	out := map[crds.Stage][]*unstructured.Unstructured{}
	for _, u := range objects {
		k, err := kindOf(u)
		if err != nil {
			return nil, err
		}
		out[k.Stage] = append(out[k.Stage], u)
	}
	return out, nil
}

func schemaGroupKind(id ID) schema.GroupKind { return schema.GroupKind{Group: id.Group, Kind: id.Kind} }
