package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/prometheus/model/labels"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/discover"
	allocatorfile "github.com/otelier/otelier/discover/file"
	"github.com/otelier/otelier/discover/member"
	"github.com/otelier/otelier/discover/monitor"
)

type allocateCmd struct {
	Serve serveCmd `cmd:"" default:"withargs" help:"Share the targets of one configuration file (--config) out among its collectors, without the operator. This is the default."`
	Plan  planCmd  `cmd:"" help:"Tell what another number of collectors would change."`
}

// Help is what kong prints below the usage.
func (allocateCmd) Help() string {
	return "Without a command it serves: otelier allocate --config FILE is otelier allocate serve --config FILE, whose flags are told by " +
		"otelier allocate serve --help."
}

type serveCmd struct {
	File           fileFlags `embed:""`
	Listen         string    `help:"Address to serve on, whatever the file says." aliases:"listen-addr" placeholder:"ADDRESS"`
	Collectors     []string  `help:"Names of the collectors, for use without Kubernetes; otherwise they are found by the file's collector_selector." placeholder:"NAME"`
	Kube           kubeFlags `embed:"" group:"Cluster"`
	KubeconfigPath string    `hidden:""`
}

// Run serves until ctx ends.
func (c *serveCmd) Run(ctx context.Context, log *slog.Logger) error {
	spareMemory()
	if c.Kube.Kubeconfig == "" {
		c.Kube.Kubeconfig = c.KubeconfigPath
	}
	config, err := c.File.read(c.Listen, c.Kube.Kubeconfig, len(c.Collectors) > 0, log)
	if err != nil {
		return err
	}
	c.Kube.Kubeconfig = config.Kubeconfig
	cluster, err := c.cluster(config)
	if err != nil {
		return err
	}
	alone, err := standAlone(config, c.Collectors, cluster, log)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", config.Listen)
	if err != nil {
		return fmt.Errorf("serve targets: --listen, or listen_addr of the file: %w", err)
	}
	log.Info("starting", "version", version, "file", c.File.Config, "jobs", len(config.Jobs), "strategy", config.Rules.Strategy)
	err = alone.run(ctx, listener)
	if err == nil {
		log.Info("stopped")
	}
	return err
}

// cluster finds the one that is needed, or that service discovery may need: then there may be none.
func (c *serveCmd) cluster(config *allocatorfile.Config) (*rest.Config, error) {
	cluster, _, err := c.Kube.config()
	if err != nil && len(c.Collectors) > 0 && config.Monitors == nil {
		return nil, nil
	}
	return cluster, err
}

// spareMemory makes the collector of garbage run more often, unless the environment says how.
func spareMemory() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(gcPercent)
	}
}

// alone is a pool that stands alone, with all that feeds it.
type alone struct {
	pool   *allocate.Pool
	server *allocate.Server
	parts  []func(context.Context) error
}

// standAlone puts together what serves the pool of a file, and starts nothing. cluster is nil when there is none.
func standAlone(config *allocatorfile.Config, names []string, cluster *rest.Config, log *slog.Logger) (*alone, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	providers, err := discover.NewProviders(discover.ProvidersOptions{Log: log, Registry: registry, Kube: cluster})
	if err != nil {
		return nil, err
	}
	var (
		out     = &alone{}
		waiting []func() string
		members *member.Watcher
	)
	metrics := allocate.NewMetrics(registry)
	var f *feed // nothing asks the pool before it is there
	out.pool = allocate.NewPool(allocate.PoolOptions{
		Rules: config.Rules, Log: log, Metrics: metrics,
		Waiting: func() string { return waitingFor(waiting...)() },
		Polled: func(id string) {
			if members != nil {
				members.Polled(id)
			}
		},
		Relabel: func(job string, before labels.Labels) (labels.Labels, bool) { return f.relabel(job, before) },
	})
	f = newFeed(feedOptions{
		Providers: providers, Publish: out.pool.SetJobs, Withheld: out.pool.SetWithheld, Filter: config.Filter, Secrets: config.AllowInsecureAuthSecrets, Monitors: config.Monitors != nil,
		Lag: metrics.ObserveDiscoveryLag, Log: log, Clock: clock.RealClock{},
	})
	waiting = append(waiting, func() string { return f.waiting() })
	out.parts = append(out.parts, providers.Run, f.Run)
	if len(names) > 0 {
		out.pool.SetMembers(listed(names))
	} else {
		if members, err = membersOf(config, cluster, out.pool.SetMembers, log); err != nil {
			return nil, err
		}
		waiting = append(waiting, members.Waiting)
		out.parts = append(out.parts, func(ctx context.Context) error { members.Run(ctx); return nil })
	}
	if config.Monitors != nil {
		clients, err := monitor.NewClients(cluster)
		if err != nil {
			return nil, err
		}
		watcher := monitor.New(monitor.Options{Clients: clients, Log: log})
		watcher.Subscribe(*config.Monitors, func(r monitor.Result) {
			reportMonitors(r, log)
			f.setMonitors(r.Jobs)
		})
		out.parts = append(out.parts, watcher.Run)
	}
	f.setOwn(config.Jobs)
	out.server = allocate.NewServer(allocate.ServerOptions{
		Root: out.pool, MetricsHandler: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), Metrics: metrics, Log: log,
	})
	return out, nil
}

// reportMonitors says what is wrong with monitors. There are no statuses to say it in.
func reportMonitors(r monitor.Result, log *slog.Logger) {
	for _, p := range monitorProblems(r) {
		log.Warn("monitors", "reason", p.reason, "problem", p.message)
	}
}

func (a *alone) run(ctx context.Context, listener net.Listener) error {
	return together(ctx, append(slices.Clone(a.parts), func(ctx context.Context) error { return a.server.Run(ctx, listener) })...)
}

// listed are members of which no more is known than their names.
func listed(names []string) []allocate.Member {
	var out []allocate.Member
	for _, name := range names {
		out = append(out, allocate.Member{Name: name, Seed: name})
	}
	return out
}

// membersOf watches the pods that a file selects.
func membersOf(config *allocatorfile.Config, cluster *rest.Config, notify func([]allocate.Member), log *slog.Logger) (*member.Watcher, error) {
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", cluster.Host, err)
	}
	selector, err := metav1.LabelSelectorAsSelector(config.Collectors)
	if err != nil {
		return nil, fmt.Errorf("collector_selector: %w", err)
	}
	o := member.Options{
		Client: client, Namespace: config.Namespace, Selector: selector, HoldDown: holdDown(config.NotReadyGrace),
		Notify: notify, Log: log, Clock: clock.RealClock{},
	}
	if config.Rules.Zones {
		if o.Metadata, err = metadata.NewForConfig(cluster); err != nil {
			return nil, fmt.Errorf("connect to %s: %w", cluster.Host, err)
		}
	}
	return member.New(o)
}

// holdDown is for how long a member stays one that is not ready. The 30 s that the OpenTelemetry Operator takes by default are less than a
// pod takes to be replaced.
func holdDown(grace time.Duration) time.Duration {
	if grace == 0 {
		return -1
	}
	return max(grace, member.DefaultHoldDown)
}
