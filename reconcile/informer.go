package reconcile

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
)

// These are what dynamicinformer and metadatainformer do. Those packages link the typed informers and clients of every API of
// Kubernetes, which is a third of the binary.

func dynamicInformer(
	client dynamic.Interface, gvr schema.GroupVersionResource, namespace, selector string, indexers cache.Indexers,
) cache.SharedIndexInformer {
	r := client.Resource(gvr).Namespace(namespace)
	return newInformer(client, &unstructured.Unstructured{}, selector, indexers,
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return r.List(ctx, o) }, r.Watch)
}

func metadataInformer(
	client metadata.Interface, gvr schema.GroupVersionResource, namespace, selector string, indexers cache.Indexers,
) cache.SharedIndexInformer {
	r := client.Resource(gvr).Namespace(namespace)
	return newInformer(client, &metav1.PartialObjectMetadata{}, selector, indexers,
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return r.List(ctx, o) }, r.Watch)
}

func newInformer(
	client any, example runtime.Object, selector string, indexers cache.Indexers,
	list func(context.Context, metav1.ListOptions) (runtime.Object, error),
	open func(context.Context, metav1.ListOptions) (apiwatch.Interface, error),
) cache.SharedIndexInformer {
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = selector
			return list(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o.LabelSelector = selector
			return open(ctx, o)
		},
	}
	// The client tells whether it can stream the first list; fakes can't.
	return cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(lw, client), example, 0, indexers)
}
