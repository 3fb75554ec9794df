package allocate

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"
	clocktesting "k8s.io/utils/clock/testing"
)

// shopJob are the targets of a service of an imaginary shop.
func shopJob(team, service string, targets int, port string) *Job {
	name := fmt.Sprintf("serviceMonitor/%s/%s/0", team, service)
	var entries []Entry
	for i := range targets {
		h := xxhash.Sum64String(fmt.Sprint(name, i))
		ip := fmt.Sprintf("10.%d.%d.%d", 40+h%4, h>>8&255, h>>16&255)
		node := fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", 16*(h>>24%3), 20+h>>32%9)
		pod := fmt.Sprintf("%s-%08x-%05x", service, xxhash.Sum64String(service)&0xffffffff, h&0xfffff)
		entries = append(entries, Entry{
			ID: h, Key: xxhash.Sum64String(ip), Place: Place{Node: node, Zone: "eu-central-1" + string("abc"[h>>24%3])},
			Labels: lbls("__address__", ip+":"+port, "__meta_kubernetes_namespace", team, "__meta_kubernetes_service_name", service,
				"__meta_kubernetes_endpointslice_port_name", "metrics", "__meta_kubernetes_endpointslice_endpoint_conditions_ready", "true",
				"__meta_kubernetes_pod_name", pod, "__meta_kubernetes_pod_ip", ip, "__meta_kubernetes_pod_node_name", node,
				"__meta_kubernetes_pod_container_name", service, "__meta_kubernetes_pod_label_app_kubernetes_io_name", service,
				"__meta_kubernetes_pod_label_app_kubernetes_io_version", "4.2.1", "__meta_kubernetes_pod_phase", "Running",
				"__metrics_path__", "/metrics", "__scheme__", "http", "job", name),
		})
	}
	job := testJob(name, NewBlock(entries))
	job.Source = strings.TrimSuffix(name, "/0")
	job.Config = []byte(`{"job_name":"x","basic_auth":{"username":"u","password":"hunter2"}}`)
	return job
}

// shop is a pool of twelve collectors that have all asked lately, but for one.
func shop(t testing.TB) *Pool {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1_800_000_000, 0))
	jobs := []*Job{
		shopJob("checkout", "cart", 240, "9090"), shopJob("checkout", "payment", 96, "9090"), shopJob("catalog", "search", 310, "8081"),
		shopJob("catalog", "images", 64, "9090"), shopJob("data", "kafka-exporter", 9, "9308"), shopJob("data", "postgres-exporter", 18, "9187"),
		shopJob("platform", "ingress-nginx", 24, "10254"), shopJob("platform", "node-exporter", 142, "9100"),
	}
	p := NewPool(PoolOptions{
		Name: "observability/metrics", Log: quiet(), Clock: clock,
		Relabel: func(job string, before labels.Labels) (labels.Labels, bool) {
			if strings.Contains(job, "postgres") {
				return labels.EmptyLabels(), false
			}
			b := labels.NewBuilder(before)
			before.Range(func(l labels.Label) {
				if strings.HasPrefix(l.Name, "__meta_") {
					b.Del(l.Name)
				}
			})
			b.Set("namespace", before.Get("__meta_kubernetes_namespace")).Set("pod", before.Get("__meta_kubernetes_pod_name"))
			b.Set("service", before.Get("__meta_kubernetes_service_name")).Set("instance", before.Get("__address__"))
			b.Set("job", before.Get("__meta_kubernetes_service_name"))
			return b.Labels(), true
		},
	})
	t.Cleanup(p.Close)
	p.SetJobs(jobs)
	var members []Member
	for i := range 12 {
		name := fmt.Sprintf("metrics-collector-%d", i)
		members = append(members, Member{
			Name: name, Seed: name, Zone: "eu-central-1" + string("abc"[i%3]),
			Node: fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", 16*(i%3), 21+i/3),
		})
	}
	members[7].Capacity = 2
	p.SetMembers(members)
	h := p.Handler()
	for i := range members {
		clock.SetTime(time.Unix(1_800_000_000+int64(i*37%29), 0))
		if i != 5 {
			ask(h, fmt.Sprintf("/jobs/a/targets?collector_id=metrics-collector-%d", i))
		}
	}
	clock.SetTime(time.Unix(1_800_000_031, 0))
	return p
}

