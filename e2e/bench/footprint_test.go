// Package bench_test measures the operator from outside: make bench.
package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps/program"
)

const collectors = 100

// BenchmarkFootprint brings up 100 StatefulSet collectors of 3 replicas with a volume each, and restarts the operator over them.
// It reports
//   - start-ms: from the start of the program to /readyz, with 100 collectors there
//   - up-s: until all collectors are Ready, on a machine that also runs the control plane
//   - writes-up, writes-restart: requests that changed something, as the audit log has them
//   - peak-MB, resident-MB: memory while bringing them up, and after the restart
func BenchmarkFootprint(b *testing.B) {
	ctx := b.Context()
	cp, err := controlplane.Start(ctx, controlplane.Options{Nodes: 3, Out: os.Stderr})
	if err != nil {
		b.Fatal(err)
	}
	defer cp.Stop()
	binary, err := program.Build(ctx, b.TempDir(), "-trimpath", "-ldflags=-s -w")
	if err != nil {
		b.Fatal(err)
	}
	if err := program.InstallCRDs(ctx, binary, cp); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		namespace := fmt.Sprintf("footprint-%d", time.Now().UnixNano())
		kubectl(b, cp, nil, "create", "namespace", namespace)
		run(b, cp, binary, namespace)
		kubectl(b, cp, nil, "delete", "namespace", namespace, "--wait=false")
	}
}

func run(b *testing.B, cp *controlplane.ControlPlane, binary, namespace string) {
	p := operator(b, cp, binary, namespace)
	before := mark(b, cp)
	begin := time.Now()
	kubectl(b, cp, manifests(b), "apply", "--server-side", "-n", namespace, "-f", "-")
	kubectl(b, cp, nil, "wait", "-n", namespace, "--for=condition=Ready", "otelcol", "--all", "--timeout=10m")
	b.ReportMetric(time.Since(begin).Seconds(), "up-s")
	b.ReportMetric(float64(writes(b, cp, before)), "writes-up")
	b.ReportMetric(memory(b, p), "peak-MB")
	if err := p.Stop(); err != nil {
		b.Fatal(err)
	}

	before, begin = mark(b, cp), time.Now()
	p = operator(b, cp, binary, namespace)
	b.ReportMetric(float64(time.Since(begin).Milliseconds()), "start-ms")
	err := p.Wait(b.Context(), "a pass over every collector", func(context.Context) error {
		if n := metric(b, p, `otelier_reconcile_duration_seconds_count{outcome="success"}`); n < collectors {
			return fmt.Errorf("%v passes", n)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(writes(b, cp, before)), "writes-restart")
	b.ReportMetric(memory(b, p), "resident-MB")
	if err := p.Stop(); err != nil {
		b.Fatal(err)
	}
}

func operator(b *testing.B, cp *controlplane.ControlPlane, binary, namespace string) *program.Process {
	p, err := program.Start(binary, []string{"run", "--kubeconfig", cp.Kubeconfig(), "--listen", "127.0.0.1:0", "--namespaces", namespace})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		b.Fatal(err)
	}
	return p
}

func manifests(b *testing.B) []byte {
	root, err := program.Root()
	if err != nil {
		b.Fatal(err)
	}
	example, err := os.ReadFile(root + "/examples/statefulset.yaml")
	if err != nil {
		b.Fatal(err)
	}
	var out bytes.Buffer
	for i := range collectors {
		fmt.Fprintf(&out, "---\n%s", strings.Replace(string(example), "name: stateful\n", fmt.Sprintf("name: stateful-%d\n", i), 1))
	}
	return out.Bytes()
}

func kubectl(b *testing.B, cp *controlplane.ControlPlane, stdin []byte, args ...string) {
	b.Helper()
	cmd := cp.KubectlCommand(b.Context(), args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
}

func mark(b *testing.B, cp *controlplane.ControlPlane) controlplane.Position {
	pos, err := cp.Audit().Mark(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return pos
}

// writes counts the operator's, without Events.
func writes(b *testing.B, cp *controlplane.ControlPlane, since controlplane.Position) int {
	all, err := cp.Audit().Writes(b.Context(), since, "otelier/")
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for _, w := range controlplane.Persisted(all) {
		if w.Resource != "events" {
			n++
		}
	}
	return n
}

func memory(b *testing.B, p *program.Process) float64 {
	return metric(b, p, "process_resident_memory_bytes") / 1e6
}

func metric(b *testing.B, p *program.Process, name string) float64 {
	_, body, err := p.Get(b.Context(), "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(body)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
