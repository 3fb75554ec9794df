package discover

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	promhttp "github.com/prometheus/prometheus/discovery/http"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/logging"
	"go.yaml.in/yaml/v2"

	"github.com/otelier/otelier/allocate"
)

// prom is what is at work in Prometheus and in a collector: the discovery manager and the scrape manager. It never scrapes.
type prom struct {
	discovery *discovery.Manager
	scrape    *scrape.Manager
	stop      func()
}

type nowhere struct{ storage.Appendable }

func newProm(t testing.TB) *prom {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	reg := prometheus.NewRegistry()
	refresh := discovery.NewRefreshMetrics(reg)
	metrics, err := discovery.RegisterSDMetrics(reg, refresh)
	if err != nil {
		t.Fatal(err)
	}
	dm := discovery.NewManager(ctx, slog.New(slog.DiscardHandler), reg,
		&discovery.SDMetrics{MechanismMetrics: metrics, RefreshManager: refresh}, discovery.Updatert(50*time.Millisecond))
	sm, err := scrape.NewManager(&scrape.Options{
		DiscoveryReloadInterval: model.Duration(50 * time.Millisecond), InitialScrapeOffset: time.Hour,
	}, nil, func(string) (*logging.JSONFileLogger, error) { return nil, nil }, nowhere{}, nil, reg)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() { _ = dm.Run(); done <- struct{}{} }()
	go func() { _ = sm.Run(dm.SyncCh()); done <- struct{}{} }()
	stop := sync.OnceFunc(func() {
		cancel()
		sm.Stop()
		<-done
		<-done
	})
	t.Cleanup(stop)
	return &prom{discovery: dm, scrape: sm, stop: stop}
}

func (p *prom) apply(t testing.TB, cfg *config.Config) {
	t.Helper()
	if err := p.scrape.ApplyConfig(cfg); err != nil {
		t.Fatal(err)
	}
	sds := map[string]discovery.Configs{}
	for _, c := range cfg.ScrapeConfigs {
		sds[c.JobName] = c.ServiceDiscoveryConfigs
	}
	if err := p.discovery.ApplyConfig(sds); err != nil {
		t.Fatal(err)
	}
}

// scraped is what is scraped for a job, sorted: labels, URL and when.
func (p *prom) scraped() map[string][]string {
	out := map[string][]string{}
	b := labels.NewBuilder(labels.EmptyLabels())
	for job, targets := range p.scrape.TargetsActive() {
		out[job] = []string{}
		for _, t := range targets {
			out[job] = append(out[job], fmt.Sprintf("%s %s every %s for %s", t.Labels(b), t.URL(),
				t.GetValue(model.ScrapeIntervalLabel), t.GetValue(model.ScrapeTimeoutLabel)))
		}
		slices.Sort(out[job])
	}
	return out
}

// dropped is how many targets relabelling has dropped of each job. Prometheus counts under a lock that it does not take to tell, and a
// stopped manager may still be counting: so this stops everything, waits for that, and takes the lock once.
func (p *prom) dropped(t *testing.T) map[string]int {
	p.stop()
	waitFor(t, "the scrape manager ends its reload", func() bool {
		buf := make([]byte, 16<<20)
		return !strings.Contains(string(buf[:runtime.Stack(buf, true)]), "scrape.(*Manager).reload(")
	})
	p.scrape.TargetsActive()
	return p.scrape.TargetsDroppedCounts()
}

// allocator answers for a pool of one member, as far as a collector asks.
type allocator struct {
	*httptest.Server
	jobs func() []*allocate.Job
}

func newAllocator(t testing.TB, jobs func() []*allocate.Job) *allocator {
	a := &allocator{jobs: jobs}
	a.Server = httptest.NewServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func (a *allocator) serve(w http.ResponseWriter, r *http.Request) {
	escaped, _, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/jobs/"), "/")
	name, err := url.QueryUnescape(escaped)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	body := []byte("[")
	for _, j := range a.jobs() {
		if j.Name != name {
			continue
		}
		for _, b := range j.Blocks {
			for i := range b.Len() {
				if len(body) > 1 {
					body = append(body, ',')
				}
				body = b.AppendJSON(body, i)
			}
		}
	}
	_, _ = w.Write(append(body, ']'))
}

// collector is the configuration that a collector makes of what is served, as its receiver does.
func (a *allocator) collector(t testing.TB, global config.GlobalConfig) *config.Config {
	t.Helper()
	cfg, err := config.Load("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cfg.GlobalConfig = global
	for _, j := range a.jobs() {
		var c config.ScrapeConfig
		if err := yaml.Unmarshal([]byte(strings.ReplaceAll(string(j.Config), "$(SHARD)", "0")), &c); err != nil {
			t.Fatalf("job %q: %v\n%s", j.Name, err, j.Config)
		}
		sd := promhttp.DefaultSDConfig
		sd.URL = fmt.Sprintf("%s/jobs/%s/targets?collector_id=one", a.URL, url.QueryEscape(j.Name))
		sd.RefreshInterval = model.Duration(time.Second)
		sd.HTTPClientConfig.FollowRedirects = false
		c.ServiceDiscoveryConfigs = discovery.Configs{&sd}
		if err := c.Validate(cfg.GlobalConfig); err != nil {
			t.Fatalf("job %q: %v\n%s", j.Name, err, j.Config)
		}
		cfg.ScrapeConfigs = append(cfg.ScrapeConfigs, &c)
	}
	return cfg
}
