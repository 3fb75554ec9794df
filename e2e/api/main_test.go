// Package api_test holds the CustomResourceDefinition against a real API server: what it accepts, rejects, defaults and
// keeps. It knows the file alone.
package api_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/otelier/otelier/e2e/controlplane"
)

const (
	crdFile = "../../crds/opentelemetrycollectors.yaml"
	group   = "opentelemetry.io"
	plural  = "opentelemetrycollectors"

	// patience bounds each wait; on an idle machine none takes more than a few seconds.
	patience = time.Minute
)

var cluster *controlplane.ControlPlane //nolint:gochecknoglobals // one control plane serves all tests of the package

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run starts the control plane, installs the CRD and runs the tests.
func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute) // the first start builds the pieces
	defer cancel()
	cp, err := controlplane.Start(ctx, controlplane.Options{Nodes: 1, Out: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := cp.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	cluster = cp
	if err := install(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func install(ctx context.Context) error {
	crd, err := readCRD()
	if err != nil {
		return err
	}
	client, err := newClient(rest.NoWarnings{})
	if err != nil {
		return err
	}
	return client.installCRD(ctx, crd, "kubectl")
}
