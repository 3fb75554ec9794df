package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	promlabels "github.com/prometheus/prometheus/model/labels"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/discover"
	"github.com/otelier/otelier/discover/member"
	"github.com/otelier/otelier/discover/monitor"
	"github.com/otelier/otelier/render"
)

// environment is what the pools of all collectors share.
type environment struct {
	providers *discover.Providers
	server    *allocate.Server
	metrics   *allocate.Metrics
	// watchMembers makes a watcher from the options that a collector gives rise to.
	watchMembers func(o member.Options, zones bool) (*member.Watcher, error)
	// subscribe asks for the jobs of monitors.
	subscribe func(monitor.Selection, func(monitor.Result)) (unsubscribe func())
	// monitorsWait lists what the jobs of monitors are not known for.
	monitorsWait func() []string
	// elected is closed when this process writes statuses; nil when it always does.
	elected <-chan struct{}
	// replicated tells whether other processes serve the same pools at the same address; nil for no.
	replicated func() bool
	// address of the pools, as collectors know it.
	address string
	log     *slog.Logger
	clock   clock.WithTicker
}

// task is something that runs until it is stopped.
type task struct {
	cancel context.CancelFunc
	done   chan struct{}
}

func start(ctx context.Context, run func(context.Context)) *task {
	ctx, cancel := context.WithCancel(ctx)
	t := &task{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		run(ctx)
	}()
	return t
}

// stop returns when the task has ended.
func (t *task) stop() {
	if t != nil {
		t.cancel()
		<-t.done
	}
}

// collectorPools are the pools of one collector. All have its pods for members.
type collectorPools struct {
	environment
	key     types.NamespacedName
	created time.Time
	log     *slog.Logger

	// For the one goroutine that syncs.
	watching    *task
	watchedFor  membership
	selection   *monitor.Selection
	unsubscribe func()

	watcher atomic.Pointer[member.Watcher]

	mu            sync.Mutex // for what is below
	members       []allocate.Member
	knowMembers   bool
	pools         map[string]*servedPool
	monitors      monitor.Result
	knowMonitors  bool
	subscriptions int // how many there have been: only the last one counts
}

// membership is what a watcher of members depends on.
type membership struct {
	kind     string
	holdDown time.Duration
	zones    bool
}

// servedPool is one pool: it stays while its feed may become another one.
type servedPool struct {
	name string // below /pools/
	pool *allocate.Pool
	feed *feed
	// problems of the spec, and polling: how the collectors are to ask.
	problems []problem
	polling  *polling
	run      *task
	filter   bool
	main     bool
}

func newCollectorPools(e environment, key types.NamespacedName) *collectorPools {
	return &collectorPools{
		environment: e, key: key, created: e.clock.Now(), log: e.log.With("collector", key.String()), pools: map[string]*servedPool{},
	}
}

// sync makes the pools what the collector asks for. What is served stays until there is something to take its place.
func (c *collectorPools) sync(ctx context.Context, of *crds.Collector, want *crds.Allocation, pools []render.Pool) error {
	if err := c.syncMembers(ctx, of, want); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, p := range pools {
		name := strings.TrimPrefix(p.Path, "/pools/")
		wanted[name] = true
		jobs, errs := discover.ParseJobs(p.ScrapeConfigs, "receivers."+p.Receiver, "")
		served := c.pool(ctx, name, p.Main, want)
		asked := newPolling(c.address+p.Path, want.ReloadInterval, refreshInterval(of.Spec.Config, p.Receiver))
		problems := slices.Concat(withheldProblems(p), parseProblems(errs))
		c.mu.Lock()
		served.problems = problems
		if before := served.polling; before == nil || before.url != asked.url || before.patience != asked.patience {
			served.polling = asked
		}
		c.mu.Unlock()
		served.pool.SetRules(rulesOf(want))
		served.feed.setSecrets(want.AllowInsecureAuthSecrets)
		served.feed.setOwn(jobs)
	}
	c.mu.Lock()
	gone := c.take(func(name string) bool { return !wanted[name] })
	c.mu.Unlock()
	c.end(gone)
	return c.syncMonitors(want)
}

