package discover

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/discovery"
	promkube "github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// kubeDiscovery is Prometheus' service discovery of Kubernetes over informers of our own, for three reasons: pods are kept without
// what no label is made of; the client is the process' own; and it is known when everything has been told that was there at the start,
// which Prometheus' own cannot say.
type kubeDiscovery struct {
	config *promkube.SDConfig
	client kubernetes.Interface
	own    string // namespace of the process
	// all are the namespaces that stand for all of them; empty where these can be watched at once.
	all    []string
	log    *slog.Logger
	events *prometheus.CounterVec
	failed func(error)
	// told is set when everything was told.
	told atomic.Bool
	// grace is how long informers get to stop, patience how long the API server may say nothing before that is an error.
	grace, patience time.Duration
}

// newKube prepares the discovery that cfg describes.
func (ps *Providers) newKube(cfg *promkube.SDConfig, log *slog.Logger, failed func(error)) (*kubeDiscovery, error) {
	d := &kubeDiscovery{config: cfg, log: log, events: ps.events, failed: failed, grace: stopGrace, patience: answerPatience}
	rc, err := ps.kubeConfig(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.KubeConfig == "" && cfg.APIServer.URL == nil {
		d.all = ps.opts.Namespaces
	}
	if cfg.NamespaceDiscovery.IncludeOwnNamespace {
		name, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
		if err != nil {
			return nil, fmt.Errorf("own namespace is not known: %w", err)
		}
		d.own = strings.TrimSpace(string(name))
	}
	if d.client, err = kubernetes.NewForConfig(rc); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	return d, nil
}

// kubeConfig is what Prometheus would use, but for the process' own configuration in the place of that of its pod.
func (ps *Providers) kubeConfig(cfg *promkube.SDConfig) (*rest.Config, error) {
	var (
		rc  *rest.Config
		err error
	)
	switch {
	case cfg.KubeConfig != "":
		rc, err = clientcmd.BuildConfigFromFlags("", cfg.KubeConfig)
	case cfg.APIServer.URL != nil:
		rt, errRT := commonconfig.NewRoundTripperFromConfig(cfg.HTTPClientConfig, "kubernetes_sd")
		rc, err = &rest.Config{Host: cfg.APIServer.String(), Transport: rt}, errRT
	case ps.opts.Kube != nil:
		rc = rest.CopyConfig(ps.opts.Kube)
	default:
		rc, err = rest.InClusterConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	rc.ContentType = "application/vnd.kubernetes.protobuf"
	rc.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	if rc.QPS == 0 && rc.RateLimiter == nil {
		// Nothing but lists and watches, one after the other: the server's own fairness is the limit.
		rc.QPS = -1
	}
	return rc, nil
}

// stopGrace is how long informers get to stop. While the API server can't be reached, a reflector sleeps for up to half a minute
// without looking at its context (k8s.io/client-go/tools/cache/reflector.go, watchList).
const stopGrace = 2 * time.Second

// answerPatience is for an API server that can't be reached: a reflector tries again and tells nobody (isWatchErrorRetriable, ibidem).
const answerPatience = 10 * time.Second

// waitUpTo waits for what runs, for so long and no longer.
func waitUpTo(grace time.Duration, running *sync.WaitGroup) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		running.Wait()
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-stopped:
	case <-timer.C:
	}
}

// Run implements discovery.Discoverer. It returns when all it started has stopped, or stopGrace is over.
func (d *kubeDiscovery) Run(ctx context.Context, up chan<- []*targetgroup.Group) {
	var running sync.WaitGroup
	defer waitUpTo(d.grace, &running)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	set := &informers{ctx: ctx, running: &running, failed: d.failed, log: d.log}
	inner := make(chan []*targetgroup.Group)
	main := make([]cache.SharedIndexInformer, 0, 1)
	for _, ns := range d.namespaces() {
		part, informer, err := d.part(set, ns)
		if err != nil {
			d.failed(err)
			return
		}
		main = append(main, informer)
		running.Go(func() { part.Run(ctx, inner) })
	}
	set.start()
	defer time.AfterFunc(d.patience, func() { set.remind(d.patience) }).Stop()
	d.forward(ctx, main, set.synced(), inner, up)
}

