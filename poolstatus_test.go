package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/discover"
	"github.com/otelier/otelier/discover/member"
	"github.com/otelier/otelier/render"
)

// poolRig is the pools of a DaemonSet's collector n/c with one ready pod c-x, on a clock that stands still.
type poolRig struct {
	t       *testing.T
	clock   *clocktesting.FakeClock
	server  *allocate.Server
	elected chan struct{}
	*collectorPools
}

func newPoolRig(t *testing.T, scrapeConfigs string) *poolRig {
	t.Helper()
	log, controller := slog.New(slog.DiscardHandler), true
	r := &poolRig{t: t, clock: clocktesting.NewFakeClock(time.Now()), elected: make(chan struct{})}
	client := fake.NewClientset(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: "c-x", Namespace: "n", Labels: crds.SelectorLabels("n", "c"), CreationTimestamp: metav1.NewTime(r.clock.Now()),
			OwnerReferences: []metav1.OwnerReference{{Kind: member.KindDaemonSet, Name: crds.WorkloadName("c"), Controller: &controller}},
		},
		Spec: corev1.PodSpec{NodeName: "node-1"},
		Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
			Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(r.clock.Now()),
		}}},
	})
	providers, err := discover.NewProviders(discover.ProvidersOptions{Log: log, Clock: r.clock})
	if err != nil {
		t.Fatal(err)
	}
	metrics := allocate.NewMetrics(prometheus.NewRegistry())
	r.server = allocate.NewServer(allocate.ServerOptions{Log: log, Metrics: metrics})
	ctx, cancel := context.WithCancel(t.Context())
	running := start(ctx, func(ctx context.Context) { _ = providers.Run(ctx) })
	r.collectorPools = newCollectorPools(environment{
		providers: providers, server: r.server, metrics: metrics, log: log, clock: r.clock, elected: r.elected, address: "http://a",
		watchMembers: func(o member.Options, _ bool) (*member.Watcher, error) {
			o.Client = client
			return member.New(o)
		},
	}, types.NamespacedName{Namespace: "n", Name: "c"})
	t.Cleanup(func() { r.close(); cancel(); running.stop() })
	of := &crds.Collector{}
	of.Spec.Mode = crds.ModeDaemonSet
	err = r.sync(ctx, of, &crds.Allocation{Strategy: crds.StrategyLeastWeighted, ReloadInterval: 30 * time.Second, NotReadyGrace: time.Minute},
		[]render.Pool{{
			Receiver: "prometheus", Name: "c", Path: "/pools/n/c", Main: true, ScrapeConfigs: []byte(scrapeConfigs),
			Withheld: []render.Withheld{{Job: "w", Reason: crds.ReasonValueUnknown, Message: "scrape_configs[9]: only known in the pod"}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// until waits for a condition of that type, empty for that it is said that there is none; step is how far the clock goes in between.
func (r *poolRig) until(kind, reason, text string, step time.Duration) string {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	var conditions []metav1.Condition
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		var known bool
		conditions, known = r.conditions()
		found := metav1.Condition{}
		for _, c := range conditions {
			if c.Type == kind {
				found = c
			}
		}
		if known && found.Reason == reason && strings.Contains(found.Message, text) {
			return found.Message
		}
		r.clock.Step(step)
	}
	r.t.Fatalf("conditions are %+v, want %s for %s with %q", conditions, kind, reason, text)
	return ""
}

const oneJob = "scrape_configs: [{job_name: a, static_configs: [{targets: [h1, h2]}]}]"

func TestCollectorsThatDoNotAskAreNamed(t *testing.T) {
	const kind, text = crds.ConditionCollectorsNotPolling, "pool n/c: 1 of 1 ready collectors have not asked for their targets at http://a/pools/n/c for 2m0s or longer: c-x"
	r := newPoolRig(t, oneJob)
	r.until(crds.ConditionJobsWithheld, crds.ReasonValueUnknown, "", time.Second) // the pool is served
	r.clock.Step(time.Hour)
	r.until(kind, "", "", 0) // by one that does not lead, which need not have been asked
	close(r.elected)
	r.until(kind, "", "", 0)
	r.clock.Step(silencePatience)
	r.until(kind, crds.ReasonNotAsked, text, 0)
	several := true
	r.replicated = func() bool { return several }
	r.until(kind, "", "", 0) // another one may have been asked
	several = false
	r.until(kind, crds.ReasonNotAsked, text, 0)
	w := httptest.NewRecorder()
	r.server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/pools/n/c/jobs/a/targets?collector_id=c-x", http.NoBody))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "h1") {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	r.until(kind, "", "", 0)
}

// The metric counts what the condition names.
func TestWithheldJobsAreCounted(t *testing.T) {
	r := newPoolRig(t, "scrape_configs: [{job_name: a}, {job_name: b, scrape_interval: never}, {job_name: s, basic_auth: {username: u, password: p}}]")
	message := r.until(crds.ConditionJobsWithheld, crds.ReasonValueUnknown, "holds a secret", time.Second)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(r.metrics)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "otelier_allocator_jobs_withheld" {
			if n := f.GetMetric()[0].GetGauge().GetValue(); n != 3 {
				t.Errorf("%v jobs are withheld, want 3, as in: %s", n, message)
			}
			return
		}
	}
	t.Error("there is no metric")
}

// What a job that does not answer is waited for is said once.
func TestWaitingIsSaidOnce(t *testing.T) {
	r := newPoolRig(t, "scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://127.0.0.1:1/'}]}]")
	got := r.until(crds.ConditionDiscoveryIncomplete, crds.ReasonNotReported, "pool n/c", time.Second)
	if n := strings.Count(got, `job "a"`); n != 1 {
		t.Errorf("the job is named %d times: %s", n, got)
	}
}
