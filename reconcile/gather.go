package reconcile

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
)

// view is what is known of the cluster without asking it. What it returns must not be modified.
type view interface {
	// ownedBy are the namespaced objects whose controller has this UID.
	ownedBy(uid types.UID) Objects
	// get is one object of a kind that collectors own, nil when there is none that bears our labels.
	get(id ID) *unstructured.Unstructured
	// pods and claims are those with the collector's labels.
	pods(c *crds.Collector) []*unstructured.Unstructured
	claims(c *crds.Collector) []*unstructured.Unstructured
}

// gather collects what a plan depends on. The API server is asked only about what the view does not hold: names that are to be
// created and may be taken by others, objects of the inventory that have lost their labels, and storage classes of claims that are
// to grow. About those only where classes is set: to read them takes a right in all of the cluster.
func gather(
	ctx context.Context, v view, cluster Cluster, c *crds.Collector, want []*unstructured.Unstructured, classes bool,
) (Input, error) {
	in := Input{
		Collector: c, Want: want, Live: v.ownedBy(c.UID), Claims: v.claims(c), Pods: v.pods(c), Expandable: map[string]bool{},
	}
	if c.UID == "" {
		in.Live = Objects{}
	}
	wanted := map[ID]bool{}
	for _, u := range want {
		id := idOf(u)
		wanted[id] = true
		if in.Live[id] != nil {
			continue
		}
		if cached := v.get(id); cached != nil {
			in.Live[id] = cached
		} else if err := in.fetch(ctx, cluster, id); err != nil {
			return in, err
		}
	}
	for id := range inventoryOf(c) {
		if wanted[id] || in.Live[id] != nil {
			continue
		}
		if err := in.fetch(ctx, cluster, id); err != nil {
			return in, err
		}
		if u := in.Live[id]; u != nil && !belongsTo(c, u) {
			delete(in.Live, id) // made anew by somebody, or given away
		}
	}
	if !classes {
		return in, nil
	}
	return in, in.classes(ctx, cluster)
}

func (in *Input) fetch(ctx context.Context, cluster Cluster, id ID) error {
	u, err := cluster.Get(ctx, id)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return apiProblem("get", id, err)
	}
	in.Live[id] = u
	return nil
}

// classes asks about the storage classes of claims that are to grow. Where that is not allowed, expansion is tried.
func (in *Input) classes(ctx context.Context, cluster Cluster) error {
	for _, u := range in.Want {
		if u.GetKind() != "StatefulSet" {
			continue
		}
		for _, g := range growing(u, in.Claims) {
			name := g.class()
			if _, known := in.Expandable[name]; known || name == "" || g.shrinks {
				continue
			}
			class, err := cluster.Get(ctx, ID{crds.StorageClassKind().GVK.Group, crds.StorageClassKind().GVK.Kind, "", name})
			switch {
			case apierrors.IsForbidden(err):
				in.noClasses = true
				return nil
			case apierrors.IsNotFound(err):
			case err != nil:
				return apiProblem("get", ID{crds.StorageClassKind().GVK.Group, crds.StorageClassKind().GVK.Kind, "", name}, err)
			default:
				in.Expandable[name], _, _ = unstructured.NestedBool(class.Object, "allowVolumeExpansion")
			}
		}
	}
	return nil
}
