package allocate

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxSeries is of how many jobs, and of how many collectors, a pool has series of their own: the first by name. The others are summed
// up as otherSeries; of their polls, the oldest counts.
const (
	maxSeries   = 1000
	otherSeries = "(other)"
)

// Metrics are those of all pools of a process. Gauges are computed when they are asked for, so they end with what they are about.
//
// Where a metric of the OpenTelemetry Operator's target allocator means the same, it has that name, and a label pool more.
type Metrics struct {
	targets, perCollector, allocatable, discovered, unassigned, remaining *prometheus.Desc
	moved, generation, ready, withheld, unknown, pollAge                  *prometheus.Desc

	timeToAllocate *prometheus.HistogramVec
	requests       *prometheus.HistogramVec
	discoveryLag   prometheus.Histogram
	rejected       prometheus.Counter

	mu    sync.Mutex
	pools []*Pool
}

// NewMetrics registers the metrics. A process has them once.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"pool"}, labels...), nil)
	}
	m := &Metrics{
		targets:      desc("opentelemetry_allocator_targets", "Targets of a job.", "job_name"),
		remaining:    desc("opentelemetry_allocator_targets_remaining", "Targets of all jobs, after filtering."),
		perCollector: desc("opentelemetry_allocator_targets_per_collector", "Targets of a collector.", "collector_name", "strategy"),
		allocatable:  desc("opentelemetry_allocator_collectors_allocatable", "Collectors that targets are given to.", "strategy"),
		discovered:   desc("opentelemetry_allocator_collectors_discovered", "Collectors that there are, with those that wait for being ready."),
		unassigned:   desc("opentelemetry_allocator_targets_unassigned", "Targets that no collector may have."),
		moved:        desc("otelier_allocator_targets_moved_total", "Targets that went from one collector to another that was there before."),
		generation:   desc("otelier_allocator_generation", "Changes of the pool since the process began."),
		ready:        desc("otelier_allocator_ready", "Whether the pool is served."),
		withheld:     desc("otelier_allocator_jobs_withheld", "Jobs that are left out, or that have targets which are: the condition JobsWithheld says why."),
		unknown: desc("otelier_allocator_jobs_unknown",
			"Jobs of which service discovery has not told the targets yet: collectors keep those that they have."),
		pollAge: desc("otelier_allocator_collector_poll_age_seconds",
			"Time since a collector last asked for targets; +Inf if it never has.", "collector_name"),
		timeToAllocate: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "opentelemetry_allocator_time_to_allocate", Help: "Seconds that it takes to assign all targets.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"method", "strategy"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "opentelemetry_allocator_http_duration_seconds", Help: "Seconds that a request takes.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}, []string{"path"}),
		discoveryLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "otelier_allocator_discovery_lag_seconds", Help: "Seconds from when service discovery reports a change until it is served.",
			Buckets: prometheus.ExponentialBuckets(0.05, 2, 10),
		}),
		rejected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "otelier_allocator_http_rejected_total", Help: "Requests that were refused because there were too many at a time.",
		}),
	}
	reg.MustRegister(m)
	return m
}

// ObserveDiscoveryLag takes how long it was from a report of service discovery until its targets were served. Without metrics it does
// nothing.
func (m *Metrics) ObserveDiscoveryLag(lag time.Duration) {
	if m != nil {
		m.discoveryLag.Observe(lag.Seconds())
	}
}

func (m *Metrics) assigned(method string, strategy Strategy, took time.Duration) {
	m.timeToAllocate.WithLabelValues(method, string(strategy)).Observe(took.Seconds())
}

func (m *Metrics) requested(path string, took time.Duration) {
	m.requests.WithLabelValues(path).Observe(took.Seconds())
}

// add speaks for a pool. One of the same name that is there already goes.
func (m *Metrics) add(p *Pool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pools = slices.DeleteFunc(m.pools, func(o *Pool) bool { return o.options.Name == p.options.Name })
	m.pools = append(m.pools, p)
}

