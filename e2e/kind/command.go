package kind

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// run runs a program and returns what it wrote to stdout. The error has the end of what it wrote to stderr.
func run(ctx context.Context, program string, args ...string) (string, error) {
	return pipe(ctx, nil, program, args...)
}

// pipe is run with an input.
func pipe(ctx context.Context, input io.Reader, program string, args ...string) (string, error) {
	const most = 4000
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, &stdout, &stderr
	apart(cmd)
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String())
		return stdout.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(program), strings.Join(args[:min(3, len(args))], " "), err, said[max(0, len(said)-most):])
	}
	return stdout.String(), nil
}

// apart has a command told to end, with all that it has started, and given the time to clean up, when its context ends; and only then:
// Ctrl-C is for the tests, which have to take leave of a cluster in order.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
}

// say writes progress. That it can't be written is no reason to fail.
func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
