// Demo shows what otelier does, on a control plane of its own: a collector with a volume for each pod comes up and is scaled.
// It stays up until Ctrl-C; with --once it deletes the collector and ends.
//
// The exit status is 0 when everything went as it should, 130 when it was interrupted before that, 1 otherwise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/dynamic"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps/program"
)

const (
	envBinary = "OTELIER_BIN"
	envOnce   = "ONCE"
)

// The statuses that the program exits with.
const (
	statusError       = 1
	statusInterrupted = 130
)

type options struct {
	once   bool
	binary string
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "interrupted")
		os.Exit(statusInterrupted)
	default:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(statusError)
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	env := os.Getenv(envOnce)
	opts := options{once: env != "" && env != "0", binary: os.Getenv(envBinary)}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&opts.once, "once", opts.once, "end after the tour instead of staying up; also $"+envOnce+"=1")
	flags.StringVar(&opts.binary, "binary", opts.binary, "otelier to run, built when empty; also $"+envBinary)
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	if flags.NArg() > 0 {
		return opts, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return opts, nil
}

// run is the whole demo. All that it started has ended when it returns.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	opts, err := parse(args, stderr)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "otelier-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if opts.binary == "" {
		say(stderr, "otelier: building\n")
		if opts.binary, err = program.Build(ctx, dir); err != nil {
			return err
		}
	}
	cp, err := controlplane.Start(ctx, controlplane.Options{Out: stderr})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cp.Err(), cp.Stop()) }()
	say(stdout, "\nThe operator, as a process outside of the cluster\n\n  $ otelier crds | kubectl apply --server-side -f -\n")
	if err := program.InstallCRDs(ctx, opts.binary, cp); err != nil {
		return err
	}
	say(stdout, "  $ otelier run --kubeconfig %s --listen 127.0.0.1:0\n", cp.Kubeconfig())
	operator, err := start(ctx, opts.binary, cp)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, operator.Stop())
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w\nthe end of otelier's log:\n%s", err, operator.Tail())
		}
	}()
	return play(ctx, opts, cp, operator, stdout)
}

// start starts the operator and waits until it is ready. Its log is beside those of the control plane.
func start(ctx context.Context, binary string, cp *controlplane.ControlPlane) (*program.Process, error) {
	log, err := os.Create(filepath.Join(cp.LogDir(), "otelier.log"))
	if err != nil {
		return nil, err
	}
	p, err := program.Start(binary, []string{"run", "--kubeconfig", cp.Kubeconfig(), "--listen", "127.0.0.1:0", "--allocator-listen", "127.0.0.1:0"}, log)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	const patience = time.Minute
	bounded, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not after %s", patience))
	defer cancel()
	if err := p.WaitReady(bounded); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

func play(ctx context.Context, opts options, cp *controlplane.ControlPlane, operator *program.Process, out io.Writer) error {
	config, err := cp.RESTConfig("otelier-demo")
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	s := &story{cp: cp, operator: operator, client: client, out: out}
	if err := s.tour(ctx); err != nil {
		return err
	}
	if opts.once {
		return s.end(ctx)
	}
	return s.stay(ctx)
}

// say writes what is only for people to read: where that fails, nobody does.
func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
