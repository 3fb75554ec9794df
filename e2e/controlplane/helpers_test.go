package controlplane_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
)

const deadline = time.Minute

// start starts a control plane that stops with the test. If the test fails, its logs stay.
func start(t *testing.T) *controlplane.ControlPlane {
	t.Helper()
	cp, err := controlplane.Start(t.Context(), controlplane.Options{Out: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, cp)
	return cp
}

func stopAtEnd(t *testing.T, cp *controlplane.ControlPlane) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() && cp.Keep() == nil {
			t.Logf("logs: %s", cp.LogDir())
		}
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// kubectl runs kubectl as admin and returns its output. It must succeed.
func kubectl(t *testing.T, cp *controlplane.ControlPlane, args ...string) string {
	t.Helper()
	output, err := cp.KubectlCommand(t.Context(), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, output)
	}
	return strings.TrimSpace(string(output))
}

// apply applies a manifest.
func apply(t *testing.T, cp *controlplane.ControlPlane, manifest string, flags ...string) {
	t.Helper()
	cmd := cp.KubectlCommand(t.Context(), append([]string{"apply", "--server-side", "-f", "-"}, flags...)...)
	cmd.Stdin = strings.NewReader(manifest)
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, output)
	}
}

// processIDs are those of a control plane's components, by name.
func processIDs(t *testing.T, dir string) map[string]int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "run", "*.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // ended meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(string(data))
		if err != nil {
			t.Fatal(err)
		}
		pids[strings.TrimSuffix(filepath.Base(file), ".pid")] = pid
	}
	return pids
}

// waitGone waits until the processes have ended and the data directory is removed.
func waitGone(t *testing.T, dir string, pids map[string]int) {
	t.Helper()
	if len(pids) == 0 {
		t.Error("no processes to wait for")
	}
	eventually(t, "end of the control plane", func() error {
		var errs []error
		for name, pid := range pids {
			if alive(pid) {
				errs = append(errs, fmt.Errorf("%s runs (%d)", name, pid))
			}
		}
		for _, line := range commandLines(t) {
			if strings.Contains(line, dir) {
				errs = append(errs, fmt.Errorf("runs: %.100s", line))
			}
		}
		if _, err := os.Stat(dir); err == nil {
			errs = append(errs, fmt.Errorf("%s exists", dir))
		}
		return errors.Join(errs...)
	})
}

// alive says whether a process runs. One that only waits for its parent to notice its end does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	if runtime.GOOS != "linux" {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// commandLines are those of all processes on a machine that shows them as files.
func commandLines(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // ended meanwhile
		}
		lines = append(lines, strings.ReplaceAll(string(data), "\x00", " "))
	}
	return lines
}

func receive(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatalf("%s: not seen within %s", what, deadline)
	}
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	end := time.Now().Add(deadline)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not seen within %s; last: %v", what, deadline, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
