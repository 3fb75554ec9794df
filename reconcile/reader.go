package reconcile

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/otelier/otelier/crds"
)

// Reader reads once what a Controller would watch.
type Reader struct{ client dynamic.Interface }

// NewReader returns a Reader over client. It sends GET requests only.
func NewReader(client dynamic.Interface) *Reader { return &Reader{client} }

// Snapshot is what was there at one time. It is safe for concurrent use.
type Snapshot struct {
	collectors []*unstructured.Unstructured
	objects    Objects // of owned kinds
	byOwner    map[types.UID][]*unstructured.Unstructured
	byInstance map[ID][]*unstructured.Unstructured // pods and claims, by kind, namespace and LabelInstance
}

// pageSize keeps answers of large clusters from being too long for the API server to hold.
const pageSize = 500

// Load lists the collectors of a namespace, or of all when it is empty, and what belongs to them: one LIST for each kind.
func (r *Reader) Load(ctx context.Context, namespace string) (*Snapshot, error) {
	kinds := append(crds.OwnedKinds(), crds.PodKind(), crds.ClaimKind(), crds.OwnedKind{
		GVK: crds.CollectorResource().GroupVersion().WithKind(crds.Kind), Resource: crds.Resource,
	})
	lists := make([][]*unstructured.Unstructured, len(kinds))
	group, ctx := errgroup.WithContext(ctx)
	for i, k := range kinds {
		group.Go(func() (err error) {
			selector := crds.OwnedSelector()
			if k.GVK.Kind == crds.Kind {
				selector = ""
			}
			lists[i], err = r.list(ctx, k, namespace, selector)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	s := &Snapshot{objects: Objects{}, byOwner: map[types.UID][]*unstructured.Unstructured{}, byInstance: map[ID][]*unstructured.Unstructured{}}
	for i, k := range kinds {
		for _, u := range lists[i] {
			s.add(k, u)
		}
	}
	return s, nil
}

func (r *Reader) list(ctx context.Context, k crds.OwnedKind, namespace, selector string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	o := metav1.ListOptions{LabelSelector: selector, Limit: pageSize}
	for {
		list, err := r.client.Resource(k.GVR()).Namespace(namespace).List(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", k.GVR().GroupResource(), err)
		}
		for i := range list.Items {
			out = append(out, &list.Items[i])
		}
		if o.Continue = list.GetContinue(); o.Continue == "" {
			return out, nil
		}
	}
}

func (s *Snapshot) add(k crds.OwnedKind, u *unstructured.Unstructured) {
	if k == crds.PodKind() {
		u = slimPod(u)
	}
	switch k.GVK.Kind {
	case crds.Kind:
		s.collectors = append(s.collectors, u)
	case crds.PodKind().GVK.Kind, crds.ClaimKind().GVK.Kind:
		at := instanceID(k, u.GetNamespace(), u.GetLabels()[crds.LabelInstance])
		s.byInstance[at] = append(s.byInstance[at], u)
	default:
		s.objects[idOf(u)] = u
		if owner := controllerOf(u); owner != nil {
			s.byOwner[owner.UID] = append(s.byOwner[owner.UID], u)
		}
	}
}

func instanceID(k crds.OwnedKind, namespace, instance string) ID {
	return ID{k.GVK.Group, k.GVK.Kind, namespace, instance}
}

// Collectors by namespace and name. They must not be modified.
func (s *Snapshot) Collectors() []*unstructured.Unstructured {
	return slices.SortedFunc(slices.Values(s.collectors), func(a, b *unstructured.Unstructured) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
}

func (s *Snapshot) ownedBy(uid types.UID) Objects {
	out := Objects{}
	for _, u := range s.byOwner[uid] {
		out[idOf(u)] = u
	}
	return out
}

func (s *Snapshot) get(id ID) *unstructured.Unstructured { return s.objects[id] }

func (s *Snapshot) pods(c *crds.Collector) []*unstructured.Unstructured {
	return s.byInstance[instanceID(crds.PodKind(), c.Namespace, crds.Instance(c.Namespace, c.Name))]
}

func (s *Snapshot) claims(c *crds.Collector) []*unstructured.Unstructured {
	return s.byInstance[instanceID(crds.ClaimKind(), c.Namespace, crds.Instance(c.Namespace, c.Name))]
}
