package main_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const deadline = 20 * time.Second

func TestEnd(t *testing.T) {
	binary := build(t)
	for name, c := range map[string]struct {
		flags  []string
		script string
		act    func(*run, *testing.T)
		status int
		output string
	}{
		"passes on an exit status": {
			script: "exit 7",
			status: 7,
		},
		"passes on the signal that ended the command": {
			script: "kill -KILL $$",
			status: 128 + 9,
		},
		"sends SIGTERM when its standard input ends": {
			script: `trap 'echo terminated; exit 3' TERM; echo ready; sleep 1000 & wait`,
			act:    (*run).closeInput,
			status: 3,
			output: "terminated",
		},
		"takes a SIGTERM of its own for the same": {
			script: `trap 'echo terminated; exit 3' TERM; echo ready; sleep 1000 & wait`,
			act:    func(r *run, t *testing.T) { r.signal(t, r.cmd.Process.Pid, syscall.SIGTERM) },
			status: 3,
			output: "terminated",
		},
		"kills what ignores SIGTERM": {
			flags:  []string{"-grace", "100ms"},
			script: `trap '' TERM; echo ready; while :; do sleep 0.1; done`,
			act:    (*run).closeInput,
			status: 128 + 9,
		},
		"ends a stopped command": {
			script: `trap 'exit 4' TERM; echo ready; while :; do sleep 0.1; done`,
			act: func(r *run, t *testing.T) {
				r.signal(t, -r.child(t), syscall.SIGSTOP)
				r.closeInput(t)
			},
			status: 4,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, binary, c.flags, "sh", "-c", c.script)
			if c.act != nil {
				r.wait(t, "ready")
				c.act(r, t)
			}
			status, output := r.end(t)
			if status != c.status || !strings.Contains(output, c.output) {
				t.Errorf("exit status %d, output %q; want %d and %q", status, output, c.status, c.output)
			}
		})
	}
}

func TestNothingIsLeft(t *testing.T) {
	binary := build(t)
	t.Run("of what the command started", func(t *testing.T) {
		t.Parallel()
		r := start(t, binary, nil, "sh", "-c", `sleep 1000 & echo $!`)
		left, err := strconv.Atoi(r.line(t))
		if err != nil {
			t.Fatal(err)
		}
		r.end(t)
		waitGone(t, left)
	})
	t.Run("when it is killed itself", func(t *testing.T) {
		t.Parallel()
		if runtime.GOOS != "linux" {
			t.Skip("only Linux ties a child to its parent")
		}
		r := start(t, binary, nil, "sleep", "1000")
		child := r.child(t)
		r.signal(t, r.cmd.Process.Pid, syscall.SIGKILL)
		waitGone(t, child)
	})
}

func TestUsageErrors(t *testing.T) {
	binary := build(t)
	t.Run("a command that does not exist", func(t *testing.T) {
		output, err := exec.Command(binary, "--", "/no/such/command").CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 127 || !strings.Contains(string(output), "/no/such/command") {
			t.Errorf("%v, output %q; want exit status 127 and the command's name", err, output)
		}
	})
	t.Run("no command", func(t *testing.T) {
		output, err := exec.Command(binary, "-grace", "1s").CombinedOutput()
		if err == nil || !strings.Contains(string(output), "no command") {
			t.Errorf("%v, output %q", err, output)
		}
	})
}

