package targets_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

// warmTargets is how many targets each kind of discovery finds in TestWarmUp.
const warmTargets = 300

// source is a kind of discovery.
type source struct {
	// file has more keys of the configuration file.
	file map[string]any
	// job is a scrape_config; nil where file makes the jobs.
	job map[string]any
	// name is that of the job, with as many targets as warmTargets.
	name string
	// release lets the source answer; before, it says nothing.
	release func()
}

// TestWarmUp polls an allocator every 20 ms from before its process starts. While it is not warm it must say nothing that makes a collector
// drop what it scrapes, and afterwards the whole truth.
func TestWarmUp(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("otelier allocate").
		Assess("tells nothing or the truth", steps.In(func(t *testing.T, s *steps.Scene) {
			expose(t, s, "warm", numbered(warmTargets))
			monitor(t, s, "warm", "/metrics")
			kinds := map[string]func(*testing.T, *steps.Scene) source{
				"static": staticSource, "file": fileSource, "http": httpSource, "kubernetes": kubernetesSource, "monitor": monitorSource,
			}
			for kind, source := range kinds {
				t.Run(kind, func(t *testing.T) { warmUp(t, s, source(t, s)) })
			}
			t.Run("all", func(t *testing.T) {
				var all []source
				for _, kind := range slices.Sorted(maps.Keys(kinds)) {
					all = append(all, kinds[kind](t, s))
				}
				warmUp(t, s, all...)
			})
		})).
		Feature())
}

// numbered are targets that nobody serves.
func numbered(n int) farm {
	var out farm
	for i := range n {
		out = append(out, &target{name: fmt.Sprintf("number-%03d", i), port: 20000 + i})
	}
	return out
}

func addresses() []string {
	var out []string
	for _, target := range numbered(warmTargets) {
		out = append(out, fmt.Sprintf("203.0.113.1:%d", target.port))
	}
	return out
}

func staticSource(*testing.T, *steps.Scene) source {
	return source{name: "static", release: func() {}, job: map[string]any{
		"job_name": "static", "static_configs": []any{map[string]any{"targets": addresses()}},
	}}
}

func groups(t *testing.T) []byte {
	t.Helper()
	var out []group
	for i := range 10 {
		n := warmTargets / 10
		out = append(out, group{addresses()[i*n : (i+1)*n], map[string]string{"group": fmt.Sprint(i)}})
	}
	data, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func fileSource(t *testing.T, _ *steps.Scene) source {
	t.Helper()
	file := filepath.Join(t.TempDir(), "targets.json")
	if err := os.WriteFile(file, groups(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return source{name: "file", release: func() {}, job: map[string]any{
		"job_name": "file", "file_sd_configs": []any{map[string]any{"files": []string{file}}},
	}}
}

// httpSource does not answer before it is released.
func httpSource(t *testing.T, _ *steps.Scene) source {
	t.Helper()
	data, held := groups(t), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-held:
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data) // the client says what it lacks
	}))
	t.Cleanup(server.Close)
	return source{name: "http", release: func() { close(held) }, job: map[string]any{
		"job_name": "http", "http_sd_configs": []any{map[string]any{"url": server.URL, "refresh_interval": "1s"}},
	}}
}

// kubernetesSource reaches the API server only once it is released.
func kubernetesSource(t *testing.T, s *steps.Scene) source {
	t.Helper()
	proxy := s.StartProxy(t)
	proxy.Down()
	return source{name: "kubernetes", release: func() { proxy.Up(t) }, job: map[string]any{
		"job_name": "kubernetes", "kubernetes_sd_configs": []any{map[string]any{
			"role": "endpointslice", "kubeconfig_file": proxy.Kubeconfig, "namespaces": map[string]any{"names": []string{s.Namespace}},
		}},
	}}
}

// monitorSource is one ServiceMonitor, found through an API server that can be reached only once the source is released.
func monitorSource(t *testing.T, s *steps.Scene) source {
	t.Helper()
	proxy := s.StartProxy(t)
	proxy.Down()
	return source{name: "serviceMonitor/" + s.Namespace + "/warm/0", release: func() { proxy.Up(t) }, file: map[string]any{
		"prometheus_cr": map[string]any{
			"enabled": true, "allow_namespaces": []string{s.Namespace}, "service_monitor_selector": map[string]any{},
		},
		"kube_config_file_path": proxy.Kubeconfig,
	}}
}

func warmUp(t *testing.T, s *steps.Scene, sources ...source) {
	t.Helper()
	address, members := freeAddress(t), []string{"c-0", "c-1", "c-2"}
	file := map[string]any{
		"listen_addr": address, "collector_namespace": s.Namespace, "allocation_strategy": "least-weighted",
		"config": map[string]any{"scrape_configs": []any{}},
	}
	var jobs []string
	for _, source := range sources {
		maps.Copy(file, source.file)
		if source.job != nil {
			config := file["config"].(map[string]any)
			config["scrape_configs"] = append(config["scrape_configs"].([]any), source.job)
		}
		jobs = append(jobs, source.name)
	}
	data, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "targetallocator.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	client, paths := newAllocator(t, "http://"+address), poolPaths(jobs, members)
	poll := startPoller(t, client, paths)
	begin := time.Now()
	startAllocate(t, s, "--config", path, "--collectors", strings.Join(members, ","))
	poll.waitRounds(t, 30)
	for _, source := range sources {
		source.release()
	}
	steps.Eventually(t, "every answer in full", func() error { return poll.lacking(20) })
	t.Logf("every path 20 times in full %s after the start", time.Since(begin).Round(time.Millisecond))
	poll.stop()
	truth := client.truth(t, paths)
	poll.judge(t, truth)
	wantWhole(t, truth, jobs, members)
}

// startAllocate runs otelier allocate until the test ends.
func startAllocate(t *testing.T, s *steps.Scene, flags ...string) *program.Process {
	t.Helper()
	p, err := program.Start(s.Binary, append([]string{"allocate"}, flags...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if defects := p.Defects(); defects != "" {
			t.Errorf("otelier allocate: %s", defects)
		}
		if t.Failed() {
			t.Logf("otelier allocate %v:\n%s", flags, p.Tail())
		}
	})
	return p
}

// wantWhole fails the test unless each job has all its targets, each on one member.
func wantWhole(t *testing.T, truth map[string]string, jobs, members []string) {
	t.Helper()
	var configs, links map[string]any
	if err := yaml.Unmarshal([]byte(truth["/scrape_configs"]), &configs); err != nil {
		t.Fatalf("/scrape_configs: %v", err)
	}
	if err := json.Unmarshal([]byte(truth["/jobs"]), &links); err != nil {
		t.Fatalf("/jobs: %v", err)
	}
	slices.Sort(jobs)
	for what, got := range map[string]map[string]any{"/scrape_configs": configs, "/jobs": links} {
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, jobs) {
			t.Errorf("%s has the jobs %q, want %q", what, names, jobs)
		}
	}
	for _, job := range jobs {
		on := map[string]int{}
		for _, member := range members {
			var groups []group
			if err := json.Unmarshal([]byte(truth[targetsPath(job, member)]), &groups); err != nil {
				t.Fatalf("job %s of %s: %v", job, member, err)
			}
			for _, g := range groups {
				on[g.Targets[0]]++
			}
		}
		for address, n := range on {
			if n != 1 {
				t.Errorf("job %s: %s is on %d members", job, address, n)
			}
		}
		if len(on) != warmTargets {
			t.Errorf("job %s has %d targets, want %d", job, len(on), warmTargets)
		}
	}
}
