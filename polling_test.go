package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/render"
)

// silence is a pool whose collectors may ask or not.
type silence struct {
	t     *testing.T
	clock *clocktesting.FakeClock
	pool  *allocate.Pool
	ready map[string]time.Time
	*polling
}

func newSilence(t *testing.T, periods ...time.Duration) *silence {
	clock := clocktesting.NewFakeClock(time.Unix(1_000_000, 0))
	s := &silence{t: t, clock: clock, ready: map[string]time.Time{}, polling: newPolling("http://a/pools/n/c", periods...)}
	s.pool = allocate.NewPool(allocate.PoolOptions{Name: "n/c", Log: slog.New(slog.DiscardHandler), Clock: clock})
	t.Cleanup(s.pool.Close)
	var names []string
	for i := range 5 {
		names = append(names, fmt.Sprintf("c-%d", i))
		s.ready[names[i]] = clock.Now().Add(-time.Hour)
	}
	s.pool.SetMembers(listed(names))
	s.pool.SetJobs([]*allocate.Job{{Name: "j"}})
	return s
}

func (s *silence) ask(name string) {
	s.t.Helper()
	w := httptest.NewRecorder()
	s.pool.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/jobs/j/targets?collector_id="+url.QueryEscape(name), http.NoBody))
	if w.Code != http.StatusOK {
		s.t.Fatalf("asked for targets: status %d", w.Code)
	}
}

func (s *silence) expect(when, want string) {
	s.t.Helper()
	names, _ := s.silent(s.pool.Snapshot(), s.ready, s.clock.Now())
	if got := strings.Join(names, " "); got != want {
		s.t.Errorf("%s: silent are %q, want %q", when, got, want)
	}
}

func TestSilentCollectors(t *testing.T) {
	s := newSilence(t, 30*time.Second, 0)
	delete(s.ready, "c-4")
	s.expect("at first", "")
	s.ask("c-0")
	s.clock.Step(silencePatience - time.Second)
	s.expect("in time", "")
	s.ask("c-1")
	s.clock.Step(time.Second)
	s.ready["c-4"] = s.clock.Now()
	s.expect("late", "c-0 c-2 c-3")
	s.ask("c-2")
	s.expect("one has asked", "c-0 c-3")
	s.ready["c-3"] = s.clock.Now()
	s.expect("another pod", "c-0")
	s.clock.Step(silencePatience)
	s.expect("one that has just come is late too", "c-0 c-1 c-2 c-3 c-4")
	s.reset()
	s.expect("from then on", "")
}

// How long nobody asks does not change the message: that would be a write each time.
func TestSilenceIsSaidOnce(t *testing.T) {
	s := newSilence(t, time.Minute)
	s.expect("at first", "")
	said := map[string]bool{}
	for range 5 {
		s.clock.Step(3 * time.Minute)
		names, of := s.silent(s.pool.Snapshot(), s.ready, s.clock.Now())
		said[conditionsOf([]problem{s.problem("n/c", names, of)})[0].Message] = true
	}
	const want = "pool n/c: 5 of 5 ready collectors have not asked for their targets at http://a/pools/n/c for 3m0s or longer: c-0, c-1, c-2 and 2 more; " +
		"their logs say what they get instead"
	if len(said) != 1 || !said[want] {
		t.Errorf("said %v, want %s", said, want)
	}
}

func TestNobodyAsksForNothing(t *testing.T) {
	s := newSilence(t, 10*time.Minute)
	s.pool.SetJobs(nil)
	s.expect("at first", "")
	s.clock.Step(time.Hour)
	s.expect("without jobs", "")
	s.pool.SetJobs([]*allocate.Job{{Name: "j"}})
	s.expect("a first job", "")
	s.clock.Step(29 * time.Minute)
	s.expect("within three periods", "")
	s.clock.Step(time.Minute)
	s.expect("after them", "c-0 c-1 c-2 c-3 c-4")
}

func TestRefreshInterval(t *testing.T) {
	tree := func(interval any) crds.Config {
		return crds.Config{Tree: map[string]any{"receivers": map[string]any{"prometheus/x": map[string]any{"target_allocator": map[string]any{
			"http_sd_config": map[string]any{"refresh_interval": interval},
		}}}}}
	}
	text := crds.Config{IsText: true, Text: "receivers: {prometheus/x: {target_allocator: {http_sd_config: {refresh_interval: 2m}}}}"}
	for _, tt := range []struct {
		config crds.Config
		want   time.Duration
	}{{tree("5m"), 5 * time.Minute}, {tree(int64(5)), 0}, {tree("${env:X}"), 0}, {crds.Config{}, 0}, {text, 2 * time.Minute}} {
		if got := refreshInterval(tt.config, "prometheus/x"); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.config, got, tt.want)
		}
	}
}