func TestCleanup(t *testing.T) {
	binary := build(t)
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		script  string
		act     func(*run, *testing.T)
		removed bool
	}{
		"when the launcher is gone": {
			script:  "echo ready; sleep 1000",
			act:     (*run).closeInput,
			removed: true,
		},
		"not if it is to be kept": {
			prepare: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "keep"), "") },
			script:  "echo ready; sleep 1000",
			act:     (*run).closeInput,
		},
		"not if the command ended by itself": {
			script: "echo ready",
			act:    func(*run, *testing.T) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := dataDir(t)
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			r := start(t, binary, []string{"-cleanup", dir, "-pidfile", filepath.Join(dir, "run", "self.pid")}, "sh", "-c", c.script)
			r.wait(t, "ready")
			c.act(r, t)
			r.end(t)
			_, err := os.Stat(dir)
			if removed := errors.Is(err, os.ErrNotExist); removed != c.removed {
				t.Errorf("directory removed: %t, want %t", removed, c.removed)
			}
		})
	}

	t.Run("after all others", func(t *testing.T) {
		t.Parallel()
		dir := dataDir(t)
		flags := func(name string) []string { return []string{"-pidfile", filepath.Join(dir, "run", name+".pid")} }
		other := start(t, binary, flags("other"), "sleep", "1000")
		other.child(t)
		r := start(t, binary, append(flags("self"), "-cleanup", dir), "sleep", "1000")
		child := r.child(t)
		r.closeInput(t)
		waitGone(t, child)
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("removed while another process used it: %v", err)
		}
		other.closeInput(t)
		other.end(t)
		r.end(t)
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("not removed after all have ended: %v", err)
		}
	})
}

// run is one supervise with its command.
type run struct {
	cmd     *exec.Cmd
	input   io.Closer
	output  *bufio.Reader
	pidfile string
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "supervise")
	if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, output)
	}
	return binary
}

func start(t *testing.T, binary string, flags []string, command ...string) *run {
	t.Helper()
	r := &run{pidfile: filepath.Join(t.TempDir(), "pid")}
	for i, flag := range flags {
		if flag == "-pidfile" {
			r.pidfile = flags[i+1]
		}
	}
	args := append([]string{"-pidfile", r.pidfile}, flags...)
	r.cmd = exec.Command(binary, append(append(args, "--"), command...)...)
	r.cmd.Stderr = os.Stderr
	input, err := r.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.input, r.output = input, bufio.NewReader(output)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	})
	return r
}

func (r *run) closeInput(t *testing.T) {
	t.Helper()
	if err := r.input.Close(); err != nil {
		t.Fatal(err)
	}
}

func (r *run) signal(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("kill -%s %d: %v", sig, pid, err)
	}
}

func (r *run) line(t *testing.T) string {
	t.Helper()
	line, err := r.output.ReadString('\n')
	if err != nil {
		t.Fatalf("output %q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

func (r *run) wait(t *testing.T, want string) {
	t.Helper()
	if line := r.line(t); line != want {
		t.Fatalf("output %q, want %q", line, want)
	}
}

// child is the command's process id.
func (r *run) child(t *testing.T) int {
	t.Helper()
	var pid int
	eventually(t, func() error {
		data, err := os.ReadFile(r.pidfile)
		if err == nil {
			pid, err = strconv.Atoi(string(data))
		}
		return err
	})
	return pid
}

// end waits for supervise to exit by itself and returns its exit status and the rest of its output.
func (r *run) end(t *testing.T) (int, string) {
	t.Helper()
	timer := time.AfterFunc(deadline, func() { _ = r.cmd.Process.Kill() })
	output, err := io.ReadAll(r.output)
	if err != nil {
		t.Fatal(err)
	}
	_ = r.cmd.Wait() // the state says all there is to say
	if !timer.Stop() {
		t.Fatalf("did not end within %s", deadline)
	}
	return r.cmd.ProcessState.ExitCode(), string(output)
}

func dataDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(dir, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "file"), "data")
	return dir
}

func write(t *testing.T, file, data string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// waitGone waits until a process has ended. One that nobody has waited for yet has ended, too.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, func() error {
		if syscall.Kill(pid, 0) != nil {
			return nil
		}
		if state := state(pid); state != "" && state != "Z" {
			return fmt.Errorf("process %d is in state %s", pid, state)
		}
		return nil
	})
}

// state is the first letter of what ps calls a process's state, "" if there is none.
func state(pid int) string {
	if runtime.GOOS == "linux" {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return ""
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		return rest[:1]
	}
	output, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	if err != nil || len(output) == 0 {
		return ""
	}
	return string(output[:1])
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	end := time.Now().Add(deadline)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %s: %v", deadline, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
