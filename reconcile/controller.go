package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"github.com/otelier/otelier/crds"
)

const (
	firstRetry = 250 * time.Millisecond
	lastRetry  = 2 * time.Minute
	// defaultConfigVersions is what the CRD defaults spec.configVersions to.
	defaultConfigVersions = 3
)

// Rendered is what a collector gives rise to.
type Rendered struct {
	// Objects in the order in which they are applied, without owner references.
	Objects []*unstructured.Unstructured
	// Warnings are about things in the configuration that are probably not meant.
	Warnings []string
}

// Options of a Controller.
type Options struct {
	// Render turns a collector into objects. An error is the user's fault.
	Render func(*crds.Collector) (Rendered, error)
	// Namespaces to watch; all when empty.
	Namespaces []string
	// Workers is how many collectors are worked on at a time, at least 1.
	Workers int
	// Elected is closed when this process may write. Until then it only watches.
	Elected <-chan struct{}

	Cluster  Cluster
	Recorder events.EventRecorder
	Registry prometheus.Registerer
	Clock    clock.WithTicker
	Log      *slog.Logger
}

// Controller keeps the objects and the status of collectors what they should be.
type Controller struct {
	options Options
	cluster Cluster
	cache   *liveCache
	queue   workqueue.TypedRateLimitingInterface[types.NamespacedName]
	metrics *metrics
	clock   clock.WithTicker
	log     *slog.Logger

	mu      sync.Mutex
	last    map[types.NamespacedName]map[ID]applied
	working map[types.NamespacedName]*sync.Mutex                            // by the name of the workload, which several collectors may come to share
	written map[types.NamespacedName]map[schema.GroupVersionResource]string // newest resourceVersion that we made
	refused map[types.NamespacedName]refusal
	ready   bool
}

// New makes a Controller that watches through dyn and, for kinds whose content is not needed, md. It starts nothing.
func New(dyn dynamic.Interface, md metadata.Interface, o Options) (*Controller, error) {
	c := &Controller{
		options: o, cluster: o.Cluster, metrics: newMetrics(o.Registry), clock: o.Clock, log: o.Log,
		last:    map[types.NamespacedName]map[ID]applied{},
		working: map[types.NamespacedName]*sync.Mutex{},
		written: map[types.NamespacedName]map[schema.GroupVersionResource]string{},
		refused: map[types.NamespacedName]refusal{},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](firstRetry, lastRetry),
			workqueue.TypedRateLimitingQueueConfig[types.NamespacedName]{Name: "collector", Clock: o.Clock},
		),
	}
	var err error
	c.cache, err = newCache(dyn, md, o.Namespaces, c.queue.Add, o.Log)
	return c, err
}

// Ready tells whether everything that is watched has been listed once.
func (c *Controller) Ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready
}

// Run watches and reconciles until ctx ends, and returns when all it started has stopped.
func (c *Controller) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { <-ctx.Done(); c.queue.ShutDown() })
	synced := make(chan struct{})
	wg.Go(func() {
		c.cache.run(ctx, func() {
			c.mu.Lock()
			c.ready = true
			c.mu.Unlock()
			close(synced)
		})
	})
	if wait(ctx, synced) && wait(ctx, c.options.Elected) {
		c.log.Info("reconciling", "workers", c.options.Workers, "namespaces", cmp.Or(strings.Join(c.options.Namespaces, ","), "all"))
		for range c.options.Workers {
			wg.Go(func() {
				for c.next(ctx) {
				}
			})
		}
	}
	wg.Wait()
}

func wait(ctx context.Context, ch <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-ch:
		return true
	}
}

// next works on one collector of the queue; false when there will be no more.
func (c *Controller) next(ctx context.Context) bool {
	key, quit := c.queue.Get()
	if quit {
		return false
	}
	defer c.queue.Done(key)
	start := c.clock.Now()
	err := c.sync(ctx, key)
	took := c.clock.Since(start)
	var p *Problem
	switch {
	case ctx.Err() != nil:
	case err == nil:
		c.metrics.observe(outcomeSuccess, took)
		c.queue.Forget(key)
	case errors.As(err, &p) && !p.Transient:
		c.metrics.observe(outcomeRefused, took)
		c.log.Debug("refused", "collector", key.String(), "reason", p.Reason, "error", p.Message) // announce has told it
		c.queue.Forget(key)
		c.queue.AddAfter(key, p.retryAfter())
	default:
		c.metrics.observe(outcomeRetry, took)
		c.log.Warn("will be tried again", "collector", key.String(), "error", err)
		c.queue.AddRateLimited(key)
	}
	return true
}

