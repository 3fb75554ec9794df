package discover

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"k8s.io/client-go/rest"

	"github.com/otelier/otelier/allocate"
)

const kubeRoles = `
scrape_configs:
- {job_name: endpointslice, kubernetes_sd_configs: [{role: endpointslice, api_server: URL, attach_metadata: {node: true, namespace: true, deployment: true}}]}
- {job_name: endpointslice of one namespace, kubernetes_sd_configs: [{role: endpointslice, api_server: URL, namespaces: {names: [b]}}]}
- {job_name: pod, kubernetes_sd_configs: [{role: pod, api_server: URL, attach_metadata: {node: true, job: true, cronjob: true}}]}
- {job_name: pod of two namespaces, kubernetes_sd_configs: [{role: pod, api_server: URL, namespaces: {names: [a, b]}}]}
- {job_name: service, kubernetes_sd_configs: [{role: service, api_server: URL, attach_metadata: {namespace: true}}]}
- {job_name: ingress, kubernetes_sd_configs: [{role: ingress, api_server: URL}]}
- {job_name: node, kubernetes_sd_configs: [{role: node, api_server: URL}]}
`

// TestKubernetesIsSeenAsPrometheusSeesIt compares the groups of Prometheus' own discovery with those of ours, for every role.
func TestKubernetesIsSeenAsPrometheusSeesIt(t *testing.T) {
	t.Parallel()
	api := newKubeAPI(t)
	api.fill("a", "b")
	doc := strings.ReplaceAll(kubeRoles, "URL", api.URL)
	cfg, err := config.Load(doc, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ps, err := NewProviders(ProvidersOptions{})
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	metrics, err := discovery.RegisterSDMetrics(reg, discovery.NewRefreshMetrics(reg))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cfg.ScrapeConfigs {
		t.Run(c.JobName, func(t *testing.T) {
			t.Parallel()
			sd := c.ServiceDiscoveryConfigs[0]
			own, picture, err := newProvider(ps, sd, 0).discoverer()
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := sd.NewDiscoverer(discovery.DiscovererOptions{Metrics: metrics["kubernetes"]})
			if err != nil {
				t.Fatal(err)
			}
			got := told(t, own, func(groups []*targetgroup.Group, _ int) bool { return picture.complete(groups) })
			want := told(t, theirs, func(_ []*targetgroup.Group, n int) bool { return n == len(got) })
			if len(got) == 0 {
				t.Fatal("nothing was found")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-Prometheus +ours):\n%s", diff)
			}
		})
	}
}

// told collects what a discovery says, by source, until that is enough.
func told(t *testing.T, d discovery.Discoverer, enough func([]*targetgroup.Group, int) bool) map[string]*targetgroup.Group {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	up := make(chan []*targetgroup.Group)
	go d.Run(ctx, up)
	got := map[string]*targetgroup.Group{}
	for deadline := time.After(20 * time.Second); ; {
		select {
		case groups := <-up:
			for _, g := range groups {
				got[g.Source] = g
			}
			if enough(groups, len(got)) {
				return got
			}
		case <-deadline:
			t.Fatalf("discovery was not done, and said %v", slices.Sorted(maps.Keys(got)))
		}
	}
}

func kubeJobs(t *testing.T, namespaces ...string) []Job {
	t.Helper()
	var doc strings.Builder
	doc.WriteString("scrape_configs:\n")
	for _, ns := range namespaces {
		fmt.Fprintf(&doc, "- {job_name: %s, kubernetes_sd_configs: [{role: endpointslice, namespaces: {names: [%s]}}]}\n", ns, ns)
	}
	return jobs(t, doc.String(), "")
}

// TestKubernetesIsPublishedWhole: of many slices, the first picture has all; and of a namespace without any it says so at once.
func TestKubernetesIsPublishedWhole(t *testing.T) {
	t.Parallel()
	api := newKubeAPI(t)
	api.held = make(chan struct{})
	for i := range 200 {
		p := pod("a", fmt.Sprintf("p%d", i), fmt.Sprintf("203.0.113.%d", i))
		api.put("pods", p)
		api.put("endpointslices", slice("a", fmt.Sprintf("s%d", i), p))
	}
	r := newRig(t, TargetsOptions{Filter: true}, ProvidersOptions{Kube: &rest.Config{Host: api.URL}})
	r.targets.SetJobs(kubeJobs(t, "a", "nothing"))
	waitFor(t, "the jobs are known", func() bool { return len(r.targets.Waiting()) == 2 })
	close(api.held)
	r.last(func(p []*allocate.Job) error {
		if len(p) != 2 {
			return fmt.Errorf("%d jobs", len(p))
		}
		return nil
	})
	r.mu.Lock()
	first := r.pictures[0]
	r.mu.Unlock()
	// A container port and one without for each pod.
	if got := count(first); got != count(r.last(func([]*allocate.Job) error { return nil })) || got < 200 {
		t.Errorf("the first picture has %d targets", got)
	}
	// Ready to served: a new endpoint.
	p := pod("nothing", "new", "203.0.113.250")
	api.put("pods", p)
	began := time.Now()
	before := count(first)
	api.put("endpointslices", slice("nothing", "new", p))
	r.last(func(js []*allocate.Job) error {
		if count(js) <= before {
			return fmt.Errorf("nothing new")
		}
		return nil
	})
	t.Logf("from ready to served: %v", time.Since(began))
}

