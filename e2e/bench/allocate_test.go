package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/steps/program"
)

// What BenchmarkAllocate has: 50 jobs with 20 targets for each collector, and one with 1,000.
const (
	allocateTargets    = 100_000
	allocateCollectors = 50
	smallJobs          = 50
	smallTargets       = 20 * allocateCollectors
	largeTargets       = allocateTargets - smallJobs*smallTargets
	filesOfLarge       = 10
)

// BenchmarkAllocate runs otelier allocate on 100,000 targets in files, of 27 labels each, for 50 collectors, and reports
//   - served-s: from the start of the program until every target is served
//   - cpu-s: processor time until then
//   - peak-B, resident-B: memory for each target, at most and at least within 30 s afterwards
//   - rps-20, rps-1000: answers with as many targets for each second of the program's processor time, that is of a core
//   - body-20, body-1000: bytes of such an answer
func BenchmarkAllocate(b *testing.B) {
	binary, err := program.Build(b.Context(), b.TempDir(), "-trimpath", "-ldflags=-s -w")
	if err != nil {
		b.Fatal(err)
	}
	config, address := writeAllocation(b), freeAddress(b)
	var collectors []string
	for i := range allocateCollectors {
		collectors = append(collectors, collectorName(i))
	}
	var f figures
	for b.Loop() {
		begin := time.Now()
		p, err := program.Start(binary, []string{"allocate", "--config", config, "--listen", address, "--collectors", strings.Join(collectors, ",")})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = p.Stop() })
		waitServed(b, p, address)
		f.add("served-s", time.Since(begin).Seconds())
		f.add("cpu-s", cpuTime(b, p))
		f.add("resident-B", settledMemory(b, p)/allocateTargets)
		wantAll(b, address)
		f.add("peak-B", memory(b, p, "VmHWM")/allocateTargets)
		for _, c := range []struct {
			name, job string
		}{{"20", "small-00"}, {"1000", "large"}} {
			rate, size := requests(b, p, "http://"+address+"/jobs/"+c.job+"/targets?collector_id="+collectorName(7))
			f.add("rps-"+c.name, rate)
			f.add("body-"+c.name, size)
		}
		if err := p.Stop(); err != nil {
			b.Fatal(err)
		}
	}
	f.report(b)
	table{f}.print()
}

func collectorName(i int) string { return fmt.Sprintf("pool-collector-%d", i) }

