package discover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	promkube "github.com/prometheus/prometheus/discovery/kubernetes"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	appsinformers "k8s.io/client-go/informers/apps/v1"
	batchinformers "k8s.io/client-go/informers/batch/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	discoveryinformers "k8s.io/client-go/informers/discovery/v1"
	networkinginformers "k8s.io/client-go/informers/networking/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Names of indexes that Prometheus' discoverers look things up by.
const (
	byNode       = "node"
	byPod        = "pod"
	byReplicaSet = "replicaset"
	byJob        = "job"
	byService    = "service"
)

// informers are those of one discovery.
type informers struct {
	ctx     context.Context
	running *sync.WaitGroup
	failed  func(error)
	log     *slog.Logger
	all     []cache.SharedIndexInformer
	names   []string // of what each is about
	said    atomic.Bool
}

func (s *informers) add(name string, inf cache.SharedIndexInformer) cache.SharedIndexInformer {
	// The errors are those of an informer that runs.
	_ = inf.SetTransform(slim)
	_ = inf.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		switch {
		case apierrors.IsResourceExpired(err), apierrors.IsGone(err), errors.Is(err, io.EOF):
			// That is how watches end.
		case inf.HasSynced():
			s.log.Warn("watching has failed and is tried again", "error", err)
		default:
			s.said.Store(true)
			s.failed(err)
			s.log.Warn("listing has failed and is tried again", "error", err)
		}
	})
	s.all = append(s.all, inf)
	s.names = append(s.names, name)
	return inf
}

// remind says what the API server has not told for so long, unless there was an error that says more.
func (s *informers) remind(after time.Duration) {
	var silent []string
	for i, inf := range s.all {
		if !inf.HasSynced() {
			silent = append(silent, s.names[i])
		}
	}
	if len(silent) == 0 || s.said.Load() || s.ctx.Err() != nil {
		return
	}
	slices.Sort(silent)
	s.failed(fmt.Errorf("the API server has not listed in %v: %s", after, strings.Join(slices.Compact(silent), ", ")))
}

func (s *informers) start() {
	for _, inf := range s.all {
		s.running.Go(func() { inf.RunWithContext(s.ctx) })
	}
}

// synced is closed when all of them have what was there.
func (s *informers) synced() <-chan struct{} {
	done := make(chan struct{})
	s.running.Go(func() {
		has := make([]cache.InformerSynced, 0, len(s.all))
		for _, inf := range s.all {
			has = append(has, inf.HasSynced)
		}
		if cache.WaitForCacheSync(s.ctx.Done(), has...) {
			close(done)
		}
	})
	return done
}

// kubeBuilder makes the informers that a discovery of one namespace needs, as Prometheus would.
type kubeBuilder struct {
	set       *informers
	client    kubernetes.Interface
	selectors []promkube.SelectorConfig
	attach    promkube.AttachMetadataConfig
	namespace string
}

// named says of which namespace resources are.
func (b *kubeBuilder) named(resource string) string {
	if b.namespace == "" {
		return resource
	}
	return resource + " of namespace " + b.namespace
}

// attached are the informers of what is attached to labels; nil where nothing is.
type attached struct{ node, namespace, replicaSet, job cache.SharedInformer }

func (b *kubeBuilder) attached() attached {
	var a attached
	if b.attach.Node {
		a.node = b.nodes()
	}
	if b.attach.Namespace {
		a.namespace = b.set.add("namespaces", coreinformers.NewNamespaceInformer(b.client, 0, cache.Indexers{}))
	}
	if b.attach.Deployment {
		a.replicaSet = b.set.add(b.named("replicasets"), appsinformers.NewReplicaSetInformer(b.client, b.namespace, 0, cache.Indexers{}))
	}
	if b.attach.Job || b.attach.CronJob {
		a.job = b.set.add(b.named("jobs"), batchinformers.NewJobInformer(b.client, b.namespace, 0, cache.Indexers{}))
	}
	return a
}

// selector of a role, as the configuration has it.
func (b *kubeBuilder) selector(role promkube.Role) func(*metav1.ListOptions) {
	i := slices.IndexFunc(b.selectors, func(s promkube.SelectorConfig) bool { return s.Role == role })
	if i < 0 {
		return nil
	}
	s := b.selectors[i]
	return func(o *metav1.ListOptions) { o.LabelSelector, o.FieldSelector = s.Label, s.Field }
}

func byNamespace() cache.Indexers {
	return cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
}

func (b *kubeBuilder) nodes() cache.SharedIndexInformer {
	return b.set.add("nodes", coreinformers.NewFilteredNodeInformer(b.client, 0, cache.Indexers{}, b.selector(promkube.RoleNode)))
}

func (b *kubeBuilder) services() cache.SharedIndexInformer {
	return b.set.add(b.named("services"), coreinformers.NewFilteredServiceInformer(b.client, b.namespace, 0, byNamespace(), b.selector(promkube.RoleService)))
}

func (b *kubeBuilder) ingresses() cache.SharedIndexInformer {
	return b.set.add(b.named("ingresses"), networkinginformers.NewFilteredIngressInformer(
		b.client, b.namespace, 0, byNamespace(), b.selector(promkube.RoleIngress)))
}

