package discover

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"

	"github.com/otelier/otelier/allocate"
)

// manyLabels writes n targets of 27 labels each into files, as Kubernetes would label them: most values are those of many, six are
// the target's own.
func manyLabels(tb testing.TB, dir string, files, n int) {
	tb.Helper()
	for f := range files {
		var b strings.Builder
		for i := f; i < n; i += files {
			b.WriteString(",\n")
			b.WriteString(group(i))
		}
		write(tb, filepath.Join(dir, fmt.Sprintf("%02d.json", f)), "["+b.String()[1:]+"]")
	}
}

func group(i int) string {
	app, node := i/50, i%400
	var b strings.Builder
	fmt.Fprintf(&b, `{"targets":["10.%d.%d.%d:8080"],"labels":{`, i>>16&255, i>>8&255, i&255)
	fmt.Fprintf(&b, `"__meta_kubernetes_pod_name":"app-%d-7c9f8d6b5-%05x","__meta_kubernetes_pod_uid":"%08x-1b2c-4d3e-8f90-%012x",`, app, i, i*7919, i)
	fmt.Fprintf(&b, `"__meta_kubernetes_pod_ip":"10.%d.%d.%d","__meta_kubernetes_pod_container_id":"containerd://%064x",`, i>>16&255, i>>8&255, i&255, i*104729)
	fmt.Fprintf(&b, `"__meta_kubernetes_endpointslice_address_target_name":"app-%d-7c9f8d6b5-%05x",`, app, i)
	fmt.Fprintf(&b, `"__meta_kubernetes_pod_node_name":"node-%03d","__meta_kubernetes_pod_host_ip":"172.16.%d.%d",`, node, node>>8, node&255)
	fmt.Fprintf(&b, `"__meta_kubernetes_service_name":"app-%d","__meta_kubernetes_namespace":"team-%d",`, app, app%100)
	fmt.Fprintf(&b, `"__meta_kubernetes_pod_label_app_kubernetes_io_name":"app-%d","__meta_kubernetes_pod_label_version":"v1.%d",`, app, app%9)
	fmt.Fprintf(&b, `"__meta_kubernetes_pod_container_image":"registry.example.org/team/app-%d:v1.%d"`, app, app%9)
	for l := range 14 {
		fmt.Fprintf(&b, `,"__meta_kubernetes_pod_labelpresent_example_org_label_%02d":"true"`, l)
	}
	b.WriteString("}}")
	return b.String()
}

const manyConfig = `
scrape_configs:
- job_name: many
  file_sd_configs: [{files: ["*.json"]}]
  relabel_configs:
  - {source_labels: [__meta_kubernetes_pod_labelpresent_example_org_label_03], regex: "true", action: keep}
  - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
  - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
  - {source_labels: [__meta_kubernetes_service_name], target_label: service}
`

// BenchmarkFiles is 100,000 targets of 27 labels from files: from start to published, what the process then holds, what a reload without
// a change costs, and how long one new target takes.
func BenchmarkFiles(b *testing.B) {
	const n = 100_000
	dir := b.TempDir()
	manyLabels(b, dir, 20, n)
	js := jobs(b, manyConfig, dir)
	runtime.GC()
	for b.Loop() {
		files(b, dir, js, n)
	}
}

func files(b *testing.B, dir string, js []Job, n int) {
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began, used := time.Now(), cpu()
	ps, err := NewProviders(ProvidersOptions{})
	if err != nil {
		b.Fatal(err)
	}
	pictures := make(chan []*allocate.Job, 16)
	ts := ps.NewTargets(TargetsOptions{Filter: true, Publish: func(js []*allocate.Job) { pictures <- js }})
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = ps.Run(ctx) })
	wg.Go(func() { _ = ts.Run(ctx) })
	ts.SetJobs(js)
	picture := <-pictures
	b.ReportMetric(time.Since(began).Seconds(), "s/start")
	b.ReportMetric((cpu() - used).Seconds(), "cpu-s/start")
	if got := count(picture); got != n {
		b.Fatalf("%d targets", got)
	}
	peak := resident()
	runtime.GC()
	runtime.GC()
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if path := os.Getenv("OTELIER_HEAP_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		_ = pprof.WriteHeapProfile(f)
		_ = f.Close()
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "heap-B/target")
	b.ReportMetric(float64(peak)/float64(n), "peak-RSS-B/target")
	b.ReportMetric(float64(resident())/float64(n), "RSS-B/target")

	raw, err := os.ReadFile(filepath.Join(dir, "07.json"))
	if err != nil {
		b.Fatal(err)
	}
	began = time.Now()
	write(b, filepath.Join(dir, "07.json"), strings.Replace(string(raw), ":8080", ":8081", 1))
	next := <-pictures
	b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/replaced")
	same := 0
	for _, o := range picture[0].Blocks {
		for _, f := range next[0].Blocks {
			if o == f {
				same++
			}
		}
	}
	if changed := len(next[0].Blocks) - same; changed > 2 {
		b.Errorf("%d blocks of %d are other ones after one target", changed, len(next[0].Blocks))
	}
	cancel()
	wg.Wait()
	write(b, filepath.Join(dir, "07.json"), string(raw))
}

// BenchmarkGroups is what 10,000 targets cost that are in memory: to pack, to relabel, to make blocks of, and to see that nothing has
// changed.
func BenchmarkGroups(b *testing.B) {
	const n = 10_000
	var all []*targetgroup.Group
	for i := range n {
		g := &targetgroup.Group{Source: fmt.Sprint(i)}
		if err := json.Unmarshal([]byte(group(i)), g); err != nil {
			b.Fatal(err)
		}
		all = append(all, g)
	}
	job := jobs(b, strings.Replace(manyConfig, "  file_sd_configs: [{files: [\"*.json\"]}]\n", "", 1), "")[0]
	for _, part := range []string{"pack", "relabel", "build", "unchanged"} {
		b.Run(part, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				fresh := job
				fresh.Config = new(config.ScrapeConfig)
				*fresh.Config = *job.Config
				w := newWorkbench(b, fresh, 1)
				for _, step := range []struct {
					name string
					do   func()
				}{
					{"pack", func() { w.subs[0].accept(all, true) }},
					{"relabel", func() { w.state.update() }},
					{"build", func() { w.state.build() }},
					{"unchanged", func() {
						w.subs[0].accept(all, true)
						w.state.update()
						w.state.build()
					}},
				} {
					if step.name == part {
						b.StartTimer()
					}
					step.do()
					b.StopTimer()
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/target")
		})
	}
}

// cpu is how long the process has had a processor.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident memory of the process.
func resident() int {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	if err != nil {
		return 0
	}
	return pages * os.Getpagesize()
}
