package steps

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/controlplane/provider"
	"github.com/otelier/otelier/e2e/steps/program"
)

// Patience bounds each wait; on an idle machine none takes more than a few seconds.
const Patience = time.Minute

// UserAgent is how the tests' own requests are told from those of the operator.
const UserAgent = "otelier-e2e"

// operatorAgent begins the User-Agent of the operator.
const operatorAgent = "otelier/"

// Suite is what all scenes of a package share: a control plane with the CRDs, and the program.
type Suite struct {
	Cluster *controlplane.ControlPlane
	Binary  string

	client    dynamic.Interface
	discovery discovery.DiscoveryInterface
	resources func() ([]schema.GroupVersionResource, error) // found once, after the CRDs are there
	dir       string
}

type suiteKey struct{}

// Begin returns the setup of an environment whose cluster p has created: it builds the program and installs the CRDs.
func Begin(p *provider.Provider) env.Func {
	return func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		dir, err := os.MkdirTemp("", "otelier-e2e-")
		if err != nil {
			return ctx, fmt.Errorf("suite: %w", err)
		}
		s := &Suite{Cluster: p.ControlPlane(), dir: dir}
		ctx = context.WithValue(ctx, suiteKey{}, s)
		if s.Binary, err = program.Build(ctx, dir, "-race"); err != nil {
			return ctx, err
		}
		return ctx, s.connect(ctx, true)
	}
}

// End removes what Begin has made.
func End(ctx context.Context, _ *envconf.Config) (context.Context, error) {
	if s, ok := ctx.Value(suiteKey{}).(*Suite); ok {
		return ctx, os.RemoveAll(s.dir)
	}
	return ctx, nil
}

func (s *Suite) connect(ctx context.Context, install bool) error {
	config, err := s.Cluster.RESTConfig(UserAgent)
	if err != nil {
		return err
	}
	if s.client, err = dynamic.NewForConfig(config); err != nil {
		return fmt.Errorf("suite: %w", err)
	}
	if s.discovery, err = discovery.NewDiscoveryClientForConfig(config); err != nil {
		return fmt.Errorf("suite: %w", err)
	}
	s.resources = sync.OnceValues(s.discover)
	if install {
		return program.InstallCRDs(ctx, s.Binary, s.Cluster)
	}
	return nil
}

// Another starts a control plane for one test alone, without CRDs. It ends with the test.
func (s *Suite) Another(t *testing.T) *Suite {
	t.Helper()
	cp, err := controlplane.Start(t.Context(), controlplane.Options{Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			_ = cp.Keep()
		}
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	other := &Suite{Cluster: cp, Binary: s.Binary}
	if err := other.connect(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	return other
}

// Eventually waits until check returns nil, and fails the test with what check last said when that takes too long.
func Eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	const interval = 50 * time.Millisecond
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	for {
		last := check()
		if last == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not after %s; last seen: %v", what, Patience, last)
		case <-time.After(interval):
		}
	}
}
