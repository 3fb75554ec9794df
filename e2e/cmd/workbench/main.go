// Workbench is everything that the end-to-end tests need in pods, in one static program for an image without anything else.
//
//	workbench exporter   targets: counters in the text format of Prometheus, on one or more ports
//	workbench sink       receives Prometheus remote write 1.0 and tells which counter it has got from whom, and when
//	workbench keep       keeps a file on a volume: notes each start in it and serves what it holds
//	workbench get        gets a URL once and prints the body
//	workbench sleep      does nothing until it is told to end
//	workbench fail       ends with an error
//
// All but get, sleep and fail answer 200 at /healthz. SIGTERM ends each with status 0.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// statusUsage is the exit status for a command line that can't be used.
const statusUsage = 2

// command is one of the program's. It returns when ctx is done or its work is.
type command func(ctx context.Context, args []string, out io.Writer) error

func commands() map[string]command {
	return map[string]command{
		"exporter": runExporter, "sink": runSink, "keep": runKeep, "get": runGet, "sleep": runSleep, "fail": runFail,
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the program without the process. It returns the exit status.
func run(ctx context.Context, args []string, out, log io.Writer) int {
	var names []string
	for name := range commands() {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(args) == 0 || commands()[args[0]] == nil {
		say(log, "workbench: want one of %s\n", strings.Join(names, ", "))
		return statusUsage
	}
	err := commands()[args[0]](ctx, args[1:], out)
	var status exitStatus
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &status):
		say(log, "workbench %s: %v\n", args[0], err)
		return status.code
	case errors.As(err, new(usageError)):
		say(log, "workbench %s: %v\n", args[0], err)
		return statusUsage
	default:
		say(log, "workbench %s: %v\n", args[0], err)
		return 1
	}
}

// usageError is what is wrong with a command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// parse reads a command's flags, and takes no arguments beside them.
func parse(flags *flag.FlagSet, args []string) error {
	flags.SetOutput(io.Discard)
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	if flags.NArg() > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	}
	return nil
}

// hostname is the pod's name, in a pod.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

// say writes what is lost on nobody when it can't be written.
func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
