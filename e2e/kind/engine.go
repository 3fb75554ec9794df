package kind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
)

// Engine is the container engine that docker talks to.
type Engine struct {
	own  *exec.Cmd      // nil where one was found
	hold io.WriteCloser // its end tells supervise to end
	done chan error
	host host // as it was before
	kept int  // process ID of one that was found, of ours
}

// StartEngine returns the engine that answers, or starts one where none does: dockerd, as root on Linux, from the packages of a Debian
// system if it is not installed. Its images stay in the cache directory for the next time. It ends with Stop, and with this process, unless
// it is to be kept: then it ends with the Stop of a later run that does not keep it.
func StartEngine(ctx context.Context, out io.Writer, keep bool) (*Engine, error) {
	_, err := engineVersion(ctx)
	if err == nil {
		e := &Engine{}
		if !keep {
			e.kept = kept()
		}
		return e, nil
	}
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		return nil, fmt.Errorf("engine: DOCKER_HOST=%s: %w", host, err)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("engine: none answers, and only root can start one: start Docker: %w", err)
	}
	if err := installed(ctx, out, "dockerd", "docker.io", "containerd", "runc", "iptables", "iproute2"); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	if err := installed(ctx, out, "docker", "docker-cli"); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	if _, err := engineVersion(ctx); err == nil { // started by its package
		return &Engine{}, nil
	}
	before := lookAtHost(ctx)
	if err := before.raiseWatches(out); err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e, err := launch(ctx, out, keep, before)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return e, nil
}

func engineVersion(ctx context.Context) (string, error) {
	return run(ctx, "docker", "version", "--format", "{{.Server.Version}}")
}

// launch starts dockerd and waits until it answers.
func launch(ctx context.Context, out io.Writer, keep bool, before host) (*Engine, error) {
	const patience = time.Minute
	command, log, err := dockerd(ctx, keep)
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // dockerd has its own
	say(out, "engine: none answers, starting dockerd; its log is %s … ", log.Name())
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx // it may outlive all contexts
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the tests: the cluster goes first
	e := &Engine{own: cmd, done: make(chan error, 1), host: before}
	if e.hold, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { e.done <- cmd.Wait() }()
	if err := e.await(ctx, patience); err != nil {
		say(out, "failed\n")
		return nil, errors.Join(err, e.Stop())
	}
	say(out, "done\n")
	if keep {
		e.own = nil
		file, err := keptFile()
		return e, errors.Join(err, os.WriteFile(file, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600))
	}
	return e, nil
}

// dockerd is the command line that starts it, and its log.
func dockerd(ctx context.Context, keep bool) ([]string, *os.File, error) {
	cache, err := controlplane.CacheDir()
	if err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(cache, "engine")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, nil, err
	}
	command := []string{"dockerd", "--data-root", filepath.Join(dir, "data")}
	if !mayRaiseLimits() {
		runtime := filepath.Join(dir, "nolimit")
		if err := controlplane.BuildProgram(ctx, "nolimit", runtime); err != nil {
			return nil, nil, err
		}
		command = append(command, "--add-runtime", "nolimit="+runtime, "--default-runtime", "nolimit")
	}
	if !keep {
		supervise, err := controlplane.EnsureSupervise(ctx)
		if err != nil {
			return nil, nil, err
		}
		command = append([]string{supervise, "-grace", "30s", "--"}, command...)
	}
	log, err := os.OpenFile(filepath.Join(dir, "dockerd.log"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	return command, log, err
}

// await returns when the engine answers.
func (e *Engine) await(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("dockerd does not answer after %s", patience))
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := engineVersion(ctx); err == nil {
			return nil
		}
		select {
		case err := <-e.done:
			e.done <- err
			return fmt.Errorf("dockerd ended: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Stop stops an engine that StartEngine has started, now or in a run that has kept it, and no other. It may be called twice.
func (e *Engine) Stop() error {
	const patience = time.Minute
	if e.own == nil && e.kept == 0 {
		return nil
	}
	ctx := context.Background()
	// kind leaves its network behind, as others may use it. Here nobody can. Images without a name are of former states of the repository.
	_, _ = run(ctx, "docker", "network", "rm", "kind")
	_, _ = run(ctx, "docker", "image", "prune", "--force")
	if pid := e.kept; pid != 0 {
		e.kept = 0
		return endKept(pid, patience)
	}
	_ = e.hold.Close()
	e.own = nil
	select {
	case <-e.done: //nolint:errcheck // how it ended is of no interest
	case <-time.After(patience):
		return fmt.Errorf("engine: dockerd has not ended after %s", patience)
	}
	return e.host.restore(ctx)
}

// mayRaiseLimits says whether processes of this machine can have CAP_SYS_RESOURCE: cmd/nolimit says what becomes of those that can't.
func mayRaiseLimits() bool {
	const bit = 24 // linux/capability.h
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "CapBnd:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return err != nil || set>>bit&1 == 1
		}
	}
	return true
}

// installed sees to it that there is a program, if need be from packages of a Debian system.
func installed(ctx context.Context, out io.Writer, program string, packages ...string) error {
	if _, err := exec.LookPath(program); err == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("%s is not installed: install it", program)
	}
	say(out, "%s: installing %s … ", program, strings.Join(packages, ", "))
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-qy", "--no-install-recommends"}, packages...)} {
		if _, err := run(ctx, "env", append([]string{"DEBIAN_FRONTEND=noninteractive", "apt-get"}, args...)...); err != nil {
			say(out, "failed\n")
			return err
		}
	}
	say(out, "done\n")
	return nil
}

// DockerHub is the registry that kind's images are in.
const DockerHub = "registry-1.docker.io"

// RegistryAnswers says whether images can be pulled from a registry.
func RegistryAnswers(ctx context.Context, host string) bool {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/v2/", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	// Who has not logged in is asked to: https://distribution.github.io/distribution/spec/api/#api-version-check
	return response.StatusCode == http.StatusOK || response.StatusCode == http.StatusUnauthorized
}
