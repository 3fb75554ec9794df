package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
)

// applyConcurrency is how many objects of one stage are sent at a time.
const applyConcurrency = 4

// execute carries out a plan. What preflight names is tried first with a dry run: when the API server refuses any of it, nothing is
// touched. A stage that fails keeps later ones, and deletions, from happening.
func (p *pass) execute(ctx context.Context, plan *Plan) error {
	var todo, stale []*Change
	for i := range plan.Changes {
		switch c := &plan.Changes[i]; c.Action {
		case ActionNone:
			p.pending = p.pending || c.Because != ""
		case ActionDelete:
			stale = append(stale, c)
		default:
			todo = append(todo, c)
		}
	}
	todo = slices.DeleteFunc(todo, p.held)
	if err := problems(todo); err != nil {
		return err
	}
	if err := p.preflight(ctx, todo); err != nil {
		return err
	}
	if err := p.writeAhead(ctx, plan); err != nil {
		return err
	}
	for _, stage := range stagesOf(todo) {
		var now []*Change
		for _, c := range todo {
			if c.stage == stage {
				now = append(now, c)
			}
		}
		if err := p.stage(ctx, now); err != nil {
			return err
		}
	}
	if p.pending || p.observed.contested {
		return nil // old pods may still need what is no longer rendered
	}
	if err := p.prune(ctx, stale); err != nil {
		return err
	}
	return p.settleFinalizer(ctx)
}

