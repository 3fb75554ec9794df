package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	eventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/internal/serve"
	"github.com/otelier/otelier/reconcile"
	"github.com/otelier/otelier/render"
)

// gcPercent makes the collector of garbage run four times as often as it would: the operator is idle nearly always, and what it
// caches is most of what it takes.
const gcPercent = 25

type runCmd struct {
	Kube       kubeFlags     `embed:"" group:"Cluster"`
	Namespaces namespaceList `help:"Namespaces whose collectors are worked on; all by default." placeholder:"NAMESPACE" group:"Cluster"`
	Workers    int           `help:"Collectors that are worked on at a time." default:"4" group:"Cluster"`
	DryRun     bool          `help:"Only observe: say in the log, in metrics and in Events what would be done, and do nothing else." group:"Cluster"`
	Listen     string        `help:"Address of /healthz, /readyz and /metrics; empty for none." default:":8080" group:"Serving"`
	Election   electionFlags `embed:"" group:"Leader election"`
	Rendering  renderFlags   `embed:"" group:"Rendering"`

	AllocatorListen string `help:"Address at which collectors ask for their targets; empty for none." default:":8081" group:"Serving"`
}

type kubeFlags struct {
	Kubeconfig string `help:"Kubeconfig file; by default that of the pod, or the one that kubectl takes." type:"path" env:"OTELIER_KUBECONFIG" placeholder:"FILE"`
	Context    string `help:"Context of the kubeconfig." placeholder:"NAME"`
}

type electionFlags struct {
	LeaderElect          *bool  `help:"Let one of several replicas work. On by default inside a cluster only; elsewhere it needs --leader-elect-namespace." negatable:""`
	LeaderElectNamespace string `help:"Namespace of the Lease; by default the pod's own." placeholder:"NAMESPACE"`
}

// Validate is called by kong.
func (c *runCmd) Validate() error {
	if c.Workers < 1 {
		return errors.New("--workers must be at least 1")
	}
	for flag, address := range map[string]string{"--listen": c.Listen, "--allocator-listen": c.AllocatorListen} {
		if address == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("%s: %w, want an address such as :8080 or 127.0.0.1:8080", flag, err)
		}
	}
	if _, err := c.Rendering.options(nil); err != nil {
		return err
	}
	return checkNamespaces("--namespaces", c.Namespaces...)
}

// namespaceList is a flag's list of namespaces. One that is given and empty, as by a variable that is not set, is refused: it would mean all.
type namespaceList []string

// Decode implements kong.MapperValue.
func (l *namespaceList) Decode(ctx *kong.DecodeContext) error {
	var value string
	if err := ctx.Scan.PopValueInto("namespaces", &value); err != nil {
		return err
	}
	if value == "" {
		return errors.New("empty: name the namespaces, or leave the flag out for all of them")
	}
	for name := range strings.SplitSeq(value, ",") {
		if !slices.Contains(*l, name) {
			*l = append(*l, name)
		}
	}
	return nil
}

// checkNamespaces refuses what no namespace is called. An empty name would mean all of them.
func checkNamespaces(flag string, names ...string) error {
	for _, name := range names {
		if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
			return fmt.Errorf("%s: %q is not the name of a namespace: %s", flag, name, problems[0])
		}
	}
	return nil
}

