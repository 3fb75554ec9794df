package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a component that runs under supervise.
type process struct {
	name     string
	log      string
	pidfile  string
	cmd      *exec.Cmd
	lifeline io.Closer // closed: the component has to end
	exited   chan struct{}
	killed   bool // by Restart; under the control plane's mutex
}

// command is what to run as a component.
type command struct {
	name    string
	args    []string
	cleanup bool // this one is the last to go and takes the data directory with it
}

// grace is what a component gets between SIGTERM and SIGKILL. Nothing in a throwaway cluster is worth waiting for.
const grace = 3 * time.Second

// start runs a component. It does not wait for it to be useful.
func (cp *ControlPlane) start(c command) (*process, error) {
	p := &process{
		name:    c.name,
		log:     filepath.Join(cp.LogDir(), c.name+".log"),
		pidfile: filepath.Join(cp.dir, runDir, c.name+".pid"),
		exited:  make(chan struct{}),
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	defer log.Close() //nolint:errcheck // the component writes to it, we don't
	args := []string{"-grace", grace.String(), "-pidfile", p.pidfile}
	if c.cleanup {
		args = append(args, "-cleanup", cp.dir)
	}
	args = append(args, "--", cp.assets.Binary(c.name))
	p.cmd = exec.Command(cp.assets.supervise, append(args, c.args...)...)
	p.cmd.Dir, p.cmd.Env = cp.dir, cp.environment()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// In a session of its own, a terminal's Ctrl-C does not reach it: it ends when told to, after what depends on it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if p.lifeline, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", c.name, err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // the state says all there is to say
	}()
	return p, nil
}

// environment of the components and of kubectl: the caller's, but for what would tie them to the caller's own clusters.
func (cp *ControlPlane) environment() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "HOME", "KUBECONFIG", "KUBECACHEDIR":
		default:
			env = append(env, v)
		}
	}
	return append(env, "HOME="+cp.dir, "KUBECONFIG="+cp.Kubeconfig(), "KUBECACHEDIR="+filepath.Join(cp.dir, "kubectl-cache"))
}

// stop ends the component and returns when it is gone.
func (p *process) stop() error {
	_ = p.lifeline.Close() // an error says that it was closed before
	select {
	case <-p.exited:
		return nil
	case <-time.After(grace + 30*time.Second):
		_ = p.cmd.Process.Kill()
		return fmt.Errorf("%s: did not end; its supervisor was killed", p.name)
	}
}

// died describes a component that ended by itself. It waits for that.
func (p *process) died() error {
	<-p.exited
	return fmt.Errorf("%s: ended with %s; the end of %s:\n%s", p.name, p.cmd.ProcessState, p.log, tail(p.log))
}

// signal sends a signal to the component and all it started.
func (p *process) signal(sig syscall.Signal) error {
	data, err := os.ReadFile(p.pidfile)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	pid, err := strconv.Atoi(string(data))
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if err := syscall.Kill(-pid, sig); err != nil {
		return fmt.Errorf("%s: %s: %w", p.name, sig, err)
	}
	return nil
}

// tail returns the last lines of a log file.
func tail(file string) string {
	const lines, size = 12, 64 << 10
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	data = bytes.TrimSpace(data[max(0, len(data)-size):])
	all := strings.Split(string(data), "\n")
	return "  " + strings.Join(all[max(0, len(all)-lines):], "\n  ")
}

// until calls done every so often until it is, or a process ends, or ctx does. The error then says what done last said.
func until(ctx context.Context, what string, processes []*process, done func(context.Context) error) error {
	const interval = 50 * time.Millisecond
	for {
		last := done(ctx)
		if last == nil {
			return nil
		}
		for _, p := range processes {
			select {
			case <-p.exited:
				return p.died()
			default:
			}
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; last seen: %w", what, context.Cause(ctx), last)
		}
	}
}