func TestReplicasOf(t *testing.T) {
	no := false
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "o", Name: "s", Labels: map[string]string{discoveryv1.LabelServiceName: "svc-a"}}}
	endpoint := func(pod string, ready *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{
			Addresses: []string{pod}, TargetRef: &corev1.ObjectReference{Name: pod}, Conditions: discoveryv1.EndpointConditions{Ready: ready},
		}
	}
	slice.Endpoints = []discoveryv1.Endpoint{endpoint("a", nil), endpoint("a", nil), endpoint("gone", &no)}
	client := fake.NewClientset(slice)
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	r := newReplicasOf(client, "http://svc-a.o.svc:80", clock, slog.New(slog.DiscardHandler))
	if r.now() {
		t.Error("one pod is taken for several")
	}
	slice.Endpoints = append(slice.Endpoints, endpoint("b", nil))
	if _, err := client.DiscoveryV1().EndpointSlices("o").Update(t.Context(), slice, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if r.now() {
		t.Error("asked again at once")
	}
	clock.SetTime(time.Unix(1000, 0).Add(replicasAge))
	if !r.now() || newReplicasOf(client, "http://example.com", clock, slog.New(slog.DiscardHandler)).now() {
		t.Error("two pods are not taken for several, or an address elsewhere is")
	}
}

// Who may not look counts as alone, and says once that this may be wrong.
func TestReplicasThatMayNotBeCounted(t *testing.T) {
	var log bytes.Buffer
	client := fake.NewClientset()
	client.PrependReactor("list", "endpointslices", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "endpointslices"}, "", errors.New("no role"))
	})
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	r := newReplicasOf(client, "http://svc-a.o.svc:80", clock, slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 3 {
		clock.SetTime(time.Unix(1000, 0).Add(time.Duration(i) * replicasAge))
		if r.now() {
			t.Error("nobody is taken for several")
		}
	}
	if n := strings.Count(log.String(), "how many replicas answer collectors is not known"); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, log.String())
	}
}

func TestUnserved(t *testing.T) {
	var queued []string
	n := newUnserved(render.Options{AllocatorURL: "http://a"})
	n.enqueue = func(key types.NamespacedName) { queued = append(queued, key.Name) }
	collector := func(name string, enabled bool) (types.NamespacedName, *unstructured.Unstructured) {
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "opentelemetry.io/v1beta1", "kind": "OpenTelemetryCollector", "metadata": map[string]any{"name": name, "namespace": "n"},
			"spec": map[string]any{
				"mode": "statefulset", "targetAllocator": map[string]any{"enabled": enabled},
				"config": map[string]any{
					"receivers": map[string]any{"prometheus": map[string]any{"config": map[string]any{"scrape_configs": []any{map[string]any{"job_name": "a"}}}}},
					"exporters": map[string]any{"debug": map[string]any{}},
					"service":   map[string]any{"pipelines": map[string]any{"metrics": map[string]any{"receivers": []any{"prometheus"}, "exporters": []any{"debug"}}}},
				},
			},
		}}
		return types.NamespacedName{Namespace: "n", Name: name}, u
	}
	asking, u := collector("asking", true)
	if _, known := n.conditions(asking); known {
		t.Error("known before it was seen")
	}
	n.collectorChanged(asking, u)
	n.collectorChanged(asking, u)
	if c, known := n.conditions(asking); !known || len(c) != 1 || c[0].Type != crds.ConditionCollectorsNotPolling || c[0].Reason != crds.ReasonNotServed {
		t.Errorf("of one that asks it is said: %v, %v", c, known)
	}
	quiet, u := collector("quiet", false)
	n.collectorChanged(quiet, u)
	if c, known := n.conditions(quiet); !known || len(c) > 0 {
		t.Errorf("of one that does not ask it is said: %v, %v", c, known)
	}
	_, u = collector("asking", false)
	n.collectorChanged(asking, u)
	if c, known := n.conditions(asking); !known || len(c) > 0 {
		t.Errorf("of one that no longer asks it is said: %v, %v", c, known)
	}
	if got := strings.Join(queued, " "); got != "asking quiet asking" {
		t.Errorf("passes over %q", got)
	}
}

// A collector that asks for a job whose targets are not known yet does ask.
func TestAskingForWhatIsUnknown(t *testing.T) {
	s := newSilence(t)
	s.pool.SetJobs([]*allocate.Job{{Name: "j", Unknown: true}})
	s.expect("at first", "")
	s.clock.Step(silencePatience)
	w := httptest.NewRecorder()
	s.pool.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/jobs/j/targets?collector_id=c-0", http.NoBody))
	if w.Code == http.StatusOK {
		t.Fatalf("what is not known is told: %s", w.Body)
	}
	s.expect("after one has asked", "c-1 c-2 c-3 c-4")
}
