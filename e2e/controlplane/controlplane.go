package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

const runDir = "run"

// Options of a control plane.
type Options struct {
	// Nodes is the number of nodes, each with 32 CPUs, 256 GiB and room for 110 pods. Default: 3.
	Nodes int
	// Out gets lines on what is being built and started. Default: nothing is written.
	Out io.Writer
	// Dir holds the data; it must not exist yet. Default: a new directory in the system's directory for temporary files.
	// It is removed at the end, however that comes, unless Keep was called.
	Dir string
}

// ControlPlane is a running control plane. Its methods may be called from several goroutines.
type ControlPlane struct {
	assets   Assets
	dir      string
	port     int
	etcdPort int
	kwokPort int
	pki      pki
	admin    identity
	api      client
	relay    *relay // nil until it is started

	done chan struct{}
	stop func() error

	mu        sync.Mutex
	processes []*process // in the order of their start
	stopping  bool
	err       error
}

// URL of the API server.
func (cp *ControlPlane) URL() string { return fmt.Sprintf("https://127.0.0.1:%d", cp.port) }

func (cp *ControlPlane) etcdURL() string { return fmt.Sprintf("http://127.0.0.1:%d", cp.etcdPort) }

// kwokURL is where kwok finds the API server.
func (cp *ControlPlane) kwokURL() string { return fmt.Sprintf("https://127.0.0.1:%d", cp.kwokPort) }

func (cp *ControlPlane) file(name string) string { return filepath.Join(cp.dir, name) }

// Dir is the data directory.
func (cp *ControlPlane) Dir() string { return cp.dir }

// LogDir is the directory of the components' logs, NAME.log each.
func (cp *ControlPlane) LogDir() string { return cp.file("logs") }

// Binary is the path of a component's program.
func (cp *ControlPlane) Binary(name string) string { return cp.assets.Binary(name) }

// Kubectl is the path of a kubectl of the control plane's version. See also [ControlPlane.KubectlCommand].
func (cp *ControlPlane) Kubectl() string { return cp.assets.Binary(kubectl) }

// KubectlCommand prepares a run of kubectl as admin. It leaves no trace in the caller's home directory.
func (cp *ControlPlane) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, cp.Kubectl(), args...)
	cmd.Env = cp.environment()
	return cmd
}

// Done is closed when a component ended that was not told to. Err says which.
func (cp *ControlPlane) Done() <-chan struct{} { return cp.done }

// Err is nil unless Done is closed.
func (cp *ControlPlane) Err() error {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	return cp.err
}

// Keep has the logs outlive the control plane, for somebody to read: Stop then leaves the data directory in place.
func (cp *ControlPlane) Keep() error {
	if err := os.WriteFile(cp.file("keep"), nil, 0o644); err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	return nil
}

// Freeze stops a component without ending it, as if its machine hung. With kwok frozen, new pods stay Pending, deleted
// ones stay and claims stay unbound, while nodes stay Ready. thaw lets it go on; it may be called twice.
func (cp *ControlPlane) Freeze(component string) (thaw func(), err error) {
	p, err := cp.process(component)
	if err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("freeze: %w", err)
	}
	return func() { _ = p.signal(syscall.SIGCONT) }, nil // an error says that it has ended
}

// process finds a component.
func (cp *ControlPlane) process(component string) (*process, error) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	i := slices.IndexFunc(cp.processes, func(p *process) bool { return p.name == component })
	if i < 0 {
		return nil, fmt.Errorf("no component %q", component)
	}
	return cp.processes[i], nil
}

// Stop ends the components, the ones that depend on others first, and removes the data directory. It returns when
// nothing is left. Further calls return what the first did.
func (cp *ControlPlane) Stop() error { return cp.stop() }

func (cp *ControlPlane) shutdown() error {
	cp.mu.Lock()
	cp.stopping = true
	crashed := cp.err != nil
	rest := slices.Clone(cp.processes)
	cp.mu.Unlock()
	if crashed {
		_ = cp.Keep() // the logs are for whoever wants to know why
	}
	var errs []error
	// All that use the API server together, then the API server, then etcd.
	for len(rest) > 0 {
		first := min(len(rest)-1, 2)
		var group sync.WaitGroup
		results := make([]error, len(rest)-first)
		for i, p := range rest[first:] {
			group.Go(func() { results[i] = p.stop() })
		}
		group.Wait()
		errs = append(errs, results...)
		rest = rest[:first]
	}
	if cp.relay != nil {
		errs = append(errs, cp.relay.stop())
	}
	return errors.Join(append(errs, cp.removeData())...)
}

// removeData removes the data directory or, if the logs are to be kept, what is not a log.
func (cp *ControlPlane) removeData() error {
	if _, err := os.Stat(cp.file("keep")); err != nil {
		return os.RemoveAll(cp.dir)
	}
	return os.RemoveAll(cp.file("etcd"))
}

// watch notes the first component that ends without having been told to.
func (cp *ControlPlane) watch(p *process) {
	<-p.exited
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.stopping || p.killed || cp.err != nil {
		return
	}
	cp.err = p.died()
	close(cp.done)
}

// portTaken says whether a start failed since somebody took a port between our choice of it and its use.
func portTaken(err error) bool { return strings.Contains(err.Error(), "address already in use") }
