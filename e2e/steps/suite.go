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

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/controlplane/provider"
	"github.com/otelier/otelier/e2e/steps/program"
)

// Patience bounds each wait where no container runs; on an idle machine none takes more than a few seconds.
const Patience = time.Minute

// RealPatience bounds each wait for real pods, and for an operator that all tests share.
const RealPatience = 4 * time.Minute

// UserAgent is how the tests' own requests are told from those of the operator.
const UserAgent = "otelier-e2e"

// operatorAgent begins the User-Agent of the operator.
const operatorAgent = "otelier/"

// Suite is what all scenes of a package share: a cluster with the CRDs, and the program.
type Suite struct {
	Cluster cluster.Cluster
	// ControlPlane is the cluster for what only a local one can do, nil elsewhere.
	ControlPlane *controlplane.ControlPlane
	Binary       string
	// Installed is the operator that works in all namespaces, nil where scenes start their own.
	Installed *Installed
	Images    cluster.Images

	client    dynamic.Interface
	discovery discovery.DiscoveryInterface
	resources func() ([]schema.GroupVersionResource, error) // found once, after the CRDs are there
	dir       string
	artifacts string // where scenes that fail are exported to; "" for nowhere
	keep      bool   // namespaces of scenes stay where they failed
}

type suiteKey struct{}

// Begin returns the setup of an environment whose local control plane p has created: it builds the program and installs the CRDs.
func Begin(p *provider.Provider) env.Func {
	return func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		s := &Suite{Cluster: cluster.OfControlPlane(p.ControlPlane()), ControlPlane: p.ControlPlane()}
		ctx = context.WithValue(ctx, suiteKey{}, s)
		if err := s.begin(ctx); err != nil {
			return ctx, err
		}
		return ctx, program.InstallCRDs(ctx, s.Binary, s.Cluster)
	}
}

// begin builds the program and connects to the cluster.
func (s *Suite) begin(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "otelier-e2e-"); err != nil {
		return fmt.Errorf("suite: %w", err)
	}
	if s.Binary, err = program.Build(ctx, s.dir, "-race"); err != nil {
		return err
	}
	return s.connect()
}

// End removes what Begin has made.
func End(ctx context.Context, _ *envconf.Config) (context.Context, error) {
	if s, ok := ctx.Value(suiteKey{}).(*Suite); ok {
		return ctx, os.RemoveAll(s.dir)
	}
	return ctx, nil
}

func (s *Suite) connect() error {
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
	other := &Suite{Cluster: cluster.OfControlPlane(cp), ControlPlane: cp, Binary: s.Binary}
	if err := other.connect(); err != nil {
		t.Fatal(err)
	}
	return other
}

// patience bounds each wait for what happens in the cluster.
func (s *Suite) patience() time.Duration {
	if s.realPods() || s.Installed != nil {
		return RealPatience
	}
	return Patience
}

// Eventually waits until check returns nil, and fails the test with what check last said when that takes longer than Patience.
func Eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	Within(t, Patience, what, check)
}

// Eventually is the function of that name with the patience that the cluster needs.
func (s *Suite) Eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	Within(t, s.patience(), what, check)
}

// Within waits until check returns nil, and fails the test with what check last said when that takes longer than patience.
func Within(t *testing.T, patience time.Duration, what string, check func() error) {
	t.Helper()
	const interval = 50 * time.Millisecond
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		last := check()
		if last == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not after %s; last seen: %v", what, patience, last)
		case <-time.After(interval):
		}
	}
}