// Run runs the operator until ctx ends. Losing the leadership, or the address to serve on, is an error.
func (c *runCmd) Run(ctx context.Context, log *slog.Logger) error {
	spareMemory()
	config, inCluster, err := c.Kube.config()
	if err != nil {
		return err
	}
	options, err := c.Rendering.options(proxyEnv(os.LookupEnv))
	if err != nil {
		return err
	}
	elect, namespace := c.Election.wanted(inCluster), ""
	if elect {
		if namespace, err = c.Election.namespace(os.ReadFile); err != nil {
			return err
		}
	}
	clients, err := newClients(config)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	if err := reach(ctx, clients.events.RESTClient()); err != nil {
		if !inCluster || !isAway(err) {
			return fmt.Errorf("connect to %s: %w", config.Host, err)
		}
		log.Warn("the API server does not answer, and is waited for", "server", config.Host, "error", err)
	}
	recording, stopRecording := context.WithCancel(context.WithoutCancel(ctx))
	defer stopRecording()
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: clients.events})
	defer broadcaster.Shutdown()
	if err := broadcaster.StartRecordingToSinkWithContext(recording); err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	registry, elected := prometheus.NewRegistry(), make(chan struct{})
	cluster := reconcile.NewCluster(clients.dynamic)
	var candidate *serve.Candidate
	if elect {
		if candidate, err = serve.NewCandidate(clients.leases, namespace, c.lease(), elected, log); err != nil {
			return err
		}
		cluster = reconcile.Fenced(cluster, candidate.Leads)
	}
	recorder := broadcaster.NewRecorder(scheme.Scheme, crds.EventReporter)
	controllerOptions := reconcile.Options{
		Planner: reconcile.NewPlanner(renderer(options)), Namespaces: c.Namespaces, Workers: c.Workers, Elected: elected, DryRun: c.DryRun,
		Cluster: cluster, Recorder: recorder, Registry: registry, Clock: clock.RealClock{}, Log: log,
	}
	controller, allocating, err := c.controller(ctx, clients, controllerOptions, allocatorOptions{
		Config: config, Metadata: clients.metadata, Namespaces: c.Namespaces, Rendering: options, Elected: elected,
		Unreachable: !inCluster && c.defaultAllocator(options),
		Recorder:    recorder, Registry: registry, Log: log, Clock: clock.RealClock{},
	})
	if err != nil {
		return err
	}
	log.Info("starting", "version", version, "server", config.Host)
	ready := func() bool { return controller.Ready() && (allocating == nil || allocating.Ready()) }
	server := &serve.Server{Ready: ready, Metrics: registry, Log: log}
	return c.runAll(ctx, log, server, controller, allocating, candidate, elected)
}

// controller makes the controller and, unless it is switched off, the allocator that hears from it of the collectors.
func (c *runCmd) controller(ctx context.Context, clients clients, o reconcile.Options, ao allocatorOptions) (*reconcile.Controller, *allocator, error) {
	if c.AllocatorListen == "" {
		controller, err := c.withoutAllocator(clients, o, ao.Rendering)
		return controller, nil, err
	}
	a, err := newAllocator(ao)
	if err != nil {
		return nil, nil, err
	}
	o.Conditions, o.Replicas = a.conditions, a.replicas
	controller, err := reconcile.New(clients.dynamic, clients.metadata, o)
	if err != nil {
		return nil, nil, err
	}
	a.enqueue = controller.Enqueue
	if a.synced, err = controller.Watch(a.collectorChanged); err != nil {
		return nil, nil, err
	}
	var lc net.ListenConfig
	if a.listener, err = lc.Listen(ctx, "tcp", c.AllocatorListen); err != nil {
		return nil, nil, fmt.Errorf("serve targets: --allocator-listen: %w", err)
	}
	return controller, a, nil
}

// withoutAllocator makes the controller alone. Unless somebody else serves targets, it tells collectors that ask for some.
func (c *runCmd) withoutAllocator(clients clients, o reconcile.Options, rendering render.Options) (*reconcile.Controller, error) {
	if !c.defaultAllocator(rendering) {
		return reconcile.New(clients.dynamic, clients.metadata, o)
	}
	none := newUnserved(rendering)
	o.Conditions = none.conditions
	controller, err := reconcile.New(clients.dynamic, clients.metadata, o)
	if err != nil {
		return nil, err
	}
	none.enqueue = controller.Enqueue
	_, err = controller.Watch(none.collectorChanged)
	return controller, err
}

// defaultAllocator tells whether collectors are told what they are told by default.
func (c *runCmd) defaultAllocator(o render.Options) bool {
	return o.AllocatorURL == crds.AllocatorURL(crds.DefaultNamespace)
}

// runAll runs the parts together; when one fails, the others stop. Without a candidate nobody is elected; the lease is given up only
// after the last write.
func (c *runCmd) runAll(
	ctx context.Context, log *slog.Logger, server *serve.Server, controller *reconcile.Controller, allocating *allocator,
	candidate *serve.Candidate, elected chan struct{},
) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	leading, resign := context.WithCancel(context.WithoutCancel(ctx))
	defer resign()
	var wg sync.WaitGroup
	if c.Listen != "" {
		wg.Go(func() {
			if err := server.Run(ctx, c.Listen); err != nil {
				stop(err)
			}
		})
	}
	if allocating != nil {
		wg.Go(func() {
			if err := allocating.Run(ctx); err != nil {
				stop(err)
			}
		})
	}
	if candidate == nil {
		close(elected)
	} else {
		wg.Go(func() {
			if err := candidate.Run(leading); err != nil {
				stop(err)
			}
		})
	}
	controller.Run(ctx)
	resign()
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	log.Info("stopped")
	return nil
}

