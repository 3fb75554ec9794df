package discover

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/otelier/otelier/allocate"
)

// fakeSD is a discovery that a test speaks for.
type fakeSD struct {
	ID     string
	groups chan []*targetgroup.Group
	dealt  chan struct{}
	end    chan struct{}
	broken error
}

func newFakeSD(id string) *fakeSD {
	return &fakeSD{ID: id, groups: make(chan []*targetgroup.Group), dealt: make(chan struct{}, 1), end: make(chan struct{})}
}

func (*fakeSD) Name() string { return "fake" }

func (f *fakeSD) NewDiscoverer(discovery.DiscovererOptions) (discovery.Discoverer, error) {
	return f, f.broken
}

func (*fakeSD) NewDiscovererMetrics(prometheus.Registerer, discovery.RefreshMetricsInstantiator) discovery.DiscovererMetrics {
	return &discovery.NoopDiscovererMetrics{}
}

func (f *fakeSD) Run(ctx context.Context, up chan<- []*targetgroup.Group) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.end:
			return
		case g := <-f.groups:
			// What comes second is taken when the first has been dealt with.
			for _, batch := range [][]*targetgroup.Group{g, nil} {
				select {
				case up <- batch:
				case <-ctx.Done():
					return
				}
			}
			f.dealt <- struct{}{}
		}
	}
}

// manual is a pool whose steps a test takes, with a clock that stands.
type manual struct {
	t       *testing.T
	clock   *clocktesting.FakeClock
	targets *Targets
	// picture is what was published last, and pictures how often.
	picture  []*allocate.Job
	pictures int
}

func newManual(t *testing.T) *manual {
	t.Helper()
	m := &manual{t: t, clock: clocktesting.NewFakeClock(time.Unix(1e9, 0))}
	ps, err := NewProviders(ProvidersOptions{Clock: m.clock})
	if err != nil {
		t.Fatal(err)
	}
	m.targets = ps.NewTargets(TargetsOptions{Filter: true, Publish: func(jobs []*allocate.Job) {
		m.picture = jobs
		m.pictures++
	}})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = ps.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		m.targets.close()
	})
	return m
}

func fakeJob(t *testing.T, name string, sds ...*fakeSD) Job {
	t.Helper()
	c := config.DefaultScrapeConfig
	c.JobName = name
	for _, sd := range sds {
		c.ServiceDiscoveryConfigs = append(c.ServiceDiscoveryConfigs, sd)
	}
	if err := c.Validate(config.DefaultGlobalConfig); err != nil {
		t.Fatal(err)
	}
	j, err := NewJob(&c, "test")
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// set hands jobs over and takes a step.
func (m *manual) set(jobs ...Job) {
	m.targets.SetJobs(jobs)
	m.targets.step()
}

// tell makes a discovery say something, and takes a step.
func (m *manual) tell(f *fakeSD, groups ...*targetgroup.Group) {
	m.t.Helper()
	select {
	case f.groups <- groups:
	case <-time.After(10 * time.Second):
		m.t.Fatalf("discovery %s does not run", f.ID)
	}
	select {
	case <-f.dealt:
		m.targets.step()
	case <-time.After(10 * time.Second):
		m.t.Fatalf("discovery %s was not dealt with", f.ID)
	}
}

// pass lets time go by.
func (m *manual) pass(d time.Duration) {
	m.clock.Step(d)
	m.targets.step()
}

// want compares the last picture: job=targets.
func (m *manual) want(pictures int, want ...string) {
	m.t.Helper()
	var got []string
	for _, j := range m.picture {
		if j.Unknown {
			got = append(got, j.Name+"=?")
			continue
		}
		got = append(got, fmt.Sprintf("%s=%d", j.Name, count([]*allocate.Job{j})))
	}
	if m.pictures != pictures || !slices.Equal(got, want) {
		m.t.Fatalf("%d pictures, the last one %v; want %d and %v; waiting for %v", m.pictures, got, pictures, want, m.targets.Waiting())
	}
}

func targetGroup(source string, addresses ...string) *targetgroup.Group {
	g := &targetgroup.Group{Source: source}
	for _, a := range addresses {
		g.Targets = append(g.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(a)})
	}
	return g
}