// forward hands groups on, and finds out when the first picture is complete: when every object that was there when the informers had
// synced has been told of. An empty list says so to who listens.
func (d *kubeDiscovery) forward(
	ctx context.Context, main []cache.SharedIndexInformer, synced <-chan struct{}, in <-chan []*targetgroup.Group, up chan<- []*targetgroup.Group,
) {
	seen := map[string]bool{}
	var missing map[string]bool
	for {
		var groups []*targetgroup.Group
		select {
		case <-ctx.Done():
			return
		case <-synced:
			synced = nil
			missing = d.sources(main, seen)
		case groups = <-in:
		}
		for _, g := range groups {
			if missing != nil {
				delete(missing, g.Source)
			} else if seen != nil {
				seen[g.Source] = true
			}
		}
		if len(groups) > 0 && !send(ctx, up, groups) {
			return
		}
		if missing != nil && len(missing) == 0 && !d.told.Load() {
			seen, missing = nil, nil
			d.told.Store(true)
			if !send(ctx, up, []*targetgroup.Group{}) {
				return
			}
		}
	}
}

func send(ctx context.Context, up chan<- []*targetgroup.Group, groups []*targetgroup.Group) bool {
	select {
	case <-ctx.Done():
		return false
	case up <- groups:
		return true
	}
}

// sources of what is in the informers and not in seen.
func (d *kubeDiscovery) sources(main []cache.SharedIndexInformer, seen map[string]bool) map[string]bool {
	prefix := string(d.config.Role) + "/"
	if d.config.Role == promkube.RoleService {
		prefix = "svc/"
	}
	missing := map[string]bool{}
	for _, inf := range main {
		for _, obj := range inf.GetStore().List() {
			key, err := cache.MetaNamespaceKeyFunc(obj)
			if err == nil && !unaddressed(obj) && !seen[prefix+key] {
				missing[prefix+key] = true
			}
		}
	}
	return missing
}

// namespaces are those that are watched; one empty string stands for all.
func (d *kubeDiscovery) namespaces() []string {
	if d.config.Role == promkube.RoleNode {
		return []string{""}
	}
	names := d.config.NamespaceDiscovery.Names
	if d.own != "" {
		names = append(slices.Clip(names), d.own)
	}
	switch {
	case len(names) > 0:
		return names
	case len(d.all) > 0:
		return d.all
	default:
		return []string{""}
	}
}

// part is the discovery of one namespace, and the informer of what it makes groups of.
func (d *kubeDiscovery) part(set *informers, ns string) (discovery.Discoverer, cache.SharedIndexInformer, error) {
	b := kubeBuilder{set: set, client: d.client, selectors: d.config.Selectors, attach: d.config.AttachMetadata, namespace: ns}
	meta := b.attached()
	log := d.log.With("role", string(d.config.Role), "namespace", ns)
	a := d.config.AttachMetadata
	switch d.config.Role {
	case promkube.RoleEndpointSlice:
		inf := b.endpointSlices()
		return promkube.NewEndpointSlice(log, inf, b.services(), b.pods(), meta.node, meta.namespace, meta.replicaSet, meta.job,
			a.Deployment, a.Job, a.CronJob, d.events), inf, nil
	case promkube.RoleEndpoint:
		inf := b.endpoints()
		//nolint:staticcheck // Endpoints are deprecated, and a role of Prometheus nonetheless.
		return promkube.NewEndpoints(log, inf, b.services(), b.pods(), meta.node, meta.namespace, meta.replicaSet, meta.job,
			a.Deployment, a.Job, a.CronJob, d.events), inf, nil
	case promkube.RolePod:
		inf := b.pods()
		return promkube.NewPod(log, inf, meta.node, meta.namespace, meta.replicaSet, meta.job,
			a.Deployment, a.Job, a.CronJob, d.events), inf, nil
	case promkube.RoleService:
		inf := b.services()
		return promkube.NewService(log, inf, meta.namespace, d.events), inf, nil
	case promkube.RoleIngress:
		inf := b.ingresses()
		return promkube.NewIngress(log, inf, meta.namespace, d.events), inf, nil
	case promkube.RoleNode:
		inf := b.nodes()
		return promkube.NewNode(log, inf, d.events), inf, nil
	default:
		return nil, nil, fmt.Errorf("unknown role %q", d.config.Role)
	}
}

// kubePicture knows from the discovery itself.
type kubePicture struct{ told *atomic.Bool }

func (kubePicture) nothing() bool { return false }

func (k kubePicture) complete([]*targetgroup.Group) bool { return k.told.Load() }

func (kubePicture) failed(string) {}
