package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/otelier/otelier/crds"
)

// leaves tells whether the collector is on its way out already, where a plan would give objects their owner back. A deletion that
// leaves orphans takes owners away one by one after it has begun; to give one back then, because our cache does not show the deletion yet,
// would have the garbage collector delete what somebody wanted to keep.
func (p *pass) leaves(ctx context.Context, plan *Plan) (bool, error) {
	if !slices.ContainsFunc(plan.Changes, func(c Change) bool {
		return c.Live != nil && slices.ContainsFunc(c.Fields, func(f FieldChange) bool { return strings.HasPrefix(f.Path, ".metadata.ownerReferences") })
	}) {
		return false, nil
	}
	id := ID{Group: crds.Group, Kind: crds.Kind, Namespace: p.collector.Namespace, Name: p.collector.Name}
	u, err := p.cluster.Get(ctx, id)
	if apierrors.IsNotFound(err) {
		return true, nil
	} else if err != nil {
		return false, fmt.Errorf("%s: get: %w", id, err)
	}
	return u.GetUID() != p.collector.UID || u.GetDeletionTimestamp() != nil, nil
}