func freeAddress(b *testing.B) string {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// writeAllocation writes a configuration with its files of targets, and returns its path.
func writeAllocation(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	var config bytes.Buffer
	fmt.Fprintf(&config, "collector_namespace: bench\nallocation_strategy: least-weighted\nconfig:\n  scrape_configs:\n")
	next := 0
	add := func(job string, files, each int) {
		for i := range files {
			var groups []map[string]any
			for range each {
				groups = append(groups, podTarget(next))
				next++
			}
			data, err := json.Marshal(groups)
			if err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.%d.json", job, i)), data, 0o600); err != nil {
				b.Fatal(err)
			}
		}
		fmt.Fprintf(&config, "  - {job_name: %s, file_sd_configs: [{files: [%q]}]}\n", job, filepath.Join(dir, job+".*.json"))
	}
	for i := range smallJobs {
		add(fmt.Sprintf("small-%02d", i), 1, smallTargets)
	}
	add("large", filesOfLarge, largeTargets/filesOfLarge)
	path := filepath.Join(dir, "targetallocator.yaml")
	if err := os.WriteFile(path, config.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// podTarget is a target with the labels of a pod's port: 25, to which discovery adds __address__ and __meta_filepath.
func podTarget(i int) map[string]any {
	app, node := i/20, i%500
	labels := map[string]string{
		"namespace":                                  fmt.Sprintf("team-%d", app%200),
		"pod_name":                                   fmt.Sprintf("app-%d-7d9c6b5f4-%05x", app, i),
		"pod_ip":                                     fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255),
		"pod_uid":                                    fmt.Sprintf("6f1d2c3b-8a7e-4f00-9b1c-%012x", i),
		"pod_node_name":                              fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal", node/250, node%250),
		"pod_host_ip":                                fmt.Sprintf("10.0.%d.%d", node/250, node%250),
		"pod_phase":                                  "Running",
		"pod_ready":                                  "true",
		"pod_controller_kind":                        "ReplicaSet",
		"pod_controller_name":                        fmt.Sprintf("app-%d-7d9c6b5f4", app),
		"pod_container_name":                         "app",
		"pod_container_image":                        fmt.Sprintf("registry.example.com/team-%d/app-%d:v1.%d.0", app%200, app, app%30),
		"pod_container_id":                           fmt.Sprintf("containerd://%064x", i),
		"pod_container_init":                         "false",
		"pod_container_port_name":                    "metrics",
		"pod_container_port_number":                  "9090",
		"pod_container_port_protocol":                "TCP",
		"pod_label_app":                              fmt.Sprintf("app-%d", app),
		"pod_labelpresent_app":                       "true",
		"pod_label_version":                          fmt.Sprintf("v1.%d.0", app%30),
		"pod_labelpresent_version":                   "true",
		"pod_label_pod_template_hash":                "7d9c6b5f4",
		"pod_labelpresent_pod_template_hash":         "true",
		"pod_annotation_prometheus_io_scrape":        "true",
		"pod_annotationpresent_prometheus_io_scrape": "true",
	}
	meta := make(map[string]string, len(labels))
	for name, value := range labels {
		meta["__meta_kubernetes_"+name] = value
	}
	return map[string]any{"targets": []string{labels["pod_ip"] + ":9090"}, "labels": meta}
}

// waitServed waits for the first answer with targets, after which there must be all.
func waitServed(b *testing.B, p *program.Process, address string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	err := p.Wait(ctx, "targets served", func(ctx context.Context) error {
		_, err := countTargets(ctx, address, "large", 0)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

// wantAll fails the benchmark unless the collectors together have every target.
func wantAll(b *testing.B, address string) {
	b.Helper()
	sum := 0
	for i := range allocateCollectors {
		jobs := []string{"large"}
		for k := range smallJobs {
			jobs = append(jobs, fmt.Sprintf("small-%02d", k))
		}
		for _, job := range jobs {
			n, err := countTargets(b.Context(), address, job, i)
			if err != nil {
				b.Fatal(err)
			}
			sum += n
		}
	}
	if sum != allocateTargets {
		b.Fatalf("the collectors have %d targets, want %d", sum, allocateTargets)
	}
}

func countTargets(ctx context.Context, address, job string, collector int) (int, error) {
	body, err := fetch(ctx, "http://"+address+"/jobs/"+job+"/targets?collector_id="+collectorName(collector))
	return bytes.Count(body, []byte(`"targets":`)), err
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", resp.Status, body)
	}
	return body, err
}

// requests asks for an answer from several connections for some seconds. The rate is for each second that the program's threads were
// running, so that the asking, which takes more, is not in it.
func requests(b *testing.B, p *program.Process, url string) (perCore, size float64) {
	b.Helper()
	const connections, span = 8, 5 * time.Second
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}}
	defer client.CloseIdleConnections()
	var count, length atomic.Int64
	before, end := cpuTime(b, p), time.Now().Add(span)
	var wg sync.WaitGroup
	errs := make([]error, connections)
	for i := range connections {
		wg.Go(func() {
			for time.Now().Before(end) && errs[i] == nil {
				resp, err := client.Get(url)
				if err != nil {
					errs[i] = err
					return
				}
				n, err := io.Copy(io.Discard, resp.Body)
				if errs[i] = errors.Join(err, resp.Body.Close()); resp.StatusCode != http.StatusOK {
					errs[i] = errors.New(resp.Status)
				}
				length.Store(n)
				count.Add(1)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	return float64(count.Load()) / (cpuTime(b, p) - before), float64(length.Load())
}

// settledMemory is the least memory that a process has resident within half a minute, in bytes: the runtime gives back bit by bit what
// it no longer needs.
func settledMemory(b *testing.B, p *program.Process) float64 {
	b.Helper()
	const span, interval = 30 * time.Second, 500 * time.Millisecond
	least := memory(b, p, "VmRSS")
	for end := time.Now().Add(span); time.Now().Before(end); {
		select {
		case <-p.Exited():
			b.Fatalf("otelier has ended:\n%s", p.Tail())
		case <-time.After(interval):
		}
		least = min(least, memory(b, p, "VmRSS"))
	}
	return least
}

// memory is a figure of a process in proc(5), in bytes.
func memory(b *testing.B, p *program.Process, name string) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		b.Skipf("needs Linux: %v", err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			if err != nil {
				b.Fatal(err)
			}
			return n * 1024
		}
	}
	b.Fatalf("no %s in the status of process %d", name, p.PID())
	return 0
}

// cpuTime is the processor time of a process so far, in seconds (proc(5), fields 14 and 15 of stat, in hundredths).
func cpuTime(b *testing.B, p *program.Process) float64 {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		b.Skipf("needs Linux: %v", err)
	}
	_, rest, _ := bytes.Cut(stat, []byte(") ")) // from field 3 on
	fields := bytes.Fields(rest)
	user, err := strconv.ParseFloat(string(fields[11]), 64)
	system, err2 := strconv.ParseFloat(string(fields[12]), 64)
	if err := errors.Join(err, err2); err != nil {
		b.Fatal(err)
	}
	return (user + system) / 100
}