// syncMembers watches the collector's pods.
func (c *collectorPools) syncMembers(ctx context.Context, of *crds.Collector, want *crds.Allocation) error {
	m := membership{kind: member.KindStatefulSet, holdDown: holdDown(want.NotReadyGrace), zones: want.Zones}
	if of.Spec.Mode == crds.ModeDaemonSet {
		m.kind = member.KindDaemonSet
	}
	if c.watching != nil && c.watchedFor == m {
		return nil
	}
	w, err := c.watchMembers(member.Options{
		Namespace: c.key.Namespace, Selector: labels.SelectorFromSet(crds.SelectorLabels(c.key.Namespace, c.key.Name)),
		Kind: m.kind, Name: crds.WorkloadName(c.key.Name), HoldDown: m.holdDown,
		Notify: c.setMembers, Log: c.log, Clock: c.clock,
	}, m.zones)
	if err != nil {
		return err
	}
	c.watching.stop()
	c.watcher.Store(w)
	c.watching, c.watchedFor = start(ctx, w.Run), m
	return nil
}

func (c *collectorPools) setMembers(members []allocate.Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members, c.knowMembers = members, true
	for _, p := range c.pools {
		p.pool.SetMembers(members)
	}
}

// pool is the one of that name, made if need be. With another filter it gets another feed, which takes over when it knows its targets.
func (c *collectorPools) pool(ctx context.Context, name string, isMain bool, want *crds.Allocation) *servedPool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, there := c.pools[name]
	if !there {
		p = &servedPool{name: name, filter: want.FilterRelabel, main: isMain}
		p.pool = allocate.NewPool(allocate.PoolOptions{
			Name: name, Rules: rulesOf(want), Log: c.log, Clock: c.clock, Metrics: c.metrics, Polled: c.polled,
			Waiting: func() string { return c.waiting(p) },
			Relabel: func(job string, before promlabels.Labels) (promlabels.Labels, bool) {
				return c.feedOf(p).relabel(job, before)
			},
		})
		c.pools[name] = p
		if c.knowMembers {
			p.pool.SetMembers(c.members)
		}
		c.feed(ctx, p, want)
		c.server.Set(name, p.pool)
		return p
	}
	if p.filter != want.FilterRelabel || p.main != isMain {
		p.filter, p.main = want.FilterRelabel, isMain
		c.feed(ctx, p, want)
	}
	return p
}

// feed gives p a feed in place of the one that it has. It is called with the lock held.
func (c *collectorPools) feed(ctx context.Context, p *servedPool, want *crds.Allocation) {
	before := p.run
	var once sync.Once
	p.feed = newFeed(feedOptions{
		Providers: c.providers, Filter: p.filter, Secrets: want.AllowInsecureAuthSecrets, Monitors: p.main && want.Monitors != nil,
		MonitorsWait: c.monitorsWait, Lag: c.metrics.ObserveDiscoveryLag,
		Publish: func(jobs []*allocate.Job) {
			once.Do(before.stop)
			p.pool.SetJobs(jobs)
		},
		Log: c.log, Clock: c.clock,
	})
	if p.main && c.knowMonitors {
		p.feed.setMonitors(c.monitors.Jobs)
	}
	next := p.feed
	p.run = start(ctx, func(ctx context.Context) {
		defer func() { once.Do(before.stop) }()
		_ = next.Run(ctx) // ends with ctx only
	})
}

func (c *collectorPools) feedOf(p *servedPool) *feed {
	c.mu.Lock()
	defer c.mu.Unlock()
	return p.feed
}

// syncMonitors asks for the jobs of the selected monitors; those of the last selection stay until they are there.
func (c *collectorPools) syncMonitors(want *crds.Allocation) error {
	var selection *monitor.Selection
	if want.Monitors != nil {
		var err error
		if selection, err = selectionOf(want.Monitors, c.key.Namespace); err != nil {
			return err
		}
	}
	if equality.Semantic.DeepEqual(selection, c.selection) && (selection == nil) == (c.unsubscribe == nil) {
		return nil
	}
	// Only afterwards, so that what both watch goes on being watched.
	if before := c.unsubscribe; before != nil {
		defer before()
		c.unsubscribe = nil
	}
	c.selection = selection
	c.mu.Lock()
	c.subscriptions++
	number := c.subscriptions
	c.mu.Unlock()
	if selection == nil {
		c.setMonitors(number, monitor.Result{})
		return nil
	}
	c.unsubscribe = c.subscribe(*selection, func(r monitor.Result) { c.setMonitors(number, r) })
	return nil
}

