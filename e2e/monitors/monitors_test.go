// Package monitors_test runs the tests of package discover/monitor that need a real API server against one.
package monitors_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps/program"
)

func TestMonitors(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute) // the first start builds the pieces
	defer cancel()
	root, err := program.Root()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "monitor.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-race", "-o", binary, "./discover/monitor")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the tests: %v\n%s", err, out)
	}
	cluster, err := controlplane.Start(ctx, controlplane.Options{Nodes: 1, Out: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Stop()
	test := exec.CommandContext(ctx, binary, "-test.run=^TestLive$", "-test.v", "-test.timeout=5m")
	test.Dir = filepath.Join(root, "discover", "monitor")
	test.Env = append(os.Environ(), "OTELIER_MONITOR_KUBECONFIG="+cluster.Kubeconfig())
	out, err := test.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("discover/monitor: %v", err)
	}
}