func TestPageShowsPool(t *testing.T) {
	p := shop(t)
	p.SetWithheld(2)
	h := p.Handler()
	body := ask(h, "/").Body.String()
	for _, want := range []string{
		"observability/metrics", "least-weighted", "metrics-collector-11", "eu-central-1a", "asked 9s ago", "never asked", "capacity 2 · ", "serviceMonitor/checkout/cart/0",
		"?job=serviceMonitor%2Fcheckout%2Fcart%2F0#targets", "jobs/serviceMonitor%2Fcheckout%2Fcart%2F0/targets", ">903<", "Jobs left out: 2.",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, secret := range []string{"hunter2", "basic_auth"} {
		if strings.Contains(body, secret) {
			t.Errorf("the page shows %q of a scrape configuration", secret)
		}
	}
}

func TestPageFindsTargets(t *testing.T) {
	h := shop(t).Handler()
	cart := shopJob("checkout", "cart", 240, "9090").Blocks[0]
	pod := cart.Labels(7).Get("__meta_kubernetes_pod_name")
	for _, c := range []struct {
		query string
		want  []string
	}{
		{"q=" + pod, []string{"1 found", "<details open>", ">instance<", "After relabelling", "Why it is there:"}},
		{"q=" + strings.ToUpper(pod), []string{"1 found"}},
		{"q=__meta_kubernetes_pod_name%3D" + pod + "+CHECKOUT", []string{"1 found"}},
		{"q=__meta_kubernetes_pod_ip%3D" + pod, []string{"0 found"}},
		{"q=cart", []string{"240 found, the first 20 shown"}},
		{"q=cart+9308", []string{"0 found"}},
		{"job=serviceMonitor%2Fdata%2Fpostgres-exporter%2F0", []string{"18 found.", "Dropped"}},
		{"collector=metrics-collector-3&q=nowhere", []string{"0 found"}},
		{"collector=nobody", []string{"0 found"}},
		{"q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", []string{"0 found", "&#34;&gt;&lt;script&gt;alert(1)"}},
	} {
		w := ask(h, "/?"+c.query)
		if w.Code != http.StatusOK {
			t.Errorf("%s: status %d", c.query, w.Code)
		}
		for _, want := range c.want {
			if !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: the page lacks %q", c.query, want)
			}
		}
		if strings.Contains(w.Body.String(), "<script") {
			t.Errorf("%s: a script got through", c.query)
		}
	}
}

