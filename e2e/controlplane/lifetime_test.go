package controlplane_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/otelier/otelier/e2e/controlplane"
)

const envChild = "CONTROLPLANE_TEST_CHILD"

// TestChild is not a test of its own: it is the process that the others start and end. It starts a control plane,
// prints its directory and, when its standard input ends, ends as its environment says.
func TestChild(t *testing.T) {
	end := os.Getenv(envChild)
	if end == "" {
		t.Skip("run by TestLifetime")
	}
	cp, err := controlplane.Start(context.Background(), controlplane.Options{Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("directory %s\n", cp.Dir())
	_, _ = io.Copy(io.Discard, os.Stdin) // until told to go on, or killed
	if end == "panic" {
		panic("as in a test that fails badly")
	}
	os.Exit(1)
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		child string
		act   func(t *testing.T, process int, components map[string]int)
	}{
		"kill -9": {
			act: func(t *testing.T, process int, _ map[string]int) { signal(t, process, syscall.SIGKILL) },
		},
		"kill -9 while a component is frozen": {
			act: func(t *testing.T, process int, components map[string]int) {
				signal(t, -components[controlplane.Kwok], syscall.SIGSTOP)
				signal(t, process, syscall.SIGKILL)
			},
		},
		"Ctrl-C": {
			// A terminal signals the whole foreground process group.
			act: func(t *testing.T, process int, _ map[string]int) { signal(t, -process, syscall.SIGINT) },
		},
		"panic":   {child: "panic"},
		"os.Exit": {child: "exit"},
	} {
		t.Run(name, func(t *testing.T) {
			binary, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(binary, "-test.run=^TestChild$")
			cmd.Env = append(os.Environ(), envChild+"="+cmp.Or(c.child, "exit"))
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
			})
			dir := directory(t, bufio.NewScanner(stdout))
			pids := processIDs(t, dir)
			if c.act != nil {
				c.act(t, cmd.Process.Pid, pids)
			} else if err := stdin.Close(); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err == nil {
				t.Error("the process ended well")
			}
			waitGone(t, dir, pids)
		})
	}
}

func directory(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	for lines.Scan() {
		if _, dir, found := strings.Cut(lines.Text(), "directory "); found {
			return dir
		}
	}
	t.Fatalf("the process ended without a control plane: %v", lines.Err())
	return ""
}

func signal(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("kill -%s %d: %v", sig, pid, err)
	}
}
