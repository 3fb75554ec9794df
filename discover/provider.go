package discover

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	promkube "github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/discovery/xds"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// retryAfter is how long a discovery that could not start, or that ended, is left alone.
const retryAfter = 30 * time.Second

// ProvidersOptions is what NewProviders needs.
type ProvidersOptions struct {
	// Log; nil for none.
	Log *slog.Logger
	// Clock; nil for the real one.
	Clock clock.Clock
	// Registry gets Prometheus' metrics of service discovery (prometheus_sd_…); nil when nobody wants them.
	Registry prometheus.Registerer
	// Kube is the cluster that kubernetes_sd_configs without api_server and kubeconfig_file look at; nil for the one around the process.
	Kube *rest.Config
	// Namespaces are those that the process may see; empty for all. In the cluster of Kube they are what "all namespaces" means, for what
	// is in namespaces at all. What asks for others is refused by the API server.
	Namespaces []string
	// ClusterWide says that the process may list and watch in every namespace. Then one discovery of all namespaces takes the place of
	// those of single ones when there are many: three watches instead of three for each namespace.
	ClusterWide bool
}

// Providers runs every distinct service discovery once, however many jobs of however many pools want it.
type Providers struct {
	opts    ProvidersOptions
	dict    *dictionary
	metrics map[string]discovery.DiscovererMetrics
	events  *prometheus.CounterVec

	mu      sync.Mutex
	ctx     context.Context // nil until Run
	running sync.WaitGroup
	// all by a hash of their configuration.
	all map[uint64][]*provider
	// wide decides which namespaces are discovered together.
	wide widener
}

// NewProviders prepares them. Nothing runs before Run.
func NewProviders(opts ProvidersOptions) (*Providers, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	if opts.Registry == nil {
		opts.Registry = prometheus.NewRegistry()
	}
	reg := &recorder{Registerer: opts.Registry}
	metrics, err := discovery.RegisterSDMetrics(reg, discovery.NewRefreshMetrics(reg))
	if err != nil {
		return nil, fmt.Errorf("service discovery: %w", err)
	}
	return &Providers{opts: opts, events: reg.events(), dict: newDictionary(maphash.MakeSeed()), metrics: metrics, all: map[uint64][]*provider{}, wide: newWidener(opts.ClusterWide && len(opts.Namespaces) == 0)}, nil
}

// Run starts what is wanted, now and later, and returns when ctx is done and everything it started has ended.
func (ps *Providers) Run(ctx context.Context) error {
	ps.mu.Lock()
	if ps.ctx != nil {
		ps.mu.Unlock()
		return errors.New("service discovery: runs already")
	}
	ps.ctx = ctx
	for _, same := range ps.all {
		for _, p := range same {
			ps.start(p)
		}
	}
	ps.mu.Unlock()
	<-ctx.Done()
	// From here on start starts nothing.
	ps.mu.Lock()
	ps.mu.Unlock() //nolint:staticcheck // waits for a start that is under way
	ps.running.Wait()
	return nil
}

// start is called with the lock held.
func (ps *Providers) start(p *provider) {
	if ps.ctx == nil || ps.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(ps.ctx)
	p.cancel = cancel
	ps.running.Go(func() { p.run(ctx) })
}

// subscribe makes a discovery run for one more job, that of the name. notify is called whenever there is something to drain; it must not block.
func (ps *Providers) subscribe(cfg discovery.Config, job string, notify func()) *subscription {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	cfg, namespaces := ps.wide.widen(cfg)
	hash := discoveryHash(cfg)
	same := ps.all[hash]
	i := slices.IndexFunc(same, func(p *provider) bool { return reflect.DeepEqual(p.config, cfg) })
	if i < 0 {
		p := newProvider(ps, cfg, hash)
		i = len(same)
		same = append(same, p)
		ps.all[hash] = same
		ps.start(p)
	}
	p := same[i]
	s := &subscription{provider: p, job: job, notify: notify, namespaces: namespaces}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.dirty = p.store.present(s.wants)
	p.subs[s] = struct{}{}
	return s
}

// release ends what nobody wants any more.
func (ps *Providers) release(s *subscription) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := s.provider
	p.mu.Lock()
	delete(p.subs, s)
	last := len(p.subs) == 0
	p.mu.Unlock()
	if !last {
		return
	}
	ps.all[p.hash] = slices.DeleteFunc(ps.all[p.hash], func(o *provider) bool { return o == p })
	if len(ps.all[p.hash]) == 0 {
		delete(ps.all, p.hash)
	}
	if p.cancel != nil {
		p.cancel()
	}
}

// provider is one service discovery.
type provider struct {
	config discovery.Config
	hash   uint64
	parent *Providers
	store  *store
	log    *slog.Logger
	cancel context.CancelFunc // under the lock of parent

	mu    sync.Mutex
	subs  map[*subscription]struct{}
	ready bool
	err   error
}

