package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/discover"
	"github.com/otelier/otelier/discover/member"
	"github.com/otelier/otelier/discover/monitor"
	"github.com/otelier/otelier/render"
)

const (
	// lookInterval is how often it is looked whether there is something else to say in a status.
	lookInterval = 2 * time.Second
	// readyPatience is how long pools keep this process from being ready. One that does not get ready must not keep the others from being
	// reached.
	readyPatience = 30 * time.Second
)

// allocatorOptions are what an allocator is made of.
type allocatorOptions struct {
	Config     *rest.Config
	Metadata   metadata.Interface
	Namespaces []string
	Rendering  render.Options
	// Elected is closed when this process writes statuses.
	Elected <-chan struct{}
	// Unreachable is true when collectors are told an address that is probably not that of this process.
	Unreachable bool
	Recorder    events.EventRecorder
	Registry    prometheus.Registerer
	Log         *slog.Logger
	Clock       clock.WithTicker
}

// allocator serves the pools of all collectors that ask for it. It does so in every replica of the operator, elected or not.
type allocator struct {
	environment
	rendering render.Options
	// unreachable is true until that was said.
	unreachable bool
	monitors    *monitor.Watcher
	listener    net.Listener
	changed     chan struct{}
	// enqueue brings about a pass over a collector, whose conditions have changed; and synced tells whether all collectors have been seen.
	enqueue func(types.NamespacedName)
	synced  func() bool

	mu      sync.Mutex // for what is below
	pending map[types.NamespacedName]*unstructured.Unstructured
	served  map[types.NamespacedName]*collectorPools
	settled time.Time // when all collectors had been seen
	warm    bool
	// said is what a pass was last given to say of a collector, or is about to be.
	said map[types.NamespacedName][]metav1.Condition
}

func newAllocator(o allocatorOptions) (*allocator, error) {
	client, err := kubernetes.NewForConfig(o.Config)
	if err != nil {
		return nil, err
	}
	clients, err := monitor.NewClients(o.Config)
	if err != nil {
		return nil, err
	}
	providers, err := discover.NewProviders(discover.ProvidersOptions{
		Log: o.Log, Clock: o.Clock, Registry: o.Registry, Kube: o.Config, Namespaces: o.Namespaces,
	})
	if err != nil {
		return nil, err
	}
	a := &allocator{
		environment: environment{
			providers: providers, metrics: allocate.NewMetrics(o.Registry), log: o.Log, clock: o.Clock,
			watchMembers: func(m member.Options, zones bool) (*member.Watcher, error) {
				m.Client = client
				if zones {
					m.Metadata = o.Metadata
				}
				return member.New(m)
			},
			elected: o.Elected, replicated: newReplicasOf(client, o.Rendering.AllocatorURL, o.Clock, o.Log).now, address: o.Rendering.AllocatorURL,
		},
		rendering: o.Rendering, unreachable: o.Unreachable, changed: make(chan struct{}, 1),
		monitors: monitor.New(monitor.Options{
			Clients: clients, Namespaces: o.Namespaces, Recorder: o.Recorder, Elected: o.Elected, Clock: o.Clock, Log: o.Log,
		}),
		pending: map[types.NamespacedName]*unstructured.Unstructured{}, served: map[types.NamespacedName]*collectorPools{},
		said: map[types.NamespacedName][]metav1.Condition{},
	}
	a.subscribe, a.monitorsWait = a.monitors.Subscribe, a.monitors.Waiting
	a.server = allocate.NewServer(allocate.ServerOptions{Metrics: a.metrics, Log: o.Log})
	return a, nil
}

// collectorChanged takes note of a collector as it is now, nil when it is gone.
func (a *allocator) collectorChanged(key types.NamespacedName, u *unstructured.Unstructured) {
	a.mu.Lock()
	a.pending[key] = u
	a.mu.Unlock()
	a.poke()
}

func (a *allocator) poke() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// replicas announces how many pods a workload is about to have.
func (a *allocator) replicas(key types.NamespacedName, n int32) {
	if c := a.of(key); c != nil {
		c.replicas(n)
	}
}

func (a *allocator) of(key types.NamespacedName) *collectorPools {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.served[key]
}

// conditions is what a collector's status is to say of its targets; false while that is not known.
func (a *allocator) conditions(key types.NamespacedName) ([]metav1.Condition, bool) {
	a.mu.Lock()
	c, settled := a.served[key], !a.settled.IsZero()
	_, pending := a.pending[key]
	a.mu.Unlock()
	if c == nil {
		return nil, settled && !pending
	}
	now, known := c.conditions()
	if known { // A pass comes when it likes: what is gone again when look comes has to be taken back all the same.
		a.mu.Lock()
		a.said[key] = now
		a.mu.Unlock()
	}
	return now, known
}

