package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/otelier/otelier/crds"
)

const (
	ownerIndex    = "owner"    // of owned objects: the UID of the collector
	instanceIndex = "instance" // of collectors, pods and claims: namespace/instance, as in their labels
)

// liveCache holds the collectors of the watched namespaces, what they own, and the pods and claims that come from that. Objects of
// kinds that are cached without their content come out of it with their metadata only.
type liveCache struct {
	log        *slog.Logger
	collectors []watch
	owned      []watch
	related    []watch
}

// watch is one informer: a resource in a namespace, or in all of them when it is empty.
type watch struct {
	resource  schema.GroupVersionResource
	kind      schema.GroupVersionKind
	namespace string
	informer  cache.SharedIndexInformer
}

// newCache prepares informers, and starts none. enqueue is called with the key of a collector whenever something happens to
// it or to what it owns.
func newCache(
	dyn dynamic.Interface, md metadata.Interface, namespaces []string, enqueue func(types.NamespacedName), log *slog.Logger,
) (*liveCache, error) {
	if len(namespaces) == 0 {
		namespaces = []string{metav1.NamespaceAll}
	}
	c := &liveCache{log: log}
	byOwner := cache.Indexers{ownerIndex: indexByOwner}
	for _, ns := range namespaces {
		gvr := crds.CollectorResource()
		c.collectors = append(c.collectors, watch{
			gvr, gvr.GroupVersion().WithKind(crds.Kind), ns, dynamicInformer(dyn, gvr, ns, "", cache.Indexers{instanceIndex: indexByName}),
		})
		for _, k := range []crds.OwnedKind{crds.PodKind(), crds.ClaimKind()} {
			c.related = append(c.related, watch{
				k.GVR(), k.GVK, ns, dynamicInformer(dyn, k.GVR(), ns, crds.OwnedSelector(), cache.Indexers{instanceIndex: indexByLabel}),
			})
		}
		for _, k := range crds.OwnedKinds() {
			w := watch{resource: k.GVR(), kind: k.GVK, namespace: ns}
			if k.MetadataOnly {
				w.informer = metadataInformer(md, w.resource, ns, crds.OwnedSelector(), byOwner)
			} else {
				w.informer = dynamicInformer(dyn, w.resource, ns, crds.OwnedSelector(), byOwner)
			}
			c.owned = append(c.owned, w)
		}
	}
	for _, w := range c.all() {
		if err := c.prepare(w, enqueue); err != nil {
			return nil, fmt.Errorf("watch %s: %w", w.resource.GroupResource(), err)
		}
	}
	return c, nil
}

func (c *liveCache) all() []watch { return slices.Concat(c.collectors, c.owned, c.related) }

func (c *liveCache) prepare(w watch, enqueue func(types.NamespacedName)) error {
	if err := w.informer.SetTransform(slim(w.kind)); err != nil {
		return err
	}
	if err := w.informer.SetWatchErrorHandlerWithContext(c.watchFailed(w)); err != nil {
		return err
	}
	notify := func(obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if u, ok := obj.(*unstructured.Unstructured); ok {
			for _, key := range c.concerned(w, u) {
				enqueue(key)
			}
		}
	}
	_, err := w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: notify,
		UpdateFunc: func(was, is any) {
			a, _ := was.(*unstructured.Unstructured)
			b, _ := is.(*unstructured.Unstructured)
			if w.kind == crds.PodKind().GVK && a != nil && b != nil && !podChanged(a, b) {
				return
			}
			notify(was) // Of an object that is no longer ours the old state says whose it was.
			notify(is)
		},
		DeleteFunc: notify,
	})
	return err
}

// concerned are the collectors that an object is about.
func (c *liveCache) concerned(w watch, u *unstructured.Unstructured) []types.NamespacedName {
	if w.kind.Kind == crds.Kind {
		return []types.NamespacedName{{Namespace: u.GetNamespace(), Name: u.GetName()}}
	}
	if owner := controllerOf(u); owner != nil {
		return []types.NamespacedName{{Namespace: u.GetNamespace(), Name: owner.Name}}
	}
	if w.kind != crds.PodKind().GVK && w.kind != crds.ClaimKind().GVK {
		return nil
	}
	var out []types.NamespacedName
	for _, collectors := range c.collectors {
		for _, of := range indexed(collectors, instanceIndex, u.GetNamespace()+"/"+u.GetLabels()[crds.LabelInstance]) {
			out = append(out, types.NamespacedName{Namespace: of.GetNamespace(), Name: of.GetName()})
		}
	}
	if key, ok := madeFor(u); ok && len(out) == 0 && w.kind == crds.PodKind().GVK {
		return []types.NamespacedName{key}
	}
	return out
}

// watchFailed says what is wrong in a way that tells what to do; the informer tries again by itself.
func (c *liveCache) watchFailed(w watch) cache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, r *cache.Reflector, err error) {
		switch {
		case errors.IsNotFound(err) && w.kind.Kind == crds.Kind:
			c.log.Error("the CRD is not installed: run `otelier crds | kubectl apply --server-side -f -`", "resource", w.resource.GroupResource().String())
		case errors.IsForbidden(err):
			c.log.Error("not allowed to list and watch", "resource", w.resource.GroupResource().String(), "namespace", w.namespace, "error", err)
		default:
			cache.DefaultWatchErrorHandler(ctx, r, err)
		}
	}
}

// informerGrace is how long informers get to stop. While the API server can't be reached, a reflector sleeps for up to half a
// minute without looking at its context (k8s.io/client-go/tools/cache/reflector.go, watchList).
const informerGrace = 2 * time.Second