// sync is one pass over a collector. An error that only a person can resolve is a *Problem that is not transient; it is in
// the status then.
func (c *Controller) sync(ctx context.Context, key types.NamespacedName) error {
	u := c.cache.collector(key)
	if u == nil || u.GetDeletionTimestamp() != nil {
		// What it owned goes with it: the garbage collector follows the owner references.
		c.forget(key)
		return nil
	}
	if !c.fresh(key) {
		return nil // the event that we wait for will bring us back
	}
	collector, err := crds.Decode(u)
	if err != nil {
		return c.finish(ctx, observation{collector: collector, problem: specProblem(err)}, nil, nil)
	}
	live := c.cache.ownedBy(collector.UID)
	if collector.Spec.ManagementState == crds.StateUnmanaged {
		return c.finish(ctx, observation{collector: collector, paused: true}, workloads(live), live)
	}
	o := observation{collector: collector, unsupported: collector.Spec.UnsupportedFields()}
	rendered, err := c.options.Render(collector)
	if err != nil {
		o.problem = specProblem(err)
		return c.finish(ctx, o, workloads(live), live)
	}
	o.warnings = rendered.Warnings
	var ids []ID
	for _, obj := range rendered.Objects {
		ids = append(ids, idOf(ownedBy(collector, obj)))
	}
	if o.problem = c.refusedBefore(key, rendered.Objects, live); o.problem != nil {
		return c.finish(ctx, o, ids, live)
	}
	p := &pass{Controller: c, collector: collector, live: live}
	err = p.execute(ctx, rendered.Objects)
	if err != nil && !errors.As(err, &o.problem) {
		return err
	}
	if err == nil && collector.Spec.Mode == crds.ModeSidecar {
		o.problem = &Problem{Reason: crds.ReasonNotImplemented, Message: "spec.mode: sidecars are not injected by this version"}
	}
	c.noteRefusal(key, rendered.Objects, p.live, o.problem)
	return c.finish(ctx, o, ids, p.live)
}

// finish judges what is live and writes the status.
func (c *Controller) finish(ctx context.Context, o observation, ids []ID, live map[ID]*liveObject) error {
	o.health = health(ids, live)
	for id, u := range live {
		if k, ok := crds.KindOf(schemaGroupKind(id)); ok && k.Stage == crds.StageWorkload {
			o.workload = u.Unstructured
		}
	}
	if err := c.writeStatus(ctx, o.collector, buildStatus(o, c.clock.Now())); err != nil || o.problem == nil {
		return err
	}
	return o.problem
}

func workloads(live map[ID]*liveObject) []ID {
	var out []ID
	for id := range live {
		if k, ok := crds.KindOf(schemaGroupKind(id)); ok && k.Stage == crds.StageWorkload {
			out = append(out, id)
		}
	}
	return out
}

func configVersions(c *crds.Collector) int {
	if c.Spec.ConfigVersions != nil {
		return int(max(1, *c.Spec.ConfigVersions))
	}
	return defaultConfigVersions
}

// writeStatus applies the status if it is not what the collector has, and says in Events what is new about it.
func (c *Controller) writeStatus(ctx context.Context, collector *crds.Collector, s crds.Status) error {
	if digest(s) == digest(collector.Status) {
		return nil
	}
	u, err := statusObject(collector, s)
	if err != nil {
		return err
	}
	got, err := c.cluster.ApplyStatus(ctx, u)
	if err != nil {
		return fmt.Errorf("collector %s/%s: write status: %w", collector.Namespace, collector.Name, err)
	}
	c.metrics.statuses.Inc()
	key := types.NamespacedName{Namespace: collector.Namespace, Name: collector.Name}
	c.wroteResource(key, crds.CollectorResource(), got.GetResourceVersion())
	c.announce(collector, s.Conditions)
	return nil
}

// announce makes an Event of each condition that says something new. Rollouts of paused collectors are not our doing.
func (c *Controller) announce(collector *crds.Collector, conditions []metav1.Condition) {
	paused := meta.IsStatusConditionTrue(conditions, crds.ConditionPaused)
	for _, now := range conditions {
		if paused && now.Type != crds.ConditionPaused {
			continue
		}
		was := meta.FindStatusCondition(collector.Status.Conditions, now.Type)
		if kind := eventType(was, now); kind != "" {
			c.log.Log(context.Background(), logLevel(kind), "status", "collector", collector.Namespace+"/"+collector.Name,
				"condition", now.Type, "status", now.Status, "reason", now.Reason, "message", now.Message)
			c.options.Recorder.Eventf(reference(collector), nil, kind, now.Reason, "Reconcile", "%s", noteOf(now.Message))
		}
	}
}
