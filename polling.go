package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/crds"
)

const (
	// silencePatience is how long a collector may not ask for targets, at least, before that is said.
	silencePatience = 2 * time.Minute
	// silentPeriods is how many of its periods it may miss.
	silentPeriods = 3
	// mostSilent is how many collectors are named that do not ask.
	mostSilent = 3
)

// polling watches whether the collectors of one pool ask for their targets.
type polling struct {
	url      string // that they are to ask
	patience time.Duration

	mu    sync.Mutex
	since map[string]time.Time // when a collector was first seen to be ready, and to have something to ask for
}

// newPolling is about collectors that ask at least once in each of these periods.
func newPolling(url string, periods ...time.Duration) *polling {
	p := &polling{url: url, patience: silencePatience, since: map[string]time.Time{}}
	for _, d := range periods {
		p.patience = max(p.patience, silentPeriods*d)
	}
	return p
}

// silent are the members that are ready and have not asked for too long, by name, and of how many. A pool without jobs has nothing that
// collectors would ask for by their names.
func (p *polling) silent(s *allocate.Snapshot, ready map[string]time.Time, now time.Time) (names []string, of int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	since := map[string]time.Time{}
	for i, m := range s.Assignment.Members {
		up, isReady := ready[m.Name]
		if !isReady || len(s.Jobs) == 0 {
			continue
		}
		first, known := p.since[m.Name]
		if !known || up.After(first) && !up.After(now) { // another pod of that name counts anew
			first = now
		}
		since[m.Name] = first
		last := first
		if at := s.LastPoll(i); at.After(last) {
			last = at
		}
		if now.Sub(last) >= p.patience {
			names = append(names, m.Name)
		}
	}
	p.since = since
	return names, len(since)
}

// reset forgets what was seen: it starts anew.
func (p *polling) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.since)
}

// problem says that collectors do not ask. There is no time in it that would change while nothing else does.
func (p *polling) problem(pool string, names []string, of int) problem {
	who := strings.Join(names[:min(len(names), mostSilent)], ", ")
	if n := len(names) - mostSilent; n > 0 {
		who += fmt.Sprintf(" and %d more", n)
	}
	return problem{crds.ConditionCollectorsNotPolling, crds.ReasonNotAsked, fmt.Sprintf(
		"pool %s: %d of %d ready collectors have not asked for their targets at %s for %v or longer: %s; their logs say what they get instead",
		pool, len(names), of, p.url, p.patience, who)}
}

// notPolling is what there is to say of collectors that do not ask. Only a leader that is alone can tell: of several replicas, each is
// asked by some of the collectors.
func (c *collectorPools) notPolling(p *servedPool, s *allocate.Snapshot) []problem {
	c.mu.Lock()
	asked := p.polling
	c.mu.Unlock()
	w := c.watcher.Load()
	if w == nil || asked == nil {
		return nil
	}
	if !c.leads() {
		asked.reset()
		return nil
	}
	names, of := asked.silent(s, w.Ready(), c.clock.Now())
	if len(names) == 0 || c.replicated != nil && c.replicated() {
		return nil
	}
	return []problem{asked.problem(p.name, names, of)}
}

// leads tells whether this process writes statuses.
func (e environment) leads() bool {
	if e.elected == nil {
		return true
	}
	select {
	case <-e.elected:
		return true
	default:
		return false
	}
}

// refreshInterval is how often a receiver is told to ask for the targets of a job; 0 when its configuration does not say.
func refreshInterval(config crds.Config, receiver string) time.Duration {
	tree := any(config.Tree)
	if config.IsText {
		if err := yaml.Unmarshal([]byte(config.Text), &tree); err != nil {
			return 0 // a spec that is not in use
		}
	}
	for _, key := range []string{"receivers", receiver, "target_allocator", "http_sd_config", "refresh_interval"} {
		m, _ := tree.(map[string]any)
		tree = m[key]
	}
	text, _ := tree.(string)
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0
	}
	return time.Duration(d)
}

// replicasOf tells whether several pods are behind the Service of the allocator's address.
type replicasOf struct {
	client kubernetes.Interface
	clock  clock.PassiveClock
	// service and namespace are empty when the address is not that of a Service.
	service, namespace string

	log *slog.Logger

	mu      sync.Mutex
	at      time.Time
	several bool
	failed  bool // the last answer was an error, and that was said
}

// replicasAge is how old an answer may be.
const replicasAge = 30 * time.Second

func newReplicasOf(client kubernetes.Interface, address string, clk clock.PassiveClock, log *slog.Logger) *replicasOf {
	r := &replicasOf{client: client, clock: clk, log: log}
	if u, err := url.Parse(address); err == nil {
		if parts := strings.Split(u.Hostname(), "."); len(parts) >= 3 && parts[2] == "svc" {
			r.service, r.namespace = parts[0], parts[1]
		}
	}
	return r
}

// now is false when that can't be told: one replica is what there is by default.
func (r *replicasOf) now() bool {
	if r.service == "" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.at.IsZero() && r.clock.Since(r.at) < replicasAge {
		return r.several
	}
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	slices, err := r.client.DiscoveryV1().EndpointSlices(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + r.service})
	r.at = r.clock.Now()
	if err != nil {
		if !r.failed {
			r.log.Warn("how many replicas answer collectors is not known: collectors may be said not to ask that ask another one", "error", err)
		}
		r.failed = true
		return r.several
	}
	r.failed = false
	pods := map[string]bool{}
	for _, s := range slices.Items {
		for _, e := range s.Endpoints {
			if ready := e.Conditions.Ready; ready != nil && !*ready {
				continue
			}
			switch {
			case e.TargetRef != nil:
				pods[e.TargetRef.Name] = true
			case len(e.Addresses) > 0:
				pods[e.Addresses[0]] = true
			}
		}
	}
	r.several = len(pods) > 1
	return r.several
}
