package allocate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/discovery"
	sdhttp "github.com/prometheus/prometheus/discovery/http"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v3"
)

// awkward are names of jobs that paths and JSON have to care about.
func awkward() []string {
	return []string{
		"serviceMonitor/team-a/checkout/0", "a b", "a+b", "a%2Fb", "a%b", "ü/日本", "..", ".", "//", "a?b=c&d#e", `"`, `\`, "<a>", "a;b", ":", "targets", "",
	}
}

func TestJobsOfAwkwardNames(t *testing.T) {
	var jobs []*Job
	for i, name := range awkward() {
		jobs = append(jobs, testJob(name, NewBlock(podEntriesFrom(10*i, 3))))
	}
	server := httptest.NewServer(readyPool(t, PoolOptions{}, 1, jobs...).Handler())
	defer server.Close()

	status, header, body := get(t, server.Client(), server.URL+"/scrape_configs")
	var configs map[string]struct {
		Name string `yaml:"job_name"`
	}
	if err := yaml.Unmarshal(body, &configs); err != nil || status != http.StatusOK || header.Get("Content-Type") != "application/json" {
		t.Fatalf("scrape configs: %v, status %d, type %q:\n%s", err, status, header.Get("Content-Type"), body)
	}
	var links map[string]struct {
		Link string `json:"_link"`
	}
	if _, _, body = get(t, server.Client(), server.URL+"/jobs"); json.Unmarshal(body, &links) != nil {
		t.Fatalf("jobs are\n%s", body)
	}
	for i, name := range awkward() {
		if configs[name].Name != name {
			t.Errorf("scrape config of %q is %+v", name, configs[name])
		}
		path := "/jobs/" + url.QueryEscape(name) + "/targets"
		if links[name].Link != path {
			t.Errorf("link of %q is %q, want %q", name, links[name].Link, path)
		}
		want := podEntriesFrom(10*i, 3)
		_, _, body := get(t, server.Client(), server.URL+path+"?collector_id=collector-000")
		compareGroups(t, name, body, want)
		var byCollector map[string]struct {
			Link    string          `json:"_link"`
			Targets json.RawMessage `json:"targets"`
		}
		if _, _, body = get(t, server.Client(), server.URL+path); json.Unmarshal(body, &byCollector) != nil || len(byCollector) != 1 {
			t.Errorf("targets of %q by collector are\n%s", name, body)
			continue
		}
		compareGroups(t, name, byCollector["collector-000"].Targets, want)
		_, _, body = get(t, server.Client(), server.URL+byCollector["collector-000"].Link)
		compareGroups(t, name+" linked", body, want)
	}
}

func compareGroups(t *testing.T, name string, body []byte, want []Entry) {
	t.Helper()
	var groups []struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	if err := json.Unmarshal(body, &groups); err != nil || len(groups) != len(want) {
		t.Errorf("%q: error %v, %d targets, want %d:\n%s", name, err, len(groups), len(want), body)
		return
	}
	for _, e := range want {
		if !slices.ContainsFunc(groups, func(g struct {
			Targets []string          `json:"targets"`
			Labels  map[string]string `json:"labels"`
		},
		) bool {
			return len(g.Targets) == 1 && g.Targets[0] == e.Labels.Get("__address__") && labels.Equal(labels.FromMap(g.Labels), e.Labels)
		}) {
			t.Errorf("%q: no target %v", name, e.Labels)
		}
	}
}

// What Prometheus' own service discovery makes of our answers are the labels that we were given.
func TestPrometheusReadsTargets(t *testing.T) {
	in := append(podEntries(50), Entry{ID: 1, Labels: lbls("__address__", "h:1", "quote", `a"b\c`, "nl", "a\nb", "u", "ü<>&\u2028")})
	server := httptest.NewServer(readyPool(t, PoolOptions{}, 1, testJob("a/b c", NewBlock(in))).Handler())
	defer server.Close()
	target := server.URL + "/jobs/" + url.QueryEscape("a/b c") + "/targets?collector_id=collector-000"
	groups, err := refresh(t, target)
	if err != nil {
		t.Fatal(err)
	}
	if len(groups) != len(in) {
		t.Fatalf("%d groups, want %d", len(groups), len(in))
	}
	for _, g := range groups {
		if len(g.Targets) != 1 {
			t.Fatalf("group %v has %d targets", g, len(g.Targets))
		}
		all := g.Labels.Merge(g.Targets[0])
		delete(all, "__meta_url")
		got := labels.NewBuilder(labels.EmptyLabels())
		for name, value := range all {
			got.Set(string(name), string(value))
		}
		if !slices.ContainsFunc(in, func(e Entry) bool { return labels.Equal(e.Labels, got.Labels()) }) {
			t.Errorf("Prometheus has target %v, which was not given", got.Labels())
		}
	}
	empty, err := refresh(t, server.URL+"/jobs/none/targets?collector_id=collector-000")
	if err != nil || len(empty) != 0 {
		t.Errorf("targets of no job are %v, error %v", empty, err)
	}
	starting := httptest.NewServer(NewPool(PoolOptions{}).Handler())
	defer starting.Close()
	if groups, err = refresh(t, starting.URL+"/jobs/a/targets?collector_id=collector-000"); err == nil {
		t.Errorf("Prometheus takes %v from a pool that is not ready", groups)
	}
}

// refresh asks the way of http_sd_configs.
func refresh(t *testing.T, target string) ([]*targetgroup.Group, error) {
	t.Helper()
	conf := sdhttp.DefaultSDConfig
	conf.URL, conf.HTTPClientConfig = target, config.DefaultHTTPClientConfig
	reg := prometheus.NewRegistry()
	metrics := conf.NewDiscovererMetrics(reg, discovery.NewRefreshMetrics(reg))
	d, err := sdhttp.NewDiscovery(&conf, discovery.DiscovererOptions{Logger: promslog.NewNopLogger(), Metrics: metrics, SetName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return d.Refresh(t.Context())
}

// While nothing is known, nothing is said that the receiver could take for the truth: it ignores the status of scrape_configs, and drops
// all jobs when the body is empty or a mapping.
func TestNothingIsServedWhileStarting(t *testing.T) {
	p := NewPool(PoolOptions{Log: quiet(), Waiting: func() string { return "service discovery of: job \"a\": 1" }})
	p.SetJobs([]*Job{testJob("a", NewBlock(podEntries(1)))})
	pools := NewServer(ServerOptions{Log: quiet()})
	pools.Set("ns/p", p)
	alone := NewServer(ServerOptions{Log: quiet(), Root: p})
	for _, path := range []string{"/scrape_configs", "/jobs", "/jobs/a/targets", "/jobs/a/targets?collector_id=collector-000", "/readyz"} {
		for name, w := range map[string]*httptest.ResponseRecorder{
			"alone": ask(alone.Handler(), path), "pool": ask(pools.Handler(), "/pools/ns/p"+path), "unknown": ask(pools.Handler(), "/pools/ns/q"+path),
		} {
			if w.Code != http.StatusServiceUnavailable {
				t.Errorf("%s %s: status %d, want 503", name, path, w.Code)
			}
			notTaken(t, name+" "+path, w)
		}
	}
	for path, h := range map[string]http.Handler{"/livez": alone.Handler(), "/pools/ns/p/livez": pools.Handler(), "/readyz": pools.Handler()} {
		if w := ask(h, path); w.Code != http.StatusOK {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	p.SetMembers(nil)
	if w := ask(alone.Handler(), "/scrape_configs"); w.Code != http.StatusOK || w.Body.String() != `{"a":{"job_name":"a"}}` {
		t.Errorf("scrape configs are %d %s", w.Code, w.Body)
	}
}

// notTaken fails where the receiver could take the body for scrape configurations.
func notTaken(t *testing.T, what string, w *httptest.ResponseRecorder) {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(w.Body.Bytes(), &value); err != nil {
		return
	}
	if _, ok := value.(string); !ok {
		t.Errorf("%s: the receiver takes %q for %#v", what, w.Body, value)
	}
}

func TestRefusals(t *testing.T) {
	s := NewServer(ServerOptions{Log: quiet(), Root: readyPool(t, PoolOptions{}, 1, testJob("a"))})
	for _, c := range []struct {
		method, target string
		body           string
		want           int
	}{
		{"POST", "/scrape_configs", "", 405},
		{"DELETE", "/jobs/a/targets", "", 405},
		{"OPTIONS", "/nowhere", "", 405},
		{"GET", "/scrape_configs", "x", 413},
		{"GET", "/nowhere", "", 404},
		{"GET", "/scrape_configs/", "", 404},
		{"GET", "/jobs/a/b/targets", "", 404},
		{"GET", "/jobs/a", "", 404},
		{"GET", "/jobs/a/targets/", "", 404},
		{"GET", "/debug/pprof/heap", "", 404},
		{"GET", "/metrics", "", 404},
		{"GET", "/pools/a/b/scrape_configs", "", 404},
		{"GET", "/jobs/" + strings.Repeat("a", maxURL) + "/targets", "", 414},
		{"GET", "/jobs/a/targets?collector_id=" + strings.Repeat("a", maxURL), "", 414},
		{"HEAD", "/scrape_configs", "", 200},
		{"GET", "/jobs/a/targets?collector_id=", "", 200},
		{"GET", "/jobs/b/targets?collector_id=collector-000", "", 200},
	} {
		r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s %.40s: status %d, want %d", c.method, c.target, w.Code, c.want)
		}
		if c.want >= 400 {
			notTaken(t, c.method+" "+c.target, w)
		} else if c.method == "GET" && w.Body.String() != "[]" {
			t.Errorf("%s: %s, want an empty list", c.target, w.Body)
		}
	}
}

func TestETag(t *testing.T) {
	entries := podEntries(100)
	p := readyPool(t, PoolOptions{}, 2, testJob("a", NewBlock(entries)), testJob("b", NewBlock(podEntriesFrom(200, 10))))
	h := p.Handler()
	const list = "/jobs/a/targets?collector_id=collector-000"
	for _, path := range []string{list, "/scrape_configs"} {
		first := ask(h, path)
		tag := first.Header().Get("ETag")
		if len(tag) != 18 || tag[0] != '"' {
			t.Fatalf("%s: ETag is %q", path, tag)
		}
		for _, known := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			w := ask(h, path, "If-None-Match", known)
			if w.Code != http.StatusNotModified || w.Body.Len() != 0 || w.Header().Get("ETag") != tag {
				t.Errorf("%s with %s: %d, ETag %s, %d bytes", path, known, w.Code, w.Header().Get("ETag"), w.Body.Len())
			}
		}
		if w := ask(h, path, "If-None-Match", `"0000000000000000"`); w.Code != http.StatusOK || w.Body.String() != first.Body.String() {
			t.Errorf("%s with another tag: %d, %d bytes", path, w.Code, w.Body.Len())
		}
		head := httptest.NewRecorder()
		h.ServeHTTP(head, httptest.NewRequest(http.MethodHead, path, http.NoBody))
		if head.Code != http.StatusOK || head.Body.Len() != 0 || head.Header().Get("Content-Length") != fmt.Sprint(first.Body.Len()) {
			t.Errorf("HEAD %s: %d, length %s of %d", path, head.Code, head.Header().Get("Content-Length"), first.Body.Len())
		}
	}
	tag := ask(h, list).Header().Get("ETag")
	// A label of service discovery alone changes: the target is the same, what is served is not.
	b := p.Snapshot().Jobs[0].Blocks[0]
	owned := slices.Index(p.Snapshot().Assignment.Owners(b), 0)
	changed := slices.Clone(entries)
	at := slices.IndexFunc(changed, func(e Entry) bool { return e.ID == b.IDs()[owned] })
	changed[at].Labels = labels.NewBuilder(changed[at].Labels).Set("__meta_kubernetes_pod_ready", "false").Labels()
	p.SetJobs([]*Job{testJob("a", NewBlock(changed)), testJob("b", NewBlock(podEntriesFrom(200, 10)))})
	if now := ask(h, list).Header().Get("ETag"); now == tag {
		t.Error("another content has the same ETag")
	}
	p.SetJobs([]*Job{testJob("a", NewBlock(entries)), testJob("b", NewBlock(podEntriesFrom(200, 10)))})
	if now := ask(h, list).Header().Get("ETag"); now != tag {
		t.Errorf("the same content has ETag %s, and had %s", now, tag)
	}
	// Golden: it is the same in every process.
	if want := model.LabelValue(tag); want != `"a41e8fc2268f0e40"` {
		t.Errorf("ETag is %s", want)
	}
}

func FuzzHandler(f *testing.F) {
	var jobs []*Job
	for i, name := range awkward() {
		jobs = append(jobs, testJob(name, NewBlock(podEntriesFrom(10*i, 3))))
		f.Add("/jobs/"+url.QueryEscape(name)+"/targets", "collector_id=collector-000", "")
		f.Add("/jobs/"+url.PathEscape(name)+"/targets", "", "*")
	}
	for _, path := range []string{"/", "/pools/ns/p/", "/pools/ns/p", "/pools/ns/p/jobs", "/pools/ns/p/scrape_configs", "/scrape_configs", "/livez", "/readyz", "/pools//", "*", ""} {
		f.Add(path, "q=10.0+ready=true&job=a&collector=collector-001", `"a", W/"b"`)
		f.Add(path, "q=%ff%00%22&&;collector_id=%zz", "")
	}
	ready := readyPool(f, PoolOptions{Name: "ns/p"}, 2, jobs...)
	many := NewServer(ServerOptions{Log: quiet()})
	many.Set("ns/p", ready)
	many.Set("ns/starting", NewPool(PoolOptions{Log: quiet()}))
	servers := []*Server{many, NewServer(ServerOptions{Log: quiet(), Root: ready})}
	allowed := []int{200, 301, 304, 404, 413, 414, 503}
	f.Fuzz(func(t *testing.T, path, query, match string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return // net/http answers 400
		}
		u.RawQuery = query
		for _, s := range servers {
			r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			r.URL = u
			r.Header.Set("If-None-Match", match)
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if !slices.Contains(allowed, w.Code) {
				t.Fatalf("%s: status %d: %s", u, w.Code, w.Body)
			}
			if w.Code == http.StatusOK && w.Header().Get("Content-Type") == "application/json" && !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%s: no JSON: %s", u, w.Body)
			}
			if length := w.Header().Get("Content-Length"); length != "" && length != fmt.Sprint(w.Body.Len()) {
				t.Fatalf("%s: %d bytes, %s announced", u, w.Body.Len(), length)
			}
		}
	})
}
