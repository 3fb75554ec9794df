// Images builds what the end-to-end tests on a cluster of containers need, unless it is there: the images of nodes and of the control plane
// where no registry has them, the operator's, a collector's, and those of the tests.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/otelier/otelier/e2e/cluster/provider"
	"github.com/otelier/otelier/e2e/steps/program"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "images: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	root, err := program.Root()
	if err != nil {
		return err
	}
	return provider.Prepare(ctx, root, os.Stderr)
}