// lease is what replicas elect their leader with. Those that only observe must not keep the others from working.
func (c *runCmd) lease() string {
	if c.DryRun {
		return crds.DryRunLeaseName
	}
	return crds.LeaseName
}

func renderer(o render.Options) func(*crds.Collector) (reconcile.Rendered, error) {
	return func(c *crds.Collector) (reconcile.Rendered, error) {
		r, err := render.Collector(c, o)
		if err != nil {
			return reconcile.Rendered{}, err
		}
		return reconcile.Rendered{Objects: r.Objects, Warnings: r.Warnings}, nil
	}
}

type clients struct {
	events   eventsv1.EventsV1Interface
	leases   coordination.LeasesGetter
	dynamic  dynamic.Interface
	metadata metadata.Interface
}

// newClients makes only the clients that are needed: the clientset of all APIs would link all of them.
func newClients(config *rest.Config) (clients, error) {
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		return clients{}, err
	}
	eventsClient, err := eventsv1.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return clients{}, err
	}
	leases, err := coordination.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return clients{}, err
	}
	dyn, err := dynamic.NewForConfigAndClient(config, httpClient)
	if err != nil {
		return clients{}, err
	}
	md, err := metadata.NewForConfigAndClient(config, httpClient)
	return clients{eventsClient, leases, dyn, md}, err
}

// reach asks the API server for its version, so that a wrong address, certificate or credential ends the start with an error:
// the watches try again for ever, and say nothing while connections are refused. Not being allowed to ask is no error.
func reach(ctx context.Context, client rest.Interface) error {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := client.Get().AbsPath("/version").Do(ctx).Error()
	if apierrors.IsForbidden(err) {
		return nil
	}
	return err
}

// isAway tells whether an error of reach says that nobody answers, or only a load balancer before the API server. Inside of a cluster the address is right, so the API server will be back,
// and is waited for: a container that ended instead would be started again ever later, in the end after 5 minutes.
func isAway(err error) bool {
	var connection *net.OpError
	var network net.Error // a *url.Error, whatever it wraps
	var answer apierrors.APIStatus
	switch {
	case errors.As(err, &connection), errors.As(err, &network) && network.Timeout():
		return true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return true
	case errors.As(err, &answer):
		code := int(answer.Status().Code)
		return code == http.StatusBadGateway || code == http.StatusServiceUnavailable || code == http.StatusGatewayTimeout
	}
	return false
}

// config finds the cluster: the flag, then the pod that we run in, then what kubectl would take.
func (f kubeFlags) config() (config *rest.Config, inCluster bool, err error) {
	if f.Kubeconfig == "" && f.Context == "" {
		config, err = rest.InClusterConfig()
		inCluster = err == nil
		if err != nil && !errors.Is(err, rest.ErrNotInCluster) {
			return nil, false, fmt.Errorf("in-cluster configuration: %w", err)
		}
	}
	if !inCluster {
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		rules.ExplicitPath = f.Kubeconfig
		overrides := &clientcmd.ConfigOverrides{CurrentContext: f.Context}
		config, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
		if clientcmd.IsEmptyConfig(err) {
			err = fmt.Errorf("none found in %s: set --kubeconfig or KUBECONFIG", strings.Join(rules.GetLoadingPrecedence(), ", "))
		}
		if err != nil {
			return nil, false, fmt.Errorf("kubeconfig: %w", err)
		}
	}
	config.UserAgent = crds.Program + "/" + version
	// The API server decides who has to wait (API Priority and Fairness); a limit of our own would only hide it.
	config.QPS = -1
	return config, inCluster, nil
}

func (f electionFlags) wanted(inCluster bool) bool {
	if f.LeaderElect != nil {
		return *f.LeaderElect
	}
	return inCluster
}

// namespaceFile is where a pod finds the name of its own namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

func (f electionFlags) namespace(readFile func(string) ([]byte, error)) (string, error) {
	if f.LeaderElectNamespace != "" {
		return f.LeaderElectNamespace, nil
	}
	data, err := readFile(namespaceFile)
	if err != nil {
		return "", usageError{errors.New("leader election outside of a cluster needs --leader-elect-namespace")}
	}
	return strings.TrimSpace(string(data)), nil
}

// proxyEnv is what collectors get of the operator's environment, in both spellings that programs look for.
func proxyEnv(lookup func(string) (string, bool)) map[string]string {
	out := map[string]string{}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		for _, n := range []string{name, strings.ToLower(name)} {
			if v, ok := lookup(n); ok && v != "" {
				out[n] = v
			}
		}
	}
	return out
}
