// Package features_test holds what users are promised against a whole cluster, in which the operator is installed as the README says. Who
// makes the cluster is said by E2E_PROVIDER; what takes real pods is skipped where there are none.
package features_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/cluster/provider"
	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

var environment env.Environment //nolint:gochecknoglobals // TestMain has no other way to hand it to the tests

const (
	envArtifacts = "E2E_ARTIFACTS"
	envCluster   = "E2E_CLUSTER" // its name; one of this name that is there is used
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// suite is the cluster of the tests, with what is to be done at the end.
type suite struct {
	choice    *provider.Choice
	artifacts string
	config    *envconf.Config

	mu    sync.Mutex
	ctx   context.Context // that of the environment, which its end needs
	ready chan struct{}   // closed when the setup has succeeded
	early bool            // the tests were ended before they were done
}

func run(m *testing.M) (int, error) {
	config, err := envconf.NewFromFlags()
	if err != nil {
		return 1, err
	}
	s, err := newSuite(config)
	if err != nil {
		return 1, err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	deadline, cancel := withDeadline(ctx)
	defer cancel()
	if environment, err = env.NewWithContext(deadline, config); err != nil {
		return 1, err
	}
	environment.Setup(s.setUp(s.create), s.setUp(steps.BeginInstalled(s.choice, s.artifacts)), s.setUp(s.begun))

	ended := make(chan int, 1)
	go func() { ended <- environment.Run(m) }()
	select {
	case code := <-ended:
		return code, s.end(code != 0 && ctx.Err() == nil)
	case <-deadline.Done():
		fmt.Fprintf(os.Stderr, "e2e: %v: cleaning up\n", context.Cause(deadline))
		s.early = true
		err := s.awaitSetup(ended)
		return 1, errors.Join(fmt.Errorf("ended early: %w", context.Cause(deadline)), err, s.end(ctx.Err() == nil))
	}
}

// awaitSetup waits until the setup is no longer at work, which is cancelled: what it had begun to make it removes itself. Tests are not waited
// for, which may take long and whose cluster goes.
func (s *suite) awaitSetup(ended <-chan int) error {
	const patience = time.Minute
	select {
	case <-ended:
	case <-s.ready:
	case <-time.After(patience):
		return fmt.Errorf("the setup goes on %s after it was cancelled, and may leave something behind", patience)
	}
	return nil
}

// withDeadline leaves the end of the tests time to clean up, before go test kills them.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout, err := time.ParseDuration(flag.Lookup("test.timeout").Value.String())
	if err != nil || timeout == 0 {
		return context.WithCancel(ctx)
	}
	timeout -= min(timeout/5, 5*time.Minute)
	return context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not done after %s: see -timeout", timeout))
}

func newSuite(config *envconf.Config) (*suite, error) {
	root, err := program.Root()
	if err != nil {
		return nil, err
	}
	s := &suite{config: config, artifacts: os.Getenv(envArtifacts), ctx: context.Background(), ready: make(chan struct{})}
	if s.artifacts == "" {
		s.artifacts = filepath.Join(root, "bin", "e2e-artifacts")
	}
	if s.artifacts, err = filepath.Abs(s.artifacts); err != nil {
		return nil, err
	}
	if s.choice, err = provider.New(cmp.Or(os.Getenv(envCluster), "otelier-e2e"), root, os.Stderr); err != nil {
		return nil, err
	}
	if os.Getenv(envArtifacts) == "" {
		s.artifacts = filepath.Join(s.artifacts, s.choice.Name)
		if err := os.RemoveAll(s.artifacts); err != nil { // of an earlier run
			return nil, err
		}
	}
	return s, nil
}

// create has the provider make the cluster.
func (s *suite) create(ctx context.Context, config *envconf.Config) (context.Context, error) {
	kubeconfig, err := s.choice.Create(ctx)
	if err != nil {
		return ctx, err
	}
	if nodes, ok := s.choice.Cluster().(cluster.Nodes); ok {
		if err := repair(ctx, nodes); err != nil {
			return ctx, err
		}
	}
	config.WithKubeconfigFile(kubeconfig)
	return ctx, s.choice.WaitForControlPlane(ctx, config.Client())
}

// begun is the last part of the setup.
func (s *suite) begun(ctx context.Context, _ *envconf.Config) (context.Context, error) {
	close(s.ready)
	return ctx, nil
}

// setUp remembers what a part of the setup has made, for the end.
func (s *suite) setUp(part env.Func) env.Func {
	return func(ctx context.Context, config *envconf.Config) (context.Context, error) {
		ctx, err := part(ctx, config)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ctx = ctx
		return ctx, err
	}
}

// end exports what there is when a test has failed, and leaves nothing behind but a cluster that is to be kept.
func (s *suite) end(failed bool) error {
	const patience = 4 * time.Minute
	s.mu.Lock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), patience)
	s.mu.Unlock()
	defer cancel()
	if failed {
		_, err := steps.ExportInstalled(ctx, s.config)
		err = errors.Join(err, s.choice.ExportLogs(ctx, filepath.Join(s.artifacts, "cluster")))
		fmt.Fprintf(os.Stderr, "e2e: logs, events and objects: %s\n", s.artifacts)
		if err != nil {
			fmt.Fprintf(os.Stderr, "e2e: not all of them: %v\n", err)
		}
	}
	_, err := steps.EndInstalled(s.choice)(ctx, s.config)
	if s.choice.Keep {
		if c := s.choice.Cluster(); c != nil {
			fmt.Fprintf(os.Stderr, "e2e: the cluster is kept: export KUBECONFIG=%s\n", c.Kubeconfig())
			if s.early {
				fmt.Fprintln(os.Stderr, "e2e: what tests had broken in it when they were ended is still broken: the next run repairs it")
			}
		}
		return err
	}
	return errors.Join(err, s.choice.Destroy(ctx))
}
