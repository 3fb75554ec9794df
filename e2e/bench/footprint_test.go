// Package bench_test measures the operator from outside: make bench.
package bench_test

import (
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps/program"
)

// large is a number of collectors that takes too long to bring up on the way: -bench Footprint/1000, or this in the environment.
const (
	large    = 1000
	envLarge = "OTELIER_BENCH_LARGE"
)

// BenchmarkFootprint brings up StatefulSet collectors of 3 replicas with a volume each, restarts the operator over them, and
// reports of their bringing up
//   - up-s: until all collectors are Ready, on a machine that also runs the control plane
//   - objects: created for each collector, without what controllers of Kubernetes create
//   - writes: the operator's requests that were stored, for each collector, without Events
//   - cpu-ms: processor time of the operator for each collector
//   - peak-MB: the most memory that was ever resident; up-MB: at the end
//
// and of the restart
//   - start-ms: from the start of the program to /readyz
//   - passed-ms: until there has been a pass over every collector
//   - restart-writes: stored requests; restart-requests: dry runs and refusals too
//   - restart-cpu-ms: processor time for each collector
//   - resident-MB: memory afterwards
func BenchmarkFootprint(b *testing.B) {
	var rows table
	for _, collectors := range []int{10, 100, large} {
		b.Run(strconv.Itoa(collectors), func(b *testing.B) {
			if collectors == large && os.Getenv(envLarge) == "" && !strings.Contains(flag.Lookup("test.bench").Value.String(), strconv.Itoa(large)) {
				b.Skipf("takes long: %s=1 or -bench Footprint/%d selects it", envLarge, large)
			}
			r := newRig(b, collectors)
			for b.Loop() {
				r.bringUp(b)
				r.restart(b)
				r.stop(b)
			}
			r.figures.report(b)
			rows = append(rows, r.figures)
		})
	}
	rows.print()
}

// BenchmarkIdle leaves an operator with 100 collectors alone for 10 minutes, or for what OTELIER_BENCH_IDLE says, and reports
//   - writes: all that it asked the API server to store meanwhile, which is an error
//   - cpu-ms: processor time that it took
func BenchmarkIdle(b *testing.B) {
	const collectors = 100
	idle := 10 * time.Minute
	if text := os.Getenv("OTELIER_BENCH_IDLE"); text != "" {
		var err error
		if idle, err = time.ParseDuration(text); err != nil {
			b.Fatal(err)
		}
	}
	r := newRig(b, collectors)
	r.bringUp(b)
	r.figures = figures{}
	for b.Loop() {
		since, cpu := r.mark(b), r.metric(b, cpuSeconds)
		select {
		case <-time.After(idle):
		case <-r.operator.Exited():
			b.Fatalf("the operator has ended:\n%s", r.operator.Tail())
		}
		writes := r.writes(b, since)
		for _, w := range writes {
			b.Errorf("%s %s/%s (dry run %t)", w, w.Namespace, w.Name, w.DryRun)
		}
		r.figures.add("idle-s", idle.Seconds())
		r.figures.add("collectors", collectors)
		r.figures.add("writes", float64(len(writes)))
		r.figures.add("cpu-ms", (r.metric(b, cpuSeconds)-cpu)*1e3)
		r.figures.add("resident-MB", r.metric(b, residentBytes)/1e6)
	}
	r.stop(b)
	r.figures.report(b)
	table{r.figures}.print()
}

func (r *rig) bringUp(b *testing.B) {
	r.start(b)
	since, begin := r.mark(b), time.Now()
	r.kubectl(b, r.manifests(b), "apply", "--server-side", "-n", r.namespace, "-f", "-")
	r.kubectl(b, nil, "wait", "-n", r.namespace, "--for=condition=Ready", "otelcol", "--all", "--timeout="+patience.String())
	took := time.Since(begin)
	n := float64(r.collectors)
	stored, created := controlplane.Persisted(r.writes(b, since)), 0
	for _, w := range stored {
		if w.Code == 201 {
			created++
		}
	}
	r.figures.add("collectors", n)
	r.figures.add("up-s", took.Seconds())
	r.figures.add("objects", float64(created)/n)
	r.figures.add("writes", float64(len(stored))/n)
	r.figures.add("cpu-ms", r.metric(b, cpuSeconds)*1e3/n)
	r.figures.add("peak-MB", r.peak(b))
	r.figures.add("up-MB", r.metric(b, residentBytes)/1e6)
}

func (r *rig) restart(b *testing.B) {
	r.stop(b)
	since, begin := r.mark(b), time.Now()
	r.start(b)
	r.figures.add("start-ms", float64(time.Since(begin).Milliseconds()))
	if err := r.operator.WaitPasses(b.Context(), r.collectors); err != nil {
		b.Fatal(err)
	}
	r.figures.add("passed-ms", float64(time.Since(begin).Milliseconds()))
	writes := r.writes(b, since)
	r.figures.add("restart-writes", float64(len(controlplane.Persisted(writes))))
	r.figures.add("restart-requests", float64(len(writes)))
	r.figures.add("restart-cpu-ms", r.metric(b, cpuSeconds)*1e3/float64(r.collectors))
	r.figures.add("resident-MB", r.metric(b, residentBytes)/1e6)
	for w, count := range controlplane.Counts(writes) {
		b.Logf("%d collectors, restart: %d times %s", r.collectors, count, w)
	}
}

func (r *rig) start(b *testing.B, flags ...string) {
	var err error
	r.operator, err = program.Start(r.binary, append([]string{
		"run", "--kubeconfig", r.cluster.Kubeconfig(), "--listen", "127.0.0.1:0", "--allocator-listen", "127.0.0.1:0", "--namespaces", r.namespace,
	}, flags...))
	if err != nil {
		b.Fatal(err)
	}
	if err := r.operator.WaitReady(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func (r *rig) stop(b *testing.B) {
	if err := r.operator.Stop(); err != nil {
		b.Fatal(err)
	}
}