// TestManyNamespacesAreOneWatch: what is widened is seen by each job as if it were not.
func TestManyNamespacesAreOneWatch(t *testing.T) {
	t.Parallel()
	api := newKubeAPI(t)
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprintf("ns%02d", i))
	}
	api.fill(names...)
	want := map[string]int{}
	for _, wide := range []bool{false, true} {
		lists := api.lists("/endpointslices")
		r := newRig(t, TargetsOptions{Filter: true}, ProvidersOptions{Kube: &rest.Config{Host: api.URL}, ClusterWide: wide})
		r.targets.SetJobs(kubeJobs(t, names...))
		picture := r.last(func(p []*allocate.Job) error {
			if len(p) != len(names) {
				return fmt.Errorf("%d jobs", len(p))
			}
			return nil
		})
		for _, j := range picture {
			n := count([]*allocate.Job{j})
			if n == 0 || wide && n != want[j.Name] {
				t.Errorf("wide %v: job %s has %d targets, want %d", wide, j.Name, n, want[j.Name])
			}
			want[j.Name] = n
		}
		lists = api.lists("/endpointslices") - lists
		if wide && lists != wideAbove+1 || !wide && lists != len(names) {
			t.Errorf("wide %v: %d lists", wide, lists)
		}
	}
}

// TestAllNamespacesAreThoseThatMayBeSeen: what is found is what a watch of the cluster finds in them.
func TestAllNamespacesAreThoseThatMayBeSeen(t *testing.T) {
	t.Parallel()
	const doc = `{scrape_configs: [
		{job_name: other, kubernetes_sd_configs: [{role: pod, namespaces: {names: [c]}}]},
		{job_name: nodes, kubernetes_sd_configs: [{role: node}]},
		{job_name: pods, kubernetes_sd_configs: [{role: pod}]},
		{job_name: slices, kubernetes_sd_configs: [{role: endpointslice}]}]}`
	got := map[bool]map[string][]string{}
	for _, limited := range []bool{false, true} {
		api := newKubeAPI(t)
		api.fill("a", "b")
		o := ProvidersOptions{Kube: &rest.Config{Host: api.URL}}
		if limited {
			api.fill("c")
			api.allowed = []string{"a", "b"}
			o.Namespaces, o.ClusterWide = api.allowed, true
		}
		r := newRig(t, TargetsOptions{Deadline: time.Hour}, o)
		r.targets.SetJobs(jobs(t, doc, ""))
		picture := r.last(func(p []*allocate.Job) error {
			if len(p) != 4 || p[2].Unknown || p[3].Unknown || p[1].Unknown != limited || p[0].Unknown != limited {
				return fmt.Errorf("jobs are %+v", p)
			}
			return nil
		})
		got[limited] = map[string][]string{}
		for _, j := range picture {
			for _, b := range j.Blocks {
				for i := range b.Len() {
					got[limited][j.Name] = append(got[limited][j.Name], b.Labels(i).String())
				}
			}
			slices.Sort(got[limited][j.Name])
		}
	}
	for _, name := range []string{"pods", "slices"} {
		if diff := cmp.Diff(got[false][name], got[true][name]); diff != "" || len(got[true][name]) == 0 {
			t.Errorf("%s (-cluster +namespaces):\n%s", name, diff)
		}
	}
}

func TestAForbiddenListIsAProblem(t *testing.T) {
	t.Parallel()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		refuseList(w, "endpointslices")
	}))
	t.Cleanup(api.Close)
	r := newRig(t, TargetsOptions{Filter: true, Deadline: time.Hour}, ProvidersOptions{Kube: &rest.Config{Host: api.URL}})
	r.targets.SetJobs(append(kubeJobs(t, "a"), jobs(t, "scrape_configs: [{job_name: s, static_configs: [{targets: [a]}]}]", "")...))
	// It is not waited for: that does not get better by itself.
	picture := r.last(hasTargets(1))
	if len(picture) != 2 || !picture[0].Unknown || picture[1].Unknown {
		t.Errorf("the picture is %+v", picture)
	}
	waitFor(t, "the failure is a problem", func() bool {
		st := r.targets.Status()
		return len(st.Problems) == 1 && strings.Contains(st.Problems[0].Message, "forbidden") && len(st.Waiting) == 1
	})
}

// TestEverythingEnds: after Run nothing is left of what it started.
func TestEverythingEnds(t *testing.T) {
	api := newKubeAPI(t)
	api.fill("a")
	dir := t.TempDir()
	write(t, dir+"/a.json", `[{"targets":["a:1"]}]`)
	before := stacks()
	ps, err := NewProviders(ProvidersOptions{Kube: &rest.Config{Host: api.URL}})
	if err != nil {
		t.Fatal(err)
	}
	published := make(chan []*allocate.Job, 10)
	ts := ps.NewTargets(TargetsOptions{Publish: func(j []*allocate.Job) { published <- j }})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = ps.Run(ctx) })
	wg.Go(func() { _ = ts.Run(ctx) })
	ts.SetJobs(append(kubeJobs(t, "a"), jobs(t, `{scrape_configs: [
		{job_name: f, file_sd_configs: [{files: ["*.json"]}]}, {job_name: s, static_configs: [{targets: [a]}]},
		{job_name: h, http_sd_configs: [{url: "`+api.URL+`/nothing"}]}, {job_name: p, kubernetes_sd_configs: [{role: pod}]}]}`, dir)...))
	waitFor(t, "all but one job report", func() bool {
		w := ts.Waiting()
		return len(w) == 1 && strings.Contains(w[0], `job "h"`)
	})
	if len(left(before, stacks())) == 0 {
		t.Fatal("nothing runs, so that it ends says nothing")
	}
	cancel()
	wg.Wait()
	api.CloseClientConnections()
	waitFor(t, "all goroutines of discovery end", func() bool { return len(left(before, stacks())) == 0 })
}