// What searches find is what a look at each label finds.
func TestSearchFindsWhatIsThere(t *testing.T) {
	s := shop(t).Snapshot()
	for _, c := range []struct {
		words string
		match func(job string, l labels.Labels) bool
	}{
		{"9100", func(_ string, l labels.Labels) bool { return anyValue(l, "9100") }},
		{"NODE-exp", func(job string, l labels.Labels) bool {
			return anyValue(l, "node-exp") || strings.Contains(job, "node-exp")
		}},
		{"__meta_kubernetes_namespace=data 10.41", func(_ string, l labels.Labels) bool {
			return l.Get("__meta_kubernetes_namespace") == "data" && anyValue(l, "10.41")
		}},
	} {
		want := 0
		for _, job := range s.Jobs {
			for _, b := range job.Blocks {
				for i := range b.Len() {
					if c.match(job.Name, b.Labels(i)) {
						want++
					}
				}
			}
		}
		if got := s.search(t.Context(), newQuery(c.words, "", ""), 5); got.total != want || want == 0 || len(got.hits) != min(5, want) || got.partial {
			t.Errorf("%q: found %d with %d shown, want %d", c.words, got.total, len(got.hits), want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := s.search(ended, newQuery("a", "", ""), 5); !got.partial {
		t.Error("a search without time does not say so")
	}
}

func anyValue(l labels.Labels, part string) bool {
	found := false
	l.Range(func(l labels.Label) { found = found || strings.Contains(l.Value, part) })
	return found
}

func TestNaturalOrder(t *testing.T) {
	want := []string{"", "a", "a-2", "a-10", "a-10-b", "a-10-b2", "b"}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, compareNatural)
	if !slices.Equal(got, want) {
		t.Errorf("order is %q, want %q", got, want)
	}
}

func TestPageEscapes(t *testing.T) {
	evil := `<img src=x onerror=alert(1)>"'`
	job := testJob(evil, NewBlock([]Entry{{ID: 1, Labels: lbls("__address__", evil, "a", evil)}}))
	job.Source = "javascript:" + evil
	p := NewPool(PoolOptions{Log: quiet(), Waiting: func() string { return evil }})
	h := p.Handler()
	check := func(target string, status int) {
		t.Helper()
		w := ask(h, target)
		if body := w.Body.String(); w.Code != status || strings.Contains(body, "<img") || !strings.Contains(body, "&lt;img") {
			t.Errorf("%s: status %d, or not escaped:\n%s", target, w.Code, body)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") {
			t.Errorf("policy is %q", policy)
		}
	}
	check("/", http.StatusServiceUnavailable)
	p.SetJobs([]*Job{job})
	p.SetMembers([]Member{{Name: evil, Seed: "a", Node: evil}})
	check("/?q=img", http.StatusOK)
}

func TestIndexPage(t *testing.T) {
	s := NewServer(ServerOptions{Log: quiet()})
	if body := ask(s.Handler(), "/").Body.String(); !strings.Contains(body, "No collector has") {
		t.Errorf("the page of no pools is\n%s", body)
	}
	s.Set("observability/metrics", shop(t))
	s.Set("a/b", NewPool(PoolOptions{Name: "a/b", Waiting: func() string { return "the informers" }}))
	body := ask(s.Handler(), "/").Body.String()
	for _, want := range []string{`<a href="pools/observability/metrics/">`, ">903<", "waiting for the informers"} {
		if !strings.Contains(body, want) {
			t.Errorf("the index lacks %q", want)
		}
	}
	if w := ask(s.Handler(), "/pools/observability/metrics"); w.Header().Get("Location") != "/pools/observability/metrics/" {
		t.Errorf("without a slash: %d to %q", w.Code, w.Header().Get("Location"))
	}
}

// The page is shown by a real browser: its style is accepted, bars are as long as loads, and nothing is refused. With OTELIER_SCREENSHOTS set
// to a directory, pictures are left there.
func TestBrowserShowsPage(t *testing.T) {
	chromium := browser(t)
	s := NewServer(ServerOptions{Log: quiet()})
	s.Set("observability/metrics", shop(t))
	s.Set("edge/agents", readyPool(t, PoolOptions{Name: "edge/agents"}, 6, shopJob("edge", "router", 51, "9090")))
	s.Set("staging/metrics", NewPool(PoolOptions{Name: "staging/metrics", Log: quiet(), Waiting: func() string { return "service discovery of 3 jobs" }}))
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	pod := shopJob("checkout", "payment", 96, "9090").Blocks[0].Labels(3).Get("__meta_kubernetes_pod_name")
	dir := os.Getenv("OTELIER_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	for _, c := range []struct {
		name, path, size string
		want             []string
	}{
		{"pool", "/pools/observability/metrics/", "1180,1250", []string{"metrics-collector-11", "<svg", `class="bar"`}},
		{"pool-phone", "/pools/observability/metrics/", "500,1900", nil},
		{"search", "/pools/observability/metrics/?q=" + pod, "1180,1150", []string{pod, "After relabelling"}},
		{"search-phone", "/pools/observability/metrics/?q=" + pod, "500,1700", nil},
		{"list", "/pools/observability/metrics/?job=serviceMonitor%2Fdata%2Fkafka-exporter%2F0", "1180,900", []string{"9 found"}},
		{"index", "/", "1180,420", []string{"staging/metrics"}},
		{"starting", "/pools/staging/metrics/", "1180,420", nil},
	} {
		picture := filepath.Join(dir, c.name+".png")
		dom, said := show(t, chromium, server.URL+c.path, c.size, picture)
		for _, want := range c.want {
			if !strings.Contains(dom, want) {
				t.Errorf("%s: the browser's page lacks %q:\n%s", c.name, want, dom)
			}
		}
		if strings.Contains(said, "Content Security Policy") || strings.Contains(said, "CONSOLE") {
			t.Errorf("%s: the browser complains:\n%s", c.name, said)
		}
		if picture, err := os.ReadFile(picture); err != nil || !bytes.HasPrefix(picture, []byte("\x89PNG")) || len(picture) < 5000 {
			t.Errorf("%s: no picture of %d bytes: %v", c.name, len(picture), err)
		}
	}
}

// show a page: the document after loading, and what the browser said.
func show(t *testing.T, chromium, url, size, picture string) (dom, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	run := func(args ...string) (string, string) {
		args = append([]string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--enable-logging=stderr",
			"--user-data-dir=" + t.TempDir(), "--window-size=" + size, "--force-prefers-reduced-motion",
		}, args...)
		cmd := exec.CommandContext(ctx, chromium, append(args, url)...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("chromium: %v\n%s", err, errs.String())
		}
		return out.String(), errs.String()
	}
	_, first := run("--screenshot=" + picture)
	dom, second := run("--dump-dom")
	return dom, first + second
}

// browser finds Chromium. On CI it is installed where that is possible.
func browser(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes its time")
	}
	find := func() string {
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
			if path, err := exec.LookPath(name); err == nil {
				return path
			}
		}
		return ""
	}
	path := find()
	if apt, err := exec.LookPath("apt-get"); path == "" && err == nil && os.Getenv("CI") != "" && os.Geteuid() == 0 {
		for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", "chromium", "fonts-dejavu-core"}} {
			if out, err := exec.CommandContext(t.Context(), apt, args...).CombinedOutput(); err != nil {
				t.Logf("apt-get %v: %v\n%s", args, err, out)
			}
		}
		path = find()
	}
	if path == "" {
		t.Skip("no Chromium: install it to see the page in a browser (on Debian: apt-get install chromium)")
	}
	return path
}