func (m *Metrics) remove(p *Pool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pools = slices.DeleteFunc(m.pools, func(o *Pool) bool { return o == p })
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.targets, m.remaining, m.perCollector, m.allocatable, m.discovered, m.unassigned, m.moved, m.generation, m.ready, m.withheld, m.unknown, m.pollAge,
	} {
		ch <- d
	}
	m.timeToAllocate.Describe(ch)
	m.requests.Describe(ch)
	m.discoveryLag.Describe(ch)
	m.rejected.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	pools := slices.Clone(m.pools)
	m.mu.Unlock()
	for _, p := range pools {
		m.collect(ch, p)
	}
	m.timeToAllocate.Collect(ch)
	m.requests.Collect(ch)
	m.discoveryLag.Collect(ch)
	m.rejected.Collect(ch)
}

func (m *Metrics) collect(ch chan<- prometheus.Metric, p *Pool) {
	name := p.options.Name
	send := func(d *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, value, append([]string{name}, labels...)...)
	}
	gauge := func(d *prometheus.Desc, value int, labels ...string) {
		send(d, prometheus.GaugeValue, float64(value), labels...)
	}
	gauge(m.withheld, int(p.withheld.Load()))
	s := p.Snapshot()
	if s == nil {
		gauge(m.ready, 0)
		return
	}
	gauge(m.ready, 1)
	send(m.generation, prometheus.GaugeValue, float64(s.Generation))
	send(m.moved, prometheus.CounterValue, float64(s.Moved))
	strategy, members := string(s.strategy()), s.Assignment.Members
	gauge(m.allocatable, len(members), strategy)
	gauge(m.discovered, p.collectors(s))
	gauge(m.unassigned, s.Assignment.Unassigned)
	gauge(m.remaining, s.total)
	gauge(m.unknown, s.unknowns)
	views := s.known()
	bounded(len(views), func(i int) string { return views[i].job.Name }, func(i int) float64 { return float64(views[i].total()) },
		func(a, b float64) float64 { return a + b },
		func(label string, n float64) { send(m.targets, prometheus.GaugeValue, n, label) })
	load := s.Assignment.Load()
	collector := func(i int) string { return members[i].Name }
	bounded(len(members), collector, func(i int) float64 { return float64(load[i]) },
		func(a, b float64) float64 { return a + b },
		func(label string, n float64) { send(m.perCollector, prometheus.GaugeValue, n, label, strategy) })
	if s.total == 0 && s.unknowns == 0 {
		return // nothing to ask for
	}
	now := p.options.Clock.Now()
	bounded(len(members), collector, func(i int) float64 {
		if at := s.LastPoll(i); !at.IsZero() {
			return max(0, now.Sub(at).Seconds())
		}
		return math.Inf(1)
	}, func(a, b float64) float64 { return max(a, b) },
		func(label string, age float64) { send(m.pollAge, prometheus.GaugeValue, age, label) })
}

// known are the jobs of which the targets are known: the others must not look as if they had none.
func (s *Snapshot) known() []*view {
	if s.unknowns == 0 {
		return s.views
	}
	return slices.DeleteFunc(slices.Clone(s.views), func(v *view) bool { return v.job.Unknown })
}

// collectors is how many there are.
func (p *Pool) collectors(s *Snapshot) int {
	if n := p.discovered.Load(); n >= 0 {
		return int(n)
	}
	return len(s.Assignment.Members)
}

// LastPoll is when a member last asked for targets, zero if it has not since the process began.
func (s *Snapshot) LastPoll(member int) time.Time {
	if at := s.polled[member].Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// bounded sends n values under their labels, and under otherSeries what is beyond maxSeries of them. Empty labels do not get lost.
func bounded(n int, label func(int) string, value func(int) float64, join func(a, b float64) float64, send func(string, float64)) {
	for i := range min(n, maxSeries) {
		send(strings.ToValidUTF8(cmp.Or(label(i), "(none)"), "\ufffd"), value(i)) // invalid ones would fail all metrics
	}
	if n <= maxSeries {
		return
	}
	rest := value(maxSeries)
	for i := maxSeries + 1; i < n; i++ {
		rest = join(rest, value(i))
	}
	send(otherSeries, rest)
}