// run watches until ctx ends, and returns when every informer has stopped or informerGrace is over. ready is called once
// everything was listed.
func (c *liveCache) run(ctx context.Context, ready func()) {
	var wg sync.WaitGroup
	for _, w := range c.all() {
		wg.Go(func() { w.informer.RunWithContext(ctx) })
	}
	if c.waitForSync(ctx) {
		ready()
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		wg.Wait()
	}()
	<-ctx.Done()
	select {
	case <-stopped:
	case <-time.After(informerGrace):
		c.log.Warn("not all watches have stopped: the API server can't be reached")
	}
}

func (c *liveCache) waitForSync(ctx context.Context) bool {
	var synced []cache.InformerSynced
	for _, w := range c.all() {
		synced = append(synced, w.informer.HasSynced)
	}
	return cache.WaitForCacheSync(ctx.Done(), synced...)
}

// collector is the named one as the API server holds it, nil when there is none.
func (c *liveCache) collector(key types.NamespacedName) *unstructured.Unstructured {
	for _, w := range c.collectors {
		if obj, ok, _ := w.informer.GetIndexer().GetByKey(key.String()); ok {
			return obj.(*unstructured.Unstructured)
		}
	}
	return nil
}

// ownedBy are the objects whose controller has this UID. They must not be modified.
func (c *liveCache) ownedBy(uid types.UID) Objects {
	out := Objects{}
	for _, w := range c.owned {
		for _, u := range indexed(w, ownerIndex, string(uid)) {
			out[idOf(u)] = u
		}
	}
	return out
}

// get is one owned object, nil when there is none that bears our labels.
func (c *liveCache) get(id ID) *unstructured.Unstructured {
	for _, w := range c.owned {
		if w.kind.Group != id.Group || w.kind.Kind != id.Kind {
			continue
		}
		if obj, ok, _ := w.informer.GetIndexer().GetByKey(id.Namespace + "/" + id.Name); ok {
			return obj.(*unstructured.Unstructured)
		}
	}
	return nil
}

func (c *liveCache) pods(of *crds.Collector) []*unstructured.Unstructured {
	return c.labelled(crds.PodKind(), of)
}

func (c *liveCache) claims(of *crds.Collector) []*unstructured.Unstructured {
	return c.labelled(crds.ClaimKind(), of)
}

func (c *liveCache) labelled(k crds.OwnedKind, of *crds.Collector) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, w := range c.related {
		if w.kind == k.GVK {
			out = append(out, indexed(w, instanceIndex, of.Namespace+"/"+crds.Instance(of.Namespace, of.Name))...)
		}
	}
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}

func indexed(w watch, index, value string) []*unstructured.Unstructured {
	objs, err := w.informer.GetIndexer().ByIndex(index, value)
	if err != nil {
		return nil // the index was there from the start
	}
	out := make([]*unstructured.Unstructured, 0, len(objs))
	for _, obj := range objs {
		out = append(out, obj.(*unstructured.Unstructured))
	}
	return out
}

// seen tells whether the cache holds what the API server had for a resource at resourceVersion, or something newer.
func (c *liveCache) seen(resource schema.GroupVersionResource, namespace, version string) bool {
	for _, w := range c.all() {
		if w.resource != resource || (w.namespace != namespace && w.namespace != metav1.NamespaceAll) {
			continue
		}
		order, err := resourceversion.CompareResourceVersion(w.informer.GetStore().LastStoreSyncResourceVersion(), version)
		return err != nil || order >= 0 // versions that can't be compared must not stop us for ever
	}
	return true
}

// slim makes what is cached of what was listed or watched. Kinds that are cached with their metadata only get the form of all others.
func slim(kind schema.GroupVersionKind) cache.TransformFunc {
	return func(obj any) (any, error) {
		u, ok := obj.(*unstructured.Unstructured)
		if m, partial := obj.(*metav1.PartialObjectMetadata); partial {
			tree, err := runtime.DefaultUnstructuredConverter.ToUnstructured(m)
			if err != nil {
				return nil, err
			}
			u, ok = &unstructured.Unstructured{Object: tree}, true
			u.SetGroupVersionKind(kind)
		}
		if !ok {
			return obj, nil
		}
		switch kind.Kind {
		case crds.Kind:
			u.SetManagedFields(nil)
		case crds.PodKind().GVK.Kind:
			u = slimPod(u)
		default:
			packFields(u)
			// The same kind of object has much the same fields, managers and labels in each collector.
			u = &unstructured.Unstructured{Object: shared(u.Object).(map[string]any)}
		}
		return u, nil
	}
}

func indexByName(obj any) ([]string, error) {
	o, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	return []string{o.GetNamespace() + "/" + crds.Instance(o.GetNamespace(), o.GetName())}, nil
}

func indexByLabel(obj any) ([]string, error) {
	o, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	return []string{o.GetNamespace() + "/" + o.GetLabels()[crds.LabelInstance]}, nil
}

func indexByOwner(obj any) ([]string, error) {
	o, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	if owner := controllerOf(o); owner != nil {
		return []string{string(owner.UID)}, nil
	}
	return nil, nil
}

// controllerOf is the controlling owner of o if that is a collector.
func controllerOf(o metav1.Object) *metav1.OwnerReference {
	owner := metav1.GetControllerOfNoCopy(o)
	if owner == nil || owner.Kind != crds.Kind {
		return nil
	}
	if gv, err := schema.ParseGroupVersion(owner.APIVersion); err != nil || gv.Group != crds.Group {
		return nil
	}
	return owner
}
