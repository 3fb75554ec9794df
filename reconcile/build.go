package reconcile

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/otelier/otelier/crds"
)

// Planner makes plans. It holds the schemas of what collectors own, and is safe for concurrent use.
type Planner struct {
	render func(*crds.Collector) (Rendered, error)
	*differ
}

// NewPlanner returns a Planner of what render gives rise to. It takes a fifth of a second, to parse the schemas.
func NewPlanner(render func(*crds.Collector) (Rendered, error)) *Planner {
	return &Planner{render, newDiffer()}
}

// Input is all that a plan depends on.
type Input struct {
	Collector *crds.Collector
	// Want is what was rendered, without owners.
	Want []*unstructured.Unstructured
	// Live is what belongs to the collector, and what is in the way of what is wanted.
	Live Objects
	// Claims and Pods of the collector.
	Claims, Pods []*unstructured.Unstructured
	// Expandable says of storage classes, by name, whether their claims can grow; of one that is not there it is not known.
	Expandable map[string]bool
	// Refused are claims that the API server does not let grow, and why.
	Refused map[ID]string
	// Settled objects were found to need nothing: as long as neither they nor the intent change, that holds.
	Settled map[ID]settled
	// Carried is what others had set in objects that were deleted to be made anew.
	Carried map[ID]*carried

	noClasses bool // storage classes may not be read
}

// settled is an object's version together with the digest of an intent over which it changes nothing.
type settled struct {
	version string
	intent  string
}

// Build decides what has to be done so that what is wanted is what is live. It is pure.
func (p *Planner) Build(in Input) (*Plan, error) {
	out := &Plan{Collector: types.NamespacedName{Namespace: in.Collector.Namespace, Name: in.Collector.Name}}
	wanted := map[ID]bool{}
	for _, u := range in.Want {
		c, err := p.change(in, ownedBy(in.Collector, u.DeepCopy()), out)
		if err != nil {
			return nil, err
		}
		if pod := stuckThen(&c, in.Pods); pod != nil {
			c.stuck = pod.GetName()
		}
		wanted[c.ID] = true
		out.Changes = append(out.Changes, c)
		if c.ID.Kind == "StatefulSet" {
			more, err := p.dependents(in, &c, out)
			if err != nil {
				return nil, err
			}
			out.Changes = append(out.Changes, more...)
		}
	}
	slices.SortStableFunc(out.Changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.stage, b.stage), strings.Compare(a.ID.Kind, b.ID.Kind), strings.Compare(a.ID.Name, b.ID.Name))
	})
	stale, err := staleObjects(in, wanted)
	if err != nil {
		return nil, err
	}
	out.Changes = append(out.Changes, stale...)
	return out, nil
}

// change is what happens to one wanted object.
func (p *Planner) change(in Input, want *unstructured.Unstructured, plan *Plan) (Change, error) {
	k, err := kindOf(want)
	if err != nil {
		return Change{}, err
	}
	c := Change{ID: idOf(want), Action: ActionNone, Want: want, Live: in.Live[idOf(want)], stage: k.Stage, base: want}
	if k.Stage == crds.StageWorkload {
		yielded, note, err := yieldReplicas(in.Collector, want, c.Live, in.Carried[c.ID])
		if err != nil {
			return c, err
		}
		c.Want = yielded
		if note != nil {
			plan.Notes = append(plan.Notes, *note)
		}
	}
	if c.carried = in.Carried[c.ID]; c.carried != nil {
		c.rendered = c.Want
		if c.Want, err = p.with(c.Want, c.carried); err != nil {
			return c, err
		}
	}
	switch {
	case c.Live == nil:
		c.Action = ActionCreate
		return c, nil
	case in.Settled[c.ID] == settled{c.Live.GetResourceVersion(), digest(c.Want.Object)}:
		return c, nil
	}
	if c.Problem = mayTake(in.Collector, c.Live); c.Problem != nil {
		c.Action = ActionUpdate
		return c, nil
	}
	if c.Live.GetDeletionTimestamp() != nil {
		c.Because = "being deleted"
		return c, nil
	}
	if c.delta, err = p.delta(c.Live, c.Want); err != nil {
		c.Action, c.Problem = ActionUpdate, &Problem{Reason: crds.ReasonInvalidSpec, Message: err.Error()}
		return c, nil
	}
	c.Fields = c.delta.fields(c.Live)
	if k.Stage == crds.StageWorkload && rollsPods(c.Fields) {
		if err := p.deferFields(&c); err != nil {
			return c, err
		}
	}
	switch c.Immutable = c.delta.immutablePaths(k); {
	case c.delta.empty() && c.carried != nil:
		c.Action = ActionUpdate // made anew, but its owners are not set yet
	case c.delta.empty():
	case len(c.Immutable) > 0:
		c.Action = ActionReplace
	default:
		c.Action = ActionUpdate
	}
	return c, nil
}

// staleObjects is what the collector owns and no longer renders, in the reverse of the order in which it was applied. Of kinds with a
// history the newest unused ones stay, and those in use: a pod that a partition or a bad rollout has left at an old version must find it
// when it is started or made anew.
func staleObjects(in Input, wanted map[ID]bool) ([]Change, error) {
	var stale []Change
	var history []*unstructured.Unstructured
	gone := func(k crds.OwnedKind, u *unstructured.Unstructured, because string) {
		stale = append(stale, Change{ID: idOf(u), Action: ActionDelete, Live: u, Because: because, stage: k.Stage})
	}
	for id, u := range in.Live {
		k, err := kindOf(u)
		switch {
		case err != nil:
			return nil, err
		case wanted[id] || u.GetDeletionTimestamp() != nil || !belongsTo(in.Collector, u):
		case k.History:
			history = append(history, u)
		default:
			gone(k, u, "no longer rendered")
		}
	}
	slices.SortFunc(history, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(b.GetCreationTimestamp().Compare(a.GetCreationTimestamp().Time), newer(b, a), strings.Compare(a.GetName(), b.GetName()))
	})
	used, known := configsInUse(in)
	for i, u := range history {
		if i >= configVersions(in.Collector) && known && !used[u.GetName()] {
			k, _ := kindOf(u)
			gone(k, u, "older than the versions that are kept")
		}
	}
	slices.SortFunc(stale, func(a, b Change) int {
		return cmp.Or(cmp.Compare(b.stage, a.stage), strings.Compare(a.ID.String(), b.ID.String()))
	})
	return stale, nil
}

// newer orders by resourceVersion what was created in the same second.
func newer(a, b *unstructured.Unstructured) int {
	order, err := resourceversion.CompareResourceVersion(a.GetResourceVersion(), b.GetResourceVersion())
	if err != nil {
		return 0
	}
	return order
}

func configVersions(c *crds.Collector) int {
	if c.Spec.ConfigVersions != nil {
		return int(max(1, *c.Spec.ConfigVersions))
	}
	return defaultConfigVersions
}