// Ready tells whether the pools that there were at the start are, or have had their time.
func (a *allocator) Ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.warm:
		return true
	case a.settled.IsZero():
		return false
	}
	a.warm = a.clock.Since(a.settled) >= readyPatience
	for _, c := range a.served {
		if !a.warm && !c.ready() {
			return false
		}
	}
	a.warm = true
	return true
}

// Run serves until ctx ends, and returns when all it started has stopped.
func (a *allocator) Run(ctx context.Context) error {
	return together(ctx,
		func(ctx context.Context) error { return a.server.Run(ctx, a.listener) },
		a.providers.Run, a.monitors.Run, a.follow,
		func(ctx context.Context) error {
			if cache.WaitForCacheSync(ctx.Done(), a.synced) {
				a.poke()
			}
			return nil
		},
	)
}

// follow keeps the pools what collectors ask for.
func (a *allocator) follow(ctx context.Context) error {
	ticker := a.clock.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		synced := a.synced()
		a.syncPending(ctx)
		if synced {
			a.settle()
		}
		select {
		case <-ctx.Done():
			a.closeAll()
			return nil
		case <-a.changed:
		case <-ticker.C():
			a.look()
		}
	}
}

func (a *allocator) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.settled.IsZero() {
		a.settled = a.clock.Now()
	}
}

// look has the statuses written of which there is something else to say.
func (a *allocator) look() {
	a.mu.Lock()
	all := maps.Clone(a.served)
	a.mu.Unlock()
	for key, c := range all {
		if now, known := c.conditions(); known && a.sayNow(key, now) {
			a.enqueue(key)
		}
	}
	for _, key := range a.forget(all) {
		a.enqueue(key)
	}
}

// sayNow tells whether what there is to say of a collector is new, and takes it for said.
func (a *allocator) sayNow(key types.NamespacedName, now []metav1.Condition) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, before := a.said[key]
	a.said[key] = now
	return !before || !slices.Equal(now, last)
}

// forget forgets what was said of collectors other than these, and returns their names.
func (a *allocator) forget(but map[types.NamespacedName]*collectorPools) []types.NamespacedName {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []types.NamespacedName
	for key := range a.said {
		if but[key] == nil && a.served[key] == nil {
			delete(a.said, key)
			out = append(out, key)
		}
	}
	return out
}

// syncPending works on the collectors that have changed.
func (a *allocator) syncPending(ctx context.Context) {
	for ctx.Err() == nil {
		a.mu.Lock()
		var (
			key   types.NamespacedName
			u     *unstructured.Unstructured
			found bool
		)
		for key, u = range a.pending {
			found = true
			break
		}
		a.mu.Unlock()
		if !found {
			return
		}
		if err := a.sync(ctx, key, u); err != nil {
			a.log.Warn("the targets of a collector stay what they were", "collector", key.String(), "error", err)
		}
		a.mu.Lock()
		if a.pending[key] == u {
			delete(a.pending, key)
		}
		a.mu.Unlock()
	}
}

// sync makes the pools of a collector what it asks for. With an error they stay what they were: the pods too have the last spec that was
// of use.
func (a *allocator) sync(ctx context.Context, key types.NamespacedName, u *unstructured.Unstructured) error {
	if u == nil {
		a.remove(key)
		return nil
	}
	collector, err := crds.Decode(u)
	if err != nil {
		return err
	}
	want, err := collector.Allocation()
	if err != nil {
		return err
	}
	pools, err := render.Pools(collector, a.rendering)
	if err != nil {
		return err
	}
	if want == nil || len(pools) == 0 {
		a.remove(key)
		return nil
	}
	c := a.of(key)
	if c == nil {
		a.warnUnreachable(key)
		c = newCollectorPools(a.environment, key)
		a.mu.Lock()
		a.served[key] = c
		a.mu.Unlock()
	}
	if err := c.sync(ctx, collector, want, pools); err != nil {
		return fmt.Errorf("allocation: %w", err)
	}
	return nil
}

// warnUnreachable says once that collectors are told where somebody else would be. It is for the one goroutine that syncs.
func (a *allocator) warnUnreachable(key types.NamespacedName) {
	if a.unreachable {
		a.unreachable = false
		a.log.Warn("this operator runs outside of the cluster, and collectors ask for their targets at the Service of one that is inside: "+
			"set --allocator-url to where they reach this one", "url", a.rendering.AllocatorURL, "collector", key.String())
	}
}

func (a *allocator) remove(key types.NamespacedName) {
	a.mu.Lock()
	c := a.served[key]
	delete(a.served, key)
	a.mu.Unlock()
	if c != nil {
		c.close()
	}
}

func (a *allocator) closeAll() {
	a.mu.Lock()
	all := a.served
	a.served = map[types.NamespacedName]*collectorPools{}
	a.mu.Unlock()
	for _, c := range all {
		c.close()
	}
}