func stagesOf(changes []*Change) []crds.Stage {
	seen := map[crds.Stage]bool{}
	for _, c := range changes {
		seen[c.stage] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// problems are what planning has found already, before anything is asked.
func problems(changes []*Change) error {
	var errs []error
	for _, c := range changes {
		if c.Problem != nil {
			errs = append(errs, c.Problem)
		}
	}
	return worst(errs)
}

// preflight tries what changes: for a collector that runs all of it, so that one object that is refused leaves the others as they
// are; for a new one the workload, which most often is what is refused. Claims are not among it: whether they can grow keeps
// nothing else from changing.
func (p *pass) preflight(ctx context.Context, changes []*Change) error {
	running := len(owned(p.collector, p.live)) > 0
	for _, c := range changes {
		switch {
		case c.stage == crds.StageClaims, c.ID.Kind == "Pod":
		case c.Action == ActionReplace:
			if err := p.rehearse(ctx, c); err != nil {
				return err
			}
		case running || c.stage == crds.StageWorkload:
			if _, err := p.cluster.Apply(ctx, c.Want, true); err != nil {
				p.metrics.applied(c.ID, err)
				return apiProblem("apply", c.ID, err)
			}
		}
	}
	return nil
}

func (p *pass) stage(ctx context.Context, changes []*Change) error {
	var (
		group errgroup.Group
		mu    sync.Mutex
		errs  []error
	)
	group.SetLimit(applyConcurrency)
	for _, c := range changes {
		group.Go(func() error {
			err := p.do(ctx, c)
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return worst(errs)
}

// do carries out one change.
func (p *pass) do(ctx context.Context, c *Change) error {
	if c.Action == ActionReplace {
		return p.replace(ctx, c)
	}
	if c.Action == ActionUpdate && c.carried != nil && c.delta.empty() {
		return p.giveBack(ctx, c, c.Live)
	}
	got, err := p.send(ctx, c)
	p.metrics.applied(c.ID, err)
	if err != nil {
		problem := apiProblem("apply", c.ID, err)
		if c.stage == crds.StageClaims && !problem.Transient {
			p.refusedClaim(c, problem)
			return nil
		}
		return problem
	}
	if got == nil {
		return nil // there is nothing to do any more
	}
	p.log.Debug("applied", "collector", p.key(), "object", c.ID.String(), "action", c.Action, "resourceVersion", got.GetResourceVersion())
	p.took(c)
	left, err := p.planner.delta(got, c.Want)
	if err == nil {
		p.attempted(p.key(), c, got, left.fields(got), p.clock.Now())
	}
	if c.stage == crds.StageClaims || c.ID.Kind == "Pod" {
		p.wrote(p.key(), c.ID, got.GetResourceVersion())
		return nil
	}
	return p.giveBack(ctx, c, got)
}

// giveBack ends the change of an object with what others own in it, if that had to be carried over.
func (p *pass) giveBack(ctx context.Context, c *Change, got *unstructured.Unstructured) error {
	got, err := p.restore(ctx, c, got)
	if err != nil {
		return err
	}
	packFields(got)
	p.mu.Lock()
	p.live[c.ID] = got
	p.mu.Unlock()
	p.wrote(p.key(), c.ID, got.GetResourceVersion())
	return nil
}

// prune deletes what is no longer rendered.
func (p *pass) prune(ctx context.Context, stale []*Change) error {
	for _, c := range stale {
		if err := p.delete(ctx, c, metav1.DeletePropagationBackground); err != nil {
			return err
		}
		p.log.Info("deleted", "collector", p.key(), "object", c.ID.String(), "because", c.Because)
		if c.ID.Kind == "Pod" {
			p.tell(c.Live, crds.ReasonPodDeleted, fmt.Sprintf("%s: deleted, because it %s", c.ID, c.Because))
		}
	}
	return nil
}

// delete deletes the object that was planned for, and no later one of its name.
func (p *pass) delete(ctx context.Context, c *Change, propagation metav1.DeletionPropagation) error {
	uid := c.Live.GetUID()
	if err := deleteOne(ctx, p.cluster, c.ID, uid, propagation); err != nil {
		return err
	}
	p.mu.Lock()
	delete(p.live, c.ID)
	p.mu.Unlock()
	p.deleted(p.key(), c.ID, uid)
	p.metrics.deleted(c.ID)
	return nil
}

// deleteOne deletes the object with this UID. That it is gone, or was made anew by somebody, is no error.
func deleteOne(ctx context.Context, cluster Cluster, id ID, uid types.UID, propagation metav1.DeletionPropagation) error {
	err := cluster.Delete(ctx, id, uid, propagation)
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	switch {
	case !apierrors.IsConflict(err):
	case id.Kind == crds.PodKind().GVK.Kind: // which may not be read one by one
		if otherUID(err) {
			return nil
		}
	default:
		now, getErr := cluster.Get(ctx, id)
		if apierrors.IsNotFound(getErr) || getErr == nil && now.GetUID() != uid {
			return nil
		}
	}
	return apiProblem("delete", id, err)
}

// otherUID tells a conflict with the precondition of a UID from others, which only its words do
// (k8s.io/apiserver/pkg/registry/rest, BeforeDelete; k8s.io/apiserver/pkg/storage, Preconditions.Check).
func otherUID(conflict error) bool {
	text := strings.ToLower(conflict.Error())
	return strings.Contains(text, "precondition") && strings.Contains(text, "uid")
}

// worst joins the problems of a stage into one. What only a person can resolve weighs more than what passes.
func worst(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	var found []*Problem
	for _, err := range errs {
		found = append(found, asProblem(err))
	}
	slices.SortFunc(found, func(a, b *Problem) int {
		if a.Transient != b.Transient {
			if a.Transient {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.Message, b.Message)
	})
	out := *found[0]
	for _, q := range found[1:] {
		out.Message += "; " + q.Message
		out.Transient = out.Transient || q.Transient
	}
	return &out
}

// took says whose changes an applied change has undone.
func (p *pass) took(c *Change) {
	if c.Action != ActionUpdate || c.stage == crds.StageClaims || c.ID.Kind == "Pod" {
		return
	}
	known := p.sameIntent(p.key(), c)
	var fields []string
	for _, f := range c.Fields {
		var from []string
		for _, o := range f.TakenFrom {
			from = append(from, o.String())
		}
		switch {
		case f.Op == FieldRelease:
		case len(from) > 0:
			fields = append(fields, fmt.Sprintf("%s from %s", f.Path, strings.Join(from, " and ")))
		case known && f.Op == FieldSet && f.Old == nil:
			fields = append(fields, fmt.Sprintf("%s, which somebody had removed", f.Path))
		}
	}
	if len(fields) == 0 {
		return
	}
	p.metrics.takenBack.WithLabelValues(c.ID.Kind).Add(float64(len(fields)))
	p.event(c.Live, crds.ReasonFieldTakenBack, fmt.Sprintf("%s: taken back %s", c.ID, few(fields)))
}

// few names the first paths, and how many more there are.
func few(paths []string) string {
	const most = 3
	if len(paths) <= most {
		return strings.Join(paths, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(paths[:most], ", "), len(paths)-most)
}
