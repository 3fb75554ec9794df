package reconcile

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
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
	Planner *Planner
	// Namespaces to watch; all when empty.
	Namespaces []string
	// Workers is how many collectors are worked on at a time, at least 1.
	Workers int
	// Elected is closed when this process may write. Until then it only watches.
	Elected <-chan struct{}
	// DryRun plans and says what would be done, in the log, in metrics and in Events, and does nothing else.
	DryRun bool
	// Conditions are what others have to say about a collector in its status, such as what becomes of its targets; nil for nothing. It
	// is asked at each pass, and must be quick; Enqueue brings about a pass when the answer has changed.
	Conditions Conditions
	// Replicas is told how many pods a workload is to have right before that is applied, so that a pod has nothing to do any more when
	// it goes; nil for nobody. It is told of each number that is new, at a first creation too, and not of what others set. What is
	// applied may be refused: what the workload says then counts again.
	Replicas func(collector types.NamespacedName, replicas int32)
	// ProgressDeadline is how long a rollout may make no progress before it is stalled; default 10 minutes.
	ProgressDeadline time.Duration

	Cluster  Cluster
	Recorder events.EventRecorder
	Registry prometheus.Registerer
	Clock    clock.WithTicker
	Log      *slog.Logger
}

// Conditions returns the conditions of a collector that are true now, of the types crds.DiscoveryConditions only, with Type, Reason and
// Message set. Where known is false nothing is known yet, as after a start: what the status says of them stays.
type Conditions func(collector types.NamespacedName) (conditions []metav1.Condition, known bool)

// Controller keeps the objects and the status of collectors what they should be.
type Controller struct {
	*engine
	options Options
	cache   *liveCache
	queue   workqueue.TypedRateLimitingInterface[types.NamespacedName]
	synced  atomic.Bool
}

// New makes a Controller that watches through dyn and, for kinds whose content is not needed, md. It starts nothing.
func New(dyn dynamic.Interface, md metadata.Interface, o Options) (*Controller, error) {
	queue := workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[types.NamespacedName](firstRetry, lastRetry),
		workqueue.TypedRateLimitingQueueConfig[types.NamespacedName]{Name: "collector", Clock: o.Clock},
	)
	live, err := newCache(dyn, md, o.Namespaces, queue.Add, o.Log)
	if err != nil {
		return nil, err
	}
	return &Controller{engine: newEngine(live, o), options: o, cache: live, queue: queue}, nil
}

func newEngine(s store, o Options) *engine {
	return &engine{
		store: s, cluster: o.Cluster, planner: o.Planner, recorder: o.Recorder, metrics: newMetrics(o.Registry), clock: o.Clock, log: o.Log,
		conditions: o.Conditions, replicas: o.Replicas, observe: o.DryRun, deadline: cmp.Or(o.ProgressDeadline, defaultProgressDeadline),
		memory: map[types.NamespacedName]*memory{}, working: map[types.NamespacedName]*workLock{},
	}
}

// Ready tells whether everything that is watched has been listed once.
func (c *Controller) Ready() bool {
	return c.synced.Load()
}

// Enqueue brings about a pass over a collector.
func (c *Controller) Enqueue(collector types.NamespacedName) {
	c.queue.Add(collector)
}

// Run watches and reconciles until ctx ends, and returns when all it started has stopped.
func (c *Controller) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { <-ctx.Done(); c.queue.ShutDown() })
	synced := make(chan struct{})
	wg.Go(func() {
		c.cache.run(ctx, func() {
			c.synced.Store(true)
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
	again, err := c.sync(ctx, key)
	took := c.clock.Since(start)
	var p *Problem
	switch {
	case ctx.Err() != nil:
	case err == nil:
		c.metrics.observe(outcomeSuccess, took)
		c.queue.Forget(key)
		if again > 0 {
			c.queue.AddAfter(key, again)
		}
	case errors.As(err, &p) && !p.Transient:
		c.metrics.observe(outcomeRefused, took)
		c.log.Debug("refused", "collector", key.String(), "reason", p.Reason, "error", p.Message) // announce has told it
		c.queue.Forget(key)
		c.queue.AddAfter(key, soonest(p.retryAfter(), again))
	default:
		c.metrics.observe(outcomeRetry, took)
		c.log.Warn("will be tried again", "collector", key.String(), "error", err)
		if p != nil && p.After > 0 {
			c.queue.AddAfter(key, p.After) // the API server has said when
		} else {
			c.queue.AddRateLimited(key)
		}
	}
	return true
}
