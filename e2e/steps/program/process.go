package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Grace is what a process gets to end after SIGTERM.
const Grace = 20 * time.Second

// Process is otelier, started. Its methods may be called from several goroutines.
type Process struct {
	cmd    *exec.Cmd
	log    buffer
	exited chan struct{}
}

// Start runs the program with these arguments. It does not wait for it to be useful. The process ends with this one, on
// Linux even when this one is killed. Its log is written to the writers too.
func Start(binary string, args []string, logs ...io.Writer) (*Process, error) {
	return StartWith(binary, Environment(), args, logs...)
}

// StartWith is Start with another environment, for other programs than otelier too.
func StartWith(binary string, environment, args []string, logs ...io.Writer) (*Process, error) {
	p := &Process{cmd: exec.Command(binary, args...), exited: make(chan struct{})}
	p.cmd.Env = environment
	log := io.MultiWriter(append(logs, &p.log)...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// In a session of its own, a terminal's Ctrl-C does not reach it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	endWithParent(p.cmd.SysProcAttr)
	started := make(chan error)
	go func() {
		// The kernel ties a child to the thread that started it, so that thread has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // the state says all there is to say
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name(), err)
	}
	return p, nil
}

// Environment is the caller's without what would reach the program by accident: flags, clusters and proxies.
func Environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		name = strings.ToUpper(name)
		return strings.HasPrefix(name, "OTELIER_") || strings.HasSuffix(name, "_PROXY") || name == "KUBECONFIG" || name == "HOME"
	})
}

// Exited is closed when the process has ended. ExitCode may be called then.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitCode is the exit status, -1 if a signal ended the process.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Log is what the process has written so far.
func (p *Process) Log() string { return p.log.String() }

// Tail is the end of the log.
func (p *Process) Tail() string {
	const lines = 20
	all := strings.Split(strings.TrimSpace(p.Log()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (p *Process) name() string { return filepath.Base(p.cmd.Path) }

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Stop ends the process and waits for it, politely for as long as Grace.
func (p *Process) Stop() error {
	_ = p.Signal(syscall.SIGTERM) // an error says that it has ended
	select {
	case <-p.exited:
		return nil
	case <-time.After(Grace):
		_ = p.Signal(syscall.SIGQUIT) // makes the runtime print where every goroutine is
	}
	select {
	case <-p.exited:
	case <-time.After(Grace):
		_ = p.Signal(syscall.SIGKILL)
		<-p.exited
	}
	return fmt.Errorf("%s: still ran %s after SIGTERM", p.name(), Grace)
}

// Wait waits until done returns nil. The error says what it last returned, or that the process has ended.
func (p *Process) Wait(ctx context.Context, what string, done func(context.Context) error) error {
	const interval = 50 * time.Millisecond
	for {
		last := done(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s: %s ended with %s; its last lines:\n%s", what, p.name(), p.cmd.ProcessState, p.Tail())
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; last seen: %w", what, context.Cause(ctx), last)
		case <-time.After(interval):
		}
	}
}

// WaitReady waits until /readyz answers with 200.
func (p *Process) WaitReady(ctx context.Context) error {
	return p.Wait(ctx, "/readyz", func(ctx context.Context) error {
		status, body, err := p.Get(ctx, "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err
	})
}

// Address is where the process says that it serves health and metrics.
func (p *Process) Address() (string, error) {
	m := regexp.MustCompile(`serving health and metrics.*address"?[=:]"?([^\s"]+)`).FindStringSubmatch(p.Log())
	if m == nil {
		return "", errors.New("the log names no address yet")
	}
	return m[1], nil
}

// Get asks the process for a path over HTTP.
func (p *Process) Get(ctx context.Context, path string) (status int, body string, err error) {
	address, err := p.Address()
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, strings.TrimSpace(string(data)), err
}

// Metric is the sum of the samples in /metrics of series, 0 when there is none. A series is a name, which stands for
// all its labels, or a name with all labels: otelier_reconcile_duration_seconds_count{outcome="success"}.
func (p *Process) Metric(ctx context.Context, series string) (float64, error) {
	status, body, err := p.Get(ctx, "/metrics")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, body)
	}
	if err != nil {
		return 0, fmt.Errorf("/metrics: %w", err)
	}
	sum := 0.0
	for _, m := range regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(series)+`(?:\{.*\})? (\S+)$`).FindAllStringSubmatch(body, -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, fmt.Errorf("/metrics: %s: %w", series, err)
		}
		sum += n
	}
	return sum, nil
}

// WaitPasses waits until the operator has made as many passes over collectors, whatever came of them, and has nothing more to do: of
// an operator that has just been started, over each of the collectors that are there.
func (p *Process) WaitPasses(ctx context.Context, collectors int) error {
	return p.Wait(ctx, "a pass over every collector", func(ctx context.Context) error {
		passes, err := p.Metric(ctx, "otelier_reconcile_duration_seconds_count")
		waiting, err2 := p.Metric(ctx, `workqueue_depth`)
		working, err3 := p.Metric(ctx, `workqueue_unfinished_work_seconds`)
		if err := errors.Join(err, err2, err3); err != nil {
			return err
		}
		if passes < float64(collectors) || waiting > 0 || working > 0 {
			return fmt.Errorf("%v passes over %d collectors, %v in the queue, %v s of work unfinished", passes, collectors, waiting, working)
		}
		return nil
	})
}

// Defects are the lines of the log that no run may have: reports of the race detector, and panics.
func (p *Process) Defects() string {
	log := p.Log()
	for _, sign := range []string{"WARNING: DATA RACE", "panic:", "Observed a panic", "fatal error:"} {
		if i := strings.Index(log, sign); i >= 0 {
			return log[i:min(len(log), i+4000)]
		}
	}
	return ""
}

// buffer is a bytes.Buffer for a writer and readers at the same time.
type buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *buffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(data)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}