// setMonitors takes what a subscription has to say.
func (c *collectorPools) setMonitors(subscription int, r monitor.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if subscription != c.subscriptions {
		return
	}
	c.monitors, c.knowMonitors = r, true
	for _, p := range c.pools {
		if p.main {
			p.feed.setMonitors(r.Jobs)
		}
	}
}

func (c *collectorPools) polled(id string) {
	if w := c.watcher.Load(); w != nil {
		w.Polled(id)
	}
}

// replicas announces how many the StatefulSet is about to have.
func (c *collectorPools) replicas(n int32) {
	if w := c.watcher.Load(); w != nil {
		w.Replicas(crds.WorkloadName(c.key.Name), n)
	}
}

// waiting says what a pool waits for, but for what is said already; empty when that is all.
func (c *collectorPools) waiting(p *servedPool, said ...string) string {
	c.mu.Lock()
	f := p.feed
	c.mu.Unlock()
	w := c.watcher.Load()
	if w == nil || f == nil {
		return "the collector"
	}
	return waitingFor(w.Waiting, func() string { return f.waiting(said...) })()
}

// take takes pools out. It is called with the lock held.
func (c *collectorPools) take(which func(name string) bool) []*servedPool {
	var out []*servedPool
	for name, p := range c.pools {
		if which(name) {
			out = append(out, p)
			delete(c.pools, name)
		}
	}
	return out
}

func (c *collectorPools) end(pools []*servedPool) {
	for _, p := range pools {
		c.server.Delete(p.name)
		p.run.stop()
	}
}

// close ends all that serves the collector.
func (c *collectorPools) close() {
	if c.unsubscribe != nil {
		c.unsubscribe()
	}
	c.watching.stop()
	c.mu.Lock()
	all := c.take(func(string) bool { return true })
	c.mu.Unlock()
	c.end(all)
}

// list is the pools, sorted by name.
func (c *collectorPools) list() []*servedPool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*servedPool
	for _, p := range c.pools {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *servedPool) int { return strings.Compare(a.name, b.name) })
	return out
}

func (c *collectorPools) ready() bool {
	for _, p := range c.list() {
		if !p.pool.Ready() {
			return false
		}
	}
	return true
}

func rulesOf(a *crds.Allocation) allocate.Rules {
	return allocate.Rules{Strategy: allocate.Strategy(a.Strategy), Tolerance: a.Tolerance, MaxTargets: a.MaxTargets, Zones: a.Zones}
}

// selectionOf is what a collector selects, for the monitors' watcher.
func selectionOf(m *crds.MonitorSelection, namespace string) (*monitor.Selection, error) {
	of := func(s crds.MonitorSelector) monitor.Selector {
		return monitor.Selector{Objects: s.Objects, Namespaces: s.Namespaces}
	}
	out := &monitor.Selection{
		ServiceMonitors: of(m.ServiceMonitors), PodMonitors: of(m.PodMonitors), Probes: of(m.Probes), ScrapeConfigs: of(m.ScrapeConfigs),
		AllowNamespaces: m.AllowNamespaces, DenyNamespaces: m.DenyNamespaces, SecretNamespaces: m.SecretNamespaces,
		DenyFileAccess: m.DenyFileAccess, ScrapeInterval: m.ScrapeInterval, EvaluationInterval: m.EvaluationInterval,
		ScrapeProtocols: m.ScrapeProtocols, Namespace: namespace, NoFileDiscovery: true,
	}
	data, err := json.Marshal(m.ScrapeClasses)
	if err == nil {
		var classes []monitoringv1.ScrapeClass
		err = json.Unmarshal(data, &classes)
		out.ScrapeClasses = classes
	}
	if err == nil {
		err = out.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("spec.targetAllocator.prometheusCR: %w", err)
	}
	return out, nil
}