func newProvider(ps *Providers, cfg discovery.Config, hash uint64) *provider {
	p := &provider{config: cfg, hash: hash, parent: ps, store: newStore(ps.dict), subs: map[*subscription]struct{}{}}
	p.log = slog.New(redactHandler{newQuiet(ps.opts.Log.Handler(), ps.opts.Clock, p.jobNames)}).With("discovery", cfg.Name())
	return p
}

// subscription is a job's view of a provider.
type subscription struct {
	provider *provider
	job      string
	notify   func()
	// namespaces are those that the job wants of a discovery that may see more; nil for all.
	namespaces []string
	dirty      []uint32 // under the lock of provider
}

// wants is true for groups that the job is to see.
func (s *subscription) wants(source string) bool {
	return s.namespaces == nil || slices.Contains(s.namespaces, namespaceOf(source))
}

// drain returns the numbers of the groups that have changed since the last call, and whether the provider has told all there was at
// its start; what drain has returned up to now then is all of that.
func (s *subscription) drain() (dirty []uint32, ready bool, err error) {
	s.provider.mu.Lock()
	defer s.provider.mu.Unlock()
	dirty, s.dirty = s.dirty, nil
	slices.Sort(dirty)
	return slices.Compact(dirty), s.provider.ready, s.provider.err
}

// told is true when the provider has told all there was at its start.
func (s *subscription) told() bool {
	s.provider.mu.Lock()
	defer s.provider.mu.Unlock()
	return s.provider.ready
}

// run discovers until ctx is done, and tries again when discovery cannot.
func (p *provider) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := p.discover(ctx)
		if ctx.Err() != nil {
			return
		}
		p.failed(err)
		timer := p.parent.opts.Clock.NewTimer(retryAfter)
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
		timer.Stop()
	}
}

func (p *provider) discover(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d, first, err := p.discoverer()
	if err != nil {
		return err
	}
	if first.nothing() {
		p.accept(nil, true)
	}
	updates := make(chan []*targetgroup.Group)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Run(ctx, updates)
	}()
	var gone <-chan struct{}
	if sleepy(p.config) {
		gone = ctx.Done()
	}
	for in := updates; ; {
		select {
		case <-gone:
			return nil
		case groups, open := <-in:
			if !open {
				in = nil
				continue
			}
			p.accept(groups, first.complete(groups))
		case <-done:
			if _, static := p.config.(discovery.StaticConfig); static {
				// It has said all it ever will.
				<-ctx.Done()
				return nil
			}
			return errors.New("service discovery has ended")
		}
	}
}

// sleepy is true for discoveries that do not notice the end of their context before their next refresh, and do nothing until then. They
// are not waited for: a process that ends does not have the 30 s.
func sleepy(cfg discovery.Config) bool {
	switch cfg.(type) {
	case *consul.SDConfig, *xds.KumaSDConfig:
		return true
	default:
		return false
	}
}

// accept takes groups in and tells those who want them.
func (p *provider) accept(groups []*targetgroup.Group, complete bool) {
	type changed struct {
		number uint32
		source string
	}
	var news []changed
	for _, g := range groups {
		if g == nil {
			continue
		}
		if n, ok := p.store.put(g); ok {
			news = append(news, changed{n, g.Source})
		}
	}
	p.mu.Lock()
	turn := complete && (!p.ready || p.err != nil)
	p.ready = p.ready || complete
	if complete {
		p.err = nil
	}
	var notify []func()
	for s := range p.subs {
		before := len(s.dirty)
		for _, c := range news {
			if s.wants(c.source) {
				s.dirty = append(s.dirty, c.number)
			}
		}
		if turn || len(s.dirty) > before {
			notify = append(notify, s.notify)
		}
	}
	p.mu.Unlock()
	for _, f := range notify {
		f()
	}
}

// failed keeps what is wrong, for messages. What is there stays.
func (p *provider) failed(err error) {
	p.mu.Lock()
	p.err = redact(fmt.Errorf("%s: %w", p.config.Name(), err))
	notify := make([]func(), 0, len(p.subs))
	for s := range p.subs {
		notify = append(notify, s.notify)
	}
	p.mu.Unlock()
	for _, f := range notify {
		f()
	}
}

// discoverer makes the discovery, with what knows when its first picture is complete.
func (p *provider) discoverer() (discovery.Discoverer, picture, error) {
	first := p.newPicture()
	if c, ok := p.config.(*promkube.SDConfig); ok {
		d, err := p.parent.newKube(c, p.log, p.failed)
		if err != nil {
			return nil, nil, err
		}
		return d, kubePicture{&d.told}, nil
	}
	log := slog.New(&errorHandler{Handler: p.log.Handler(), seen: func(text, path string) {
		first.failed(path)
		p.failed(errors.New(text))
	}})
	d, err := p.config.NewDiscoverer(discovery.DiscovererOptions{
		Logger: log, Metrics: p.parent.metrics[p.config.Name()], SetName: p.config.Name(),
	})
	return d, first, err
}
