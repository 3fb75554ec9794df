package bench_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps/program"
)

// patience bounds the time until all collectors are Ready.
const patience = 25 * time.Minute

// Names of metrics.
const (
	cpuSeconds    = "process_cpu_seconds_total"
	residentBytes = "process_resident_memory_bytes"
)

// rig is a control plane of its own, and an operator on it.
type rig struct {
	cluster    *controlplane.ControlPlane
	binary     string
	namespace  string
	collectors int
	operator   *program.Process
	figures    figures
}

func newRig(b *testing.B, collectors int) *rig {
	b.Helper()
	ctx := b.Context()
	// A node takes 110 pods; a collector has 3.
	cluster, err := controlplane.Start(ctx, controlplane.Options{Nodes: max(3, collectors/25), Out: os.Stderr})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			b.Error(err)
		}
	})
	r := &rig{cluster: cluster, namespace: "footprint", collectors: collectors}
	if r.binary, err = program.Build(ctx, b.TempDir(), "-trimpath", "-ldflags=-s -w"); err != nil {
		b.Fatal(err)
	}
	if err := program.InstallCRDs(ctx, r.binary, cluster); err != nil {
		b.Fatal(err)
	}
	r.kubectl(b, nil, "create", "namespace", r.namespace)
	return r
}

// manifests are as many collectors as the rig has, made from an example.
func (r *rig) manifests(b *testing.B) []byte {
	b.Helper()
	root, err := program.Root()
	if err != nil {
		b.Fatal(err)
	}
	example, err := os.ReadFile(root + "/examples/statefulset.yaml")
	if err != nil {
		b.Fatal(err)
	}
	var out bytes.Buffer
	for i := range r.collectors {
		fmt.Fprintf(&out, "---\n%s", strings.Replace(string(example), "name: stateful\n", fmt.Sprintf("name: stateful-%d\n", i), 1))
	}
	return out.Bytes()
}

func (r *rig) kubectl(b *testing.B, stdin []byte, args ...string) {
	b.Helper()
	cmd := r.cluster.KubectlCommand(b.Context(), args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("kubectl %v: %v\n%s", args, err, out[max(0, len(out)-4000):])
	}
}

func (r *rig) mark(b *testing.B) controlplane.Position {
	b.Helper()
	pos, err := r.cluster.Audit().Mark(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return pos
}

// writes are the operator's, without Events.
func (r *rig) writes(b *testing.B, since controlplane.Position) []controlplane.Write {
	b.Helper()
	all, err := r.cluster.Audit().Writes(b.Context(), since, "otelier/")
	if err != nil {
		b.Fatal(err)
	}
	return slices.DeleteFunc(all, func(w controlplane.Write) bool { return w.Resource == "events" })
}

func (r *rig) metric(b *testing.B, series string) float64 {
	b.Helper()
	n, err := r.operator.Metric(b.Context(), series)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// peak is the most memory that the operator has ever had resident, in megabytes, where the kernel tells (proc(5), VmHWM);
// elsewhere it is what it has now.
func (r *rig) peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.operator.PID()))
	if err != nil {
		return r.metric(b, residentBytes) / 1e6
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		b.Fatalf("no VmHWM in the status of process %d", r.operator.PID())
	}
	n, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return n * 1024 / 1e6
}
