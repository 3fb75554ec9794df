package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestClusterUntilInterrupted(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "cluster")
	if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	cmd := exec.Command(binary, "--nodes", "1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Generous: the programs may have to be built first.
	timeout := time.AfterFunc(20*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timeout.Stop()

	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("output %q: %v\n%s", line, err, &stderr)
	}
	kubeconfig, found := strings.CutPrefix(strings.TrimSpace(line), "export KUBECONFIG=")
	if !found {
		t.Errorf("output %q, want the line to set KUBECONFIG", line)
	}
	if _, err := os.Stat(kubeconfig); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	if _, err := os.Stat(kubeconfig); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", kubeconfig, err)
	}
	for _, want := range []string{"with 1 nodes ready in", "Ctrl-C stops it", "kubectl: "} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("standard error does not say %q:\n%s", want, &stderr)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		env  string
		want string
	}{
		"no nodes":            {args: []string{"--nodes", "0"}, want: "nodes: 0 is not a positive number"},
		"an argument":         {args: []string{"start"}, want: `unexpected argument "start"`},
		"an unknown flag":     {args: []string{"--workers"}, want: "-workers"},
		"a bad environment":   {env: "many", want: "OTELIER_NODES=many: not a number"},
		"a wrong environment": {env: "-1", want: "nodes: -1 is not a positive number"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(envNodes, c.env)
			err := run(t.Context(), c.args, io.Discard, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestAssetsOnly(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("OTELIER_ASSETS", dir)
	err := run(t.Context(), []string{"--assets-only"}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "kube-apiserver") {
		t.Fatalf("error %v for an empty directory", err)
	}
	for _, name := range []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok", "supervise", "otelcol",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var stdout bytes.Buffer
	if err := run(t.Context(), []string{"--assets-only"}, &stdout, io.Discard); err != nil {
		t.Fatal(err)
	}
	if want := dir + "\n" + filepath.Join(dir, "otelcol") + "\n"; stdout.String() != want {
		t.Errorf("output %q, want %q", &stdout, want)
	}
}
