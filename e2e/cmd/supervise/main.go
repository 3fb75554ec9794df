// Supervise runs one command and ends it, and everything it started, when the process that launched it ends.
//
//	supervise [-pidfile FILE] [-grace DURATION] [-cleanup DIR] -- COMMAND [ARG…]
//
// The launcher holds the write end of supervise's standard input and writes nothing to it. The kernel closes that end
// however the launcher ends, kill -9 included, so end of file means: send SIGTERM to the command's process group, wait
// for the grace period, send SIGKILL. SIGINT, SIGTERM and SIGHUP to supervise itself mean the same.
//
// With -pidfile the command's process id is written to FILE, which is removed when the command has ended. With -cleanup
// DIR is removed after the command was told to end, once no process is left that a *.pid file beside FILE names. A file
// named "keep" in DIR prevents that, and so does a command that ended by itself.
//
// The exit status is the command's, or 128 plus the number of the signal that ended it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// statusUsage is the exit status for a command line or a command that can't be used.
const statusUsage = 127

type options struct {
	command []string
	pidfile string
	cleanup string
	grace   time.Duration
}

func main() {
	// The kernel ties a child's parent-death signal to the thread that started it, so that thread has to stay.
	runtime.LockOSThread()
	opts, err := parse(os.Args[1:])
	if err == nil {
		var status int
		status, err = supervise(opts)
		if err == nil {
			os.Exit(status)
		}
	}
	fmt.Fprintf(os.Stderr, "supervise: %v\n", err)
	os.Exit(statusUsage)
}

func parse(args []string) (options, error) {
	var opts options
	flags := flag.NewFlagSet("supervise", flag.ContinueOnError)
	flags.StringVar(&opts.pidfile, "pidfile", "", "file that holds the command's process id while it runs")
	flags.StringVar(&opts.cleanup, "cleanup", "", "directory to remove after the command was told to end")
	flags.DurationVar(&opts.grace, "grace", 5*time.Second, "time between SIGTERM and SIGKILL")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	opts.command = flags.Args()
	if len(opts.command) == 0 {
		return opts, errors.New("no command given after --")
	}
	return opts, nil
}

// supervise runs the command to its end and returns the exit status to pass on.
func supervise(opts options) (int, error) {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)

	cmd := exec.Command(opts.command[0], opts.command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	group := -cmd.Process.Pid
	if err := writePID(opts.pidfile, cmd.Process.Pid); err != nil {
		_ = syscall.Kill(group, syscall.SIGKILL)
		_ = cmd.Wait()
		return 0, err
	}

	launcherGone := make(chan struct{})
	go func() {
		defer close(launcherGone)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the state says all there is to say
	}()

	told := true
	select {
	case <-ended:
		told = false
	case <-stop:
	case <-launcherGone:
	}
	if told {
		terminate(group, opts.grace, ended)
	}
	// What the command started and did not take down with it.
	_ = syscall.Kill(group, syscall.SIGKILL)
	if opts.pidfile != "" {
		_ = os.Remove(opts.pidfile)
	}
	if told && opts.cleanup != "" {
		cleanup(opts.cleanup, opts.pidfile)
	}
	return status(cmd.ProcessState), nil
}

// terminate ends a process group, politely first. It returns when its leader has been waited for.
func terminate(group int, grace time.Duration, ended <-chan struct{}) {
	_ = syscall.Kill(group, syscall.SIGTERM)
	_ = syscall.Kill(group, syscall.SIGCONT) // a stopped process would never see the SIGTERM
	select {
	case <-ended:
	case <-time.After(grace):
		_ = syscall.Kill(group, syscall.SIGKILL)
		<-ended
	}
}

func status(state *os.ProcessState) int {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return state.ExitCode()
}
