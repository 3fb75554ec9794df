// Cluster runs a local control plane in the foreground, to develop against. It ends on Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/otelier/otelier/e2e/controlplane"
)

const envNodes = "OTELIER_NODES"

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	nodes      int
	assetsOnly bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	opts := options{nodes: 3}
	if env := os.Getenv(envNodes); env != "" {
		nodes, err := strconv.Atoi(env)
		if err != nil {
			return opts, fmt.Errorf("%s=%s: not a number", envNodes, env)
		}
		opts.nodes = nodes
	}
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&opts.nodes, "nodes", opts.nodes, "number of nodes; also $"+envNodes)
	flags.BoolVar(&opts.assetsOnly, "assets-only", false, "build the programs that are missing, start nothing")
	if err := flags.Parse(args); err != nil {
		return opts, err
	}
	if flags.NArg() > 0 {
		return opts, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if opts.nodes < 1 {
		return opts, fmt.Errorf("nodes: %d is not a positive number", opts.nodes)
	}
	return opts, nil
}

// run returns when ctx ends, without an error, or when a component did by itself.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if opts.assetsOnly {
		return ensureAssets(ctx, stdout, stderr)
	}
	cp, err := controlplane.Start(ctx, controlplane.Options{Nodes: opts.nodes, Out: stderr})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "export KUBECONFIG=%s\n", cp.Kubeconfig())
	if err != nil {
		return errors.Join(err, cp.Stop())
	}
	say(stderr, "\nkubectl: %s\nlogs:    %s\nCtrl-C stops it and removes its data.\n", cp.Kubectl(), cp.LogDir())
	select {
	case <-ctx.Done():
		say(stderr, "\nstopping\n")
	case <-cp.Done():
	}
	return errors.Join(cp.Err(), cp.Stop())
}

// ensureAssets builds what is missing, for those who run collectors too, and prints the control plane's directory and the collector's path.
func ensureAssets(ctx context.Context, stdout, stderr io.Writer) error {
	assets, err := controlplane.EnsureAssets(ctx, stderr)
	if err != nil {
		return err
	}
	collector, err := controlplane.EnsureCollector(ctx, stderr)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s\n%s\n", assets.Dir(), collector)
	return err
}

// say writes to a person. That it can't be written is no reason to fail.
func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
