// Package render_test holds what `otelier render` prints, and the collectors that it prints it for, against a real API server.
package render_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps/program"
)

// suite is what the tests of the package share.
type suite struct {
	cluster *controlplane.ControlPlane
	binary  string // otelier, built with the race detector
	root    string // of the repository
}

var shared suite //nolint:gochecknoglobals // one control plane serves all tests of the package

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute) // the first start builds the pieces
	defer cancel()
	dir, err := os.MkdirTemp("", "otelier-e2e-render-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // nothing depends on it
	if err := shared.start(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.cluster.Stop()
	return m.Run()
}

func (s *suite) start(ctx context.Context, dir string) (err error) {
	if s.root, err = program.Root(); err != nil {
		return err
	}
	if s.binary, err = program.Build(ctx, dir, "-race"); err != nil {
		return err
	}
	if s.cluster, err = controlplane.Start(ctx, controlplane.Options{Nodes: 1, Out: os.Stderr}); err != nil {
		return err
	}
	if err = program.InstallCRDs(ctx, s.binary, s.cluster); err != nil {
		s.cluster.Stop()
	}
	return err
}
