package monitor

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Clients is what a Watcher talks to the API server with.
type Clients struct {
	Dynamic  dynamic.Interface          // list and watch the custom resources
	Metadata metadata.Interface         // list and watch namespaces, Secrets and ConfigMaps, without their content
	Secrets  corev1client.SecretsGetter // get single ones
	Configs  corev1client.ConfigMapsGetter
}

// NewClients makes the clients for an API server.
func NewClients(config *rest.Config) (Clients, error) {
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return Clients{}, fmt.Errorf("clients for %s: %w", config.Host, err)
	}
	dyn, err := dynamic.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return Clients{}, fmt.Errorf("clients for %s: %w", config.Host, err)
	}
	md, err := metadata.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return Clients{}, fmt.Errorf("clients for %s: %w", config.Host, err)
	}
	core, err := corev1client.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return Clients{}, fmt.Errorf("clients for %s: %w", config.Host, err)
	}
	return Clients{dyn, md, core, core}, nil
}

// fetch gets a Secret or a ConfigMap.
func (c Clients) fetch(ctx context.Context, key assetKey) (any, string, error) {
	if key.kind == kindSecret {
		secret, err := c.Secrets.Secrets(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
		if err != nil {
			return nil, "", err
		}
		return &corev1.Secret{ObjectMeta: assetMeta(secret), Data: secret.Data}, secret.ResourceVersion, nil
	}
	cm, err := c.Configs.ConfigMaps(key.namespace).Get(ctx, key.name, metav1.GetOptions{})
	if err != nil {
		return nil, "", err
	}
	return &corev1.ConfigMap{ObjectMeta: assetMeta(cm), Data: cm.Data}, cm.ResourceVersion, nil
}

func assetMeta(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: o.GetName(), Namespace: o.GetNamespace(), ResourceVersion: o.GetResourceVersion()}
}

// contentFeed is a feed of custom resources with their content, in a namespace or, when it is empty, in all.
func (c Clients) contentFeed(gvr schema.GroupVersionResource, namespace string) *feed {
	client := c.Dynamic.Resource(gvr).Namespace(namespace)
	return &feed{
		what: what(gvr, namespace), client: c.Dynamic,
		list: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return client.List(ctx, o) },
		watch: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, o)
		},
		example: &unstructured.Unstructured{},
	}
}

// metadataFeed is a feed of metadata in a namespace, or of a single cluster-scoped object when it has a name.
func (c Clients) metadataFeed(gvr schema.GroupVersionResource, namespace, name string) *feed {
	client := c.Metadata.Resource(gvr).Namespace(namespace)
	only := func(o metav1.ListOptions) metav1.ListOptions {
		if name != "" {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
		}
		return o
	}
	return &feed{
		what: what(gvr, namespace+name), client: c.Metadata,
		list: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, only(o))
		},
		watch: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return client.Watch(ctx, only(o))
		},
		example: &metav1.PartialObjectMetadata{},
	}
}

func what(gvr schema.GroupVersionResource, in string) string {
	if in == "" {
		return gvr.GroupResource().String()
	}
	return gvr.GroupResource().String() + " in " + in
}