func (b *kubeBuilder) pods() cache.SharedIndexInformer {
	ix := byNamespace()
	ix[byNode] = index(func(p *corev1.Pod) []string { return []string{p.Spec.NodeName} })
	ix[byReplicaSet] = index(func(p *corev1.Pod) []string { return ownedBy(p, "ReplicaSet") })
	ix[byJob] = index(func(p *corev1.Pod) []string { return ownedBy(p, "Job") })
	return b.set.add(b.named("pods"), coreinformers.NewFilteredPodInformer(b.client, b.namespace, 0, ix, b.selector(promkube.RolePod)))
}

func (b *kubeBuilder) endpointSlices() cache.SharedIndexInformer {
	ix := byNamespace()
	ix[byService] = index(func(e *discoveryv1.EndpointSlice) []string {
		if name, ok := e.Labels[discoveryv1.LabelServiceName]; ok {
			return []string{e.Namespace + "/" + name}
		}
		return nil
	})
	ix[byNode] = index(func(e *discoveryv1.EndpointSlice) []string {
		var nodes []string
		for _, ep := range e.Endpoints {
			nodes = append(nodes, nodeOf(ep.TargetRef, ep.NodeName)...)
		}
		return nodes
	})
	return b.set.add(b.named("endpointslices"), discoveryinformers.NewFilteredEndpointSliceInformer(
		b.client, b.namespace, 0, ix, b.selector(promkube.RoleEndpointSlice)))
}

//nolint:staticcheck // Endpoints are deprecated, and a role of Prometheus nonetheless.
func (b *kubeBuilder) endpoints() cache.SharedIndexInformer {
	ix := byNamespace()
	ix[byPod] = index(func(e *corev1.Endpoints) []string {
		var pods []string
		for _, s := range e.Subsets {
			for _, a := range s.Addresses {
				if a.TargetRef != nil && a.TargetRef.Kind == "Pod" {
					pods = append(pods, a.TargetRef.Namespace+"/"+a.TargetRef.Name)
				}
			}
		}
		return pods
	})
	ix[byNode] = index(func(e *corev1.Endpoints) []string {
		var nodes []string
		for _, s := range e.Subsets {
			for _, a := range s.Addresses {
				nodes = append(nodes, nodeOf(a.TargetRef, a.NodeName)...)
			}
		}
		return nodes
	})
	return b.set.add(b.named("endpoints"), coreinformers.NewFilteredEndpointsInformer(b.client, b.namespace, 0, ix, b.selector(promkube.RoleEndpoint)))
}

// index is an index function for objects of one type.
func index[T any](keys func(T) []string) cache.IndexFunc {
	return func(obj any) ([]string, error) {
		o, ok := obj.(T)
		if !ok {
			return nil, nil
		}
		return keys(o), nil
	}
}

func ownedBy(p *corev1.Pod, kind string) []string {
	if o := metav1.GetControllerOfNoCopy(p); o != nil && o.Kind == kind {
		return []string{p.Namespace + "/" + o.Name}
	}
	return nil
}

func nodeOf(ref *corev1.ObjectReference, node *string) []string {
	switch {
	case ref == nil:
		return nil
	case ref.Kind == "Node":
		return []string{ref.Name}
	case ref.Kind == "Pod" && node != nil:
		return []string{*node}
	default:
		return nil
	}
}

// slim takes from objects what no label is made of. It gets them before anyone else sees them.
func slim(obj any) (any, error) {
	o, ok := obj.(metav1.Object)
	if !ok {
		return obj, nil
	}
	o.SetManagedFields(nil)
	if p, ok := obj.(*corev1.Pod); ok {
		p.Spec = corev1.PodSpec{
			NodeName: p.Spec.NodeName, Containers: slimContainers(p.Spec.Containers), InitContainers: slimContainers(p.Spec.InitContainers),
		}
		p.Status = corev1.PodStatus{
			Phase: p.Status.Phase, PodIP: p.Status.PodIP, HostIP: p.Status.HostIP, Conditions: slices.DeleteFunc(
				p.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type != corev1.PodReady }),
			ContainerStatuses:     slimStatuses(p.Status.ContainerStatuses),
			InitContainerStatuses: slimStatuses(p.Status.InitContainerStatuses),
		}
	}
	return obj, nil
}

func slimContainers(in []corev1.Container) []corev1.Container {
	out := make([]corev1.Container, len(in))
	for i, c := range in {
		out[i] = corev1.Container{Name: c.Name, Image: c.Image, Ports: c.Ports}
	}
	return out
}

func slimStatuses(in []corev1.ContainerStatus) []corev1.ContainerStatus {
	out := make([]corev1.ContainerStatus, len(in))
	for i, s := range in {
		out[i] = corev1.ContainerStatus{Name: s.Name, ContainerID: s.ContainerID}
	}
	return out
}

// unaddressed is true for nodes without an address, for which Prometheus has no group, not even an empty one.
func unaddressed(obj any) bool {
	n, ok := obj.(*corev1.Node)
	return ok && len(n.Status.Addresses) == 0
}
