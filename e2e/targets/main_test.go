// Package targets_test holds discovery, allocation and the serving of targets against a real API server, real OpenTelemetry Collectors and
// live HTTP targets: who scrapes what, and for how long nobody does.
package targets_test

import (
	"context"
	"flag"
	"os"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/envfuncs"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/controlplane/provider"
	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

var environment env.Environment //nolint:gochecknoglobals // TestMain has no other way to hand it to the tests

func TestMain(m *testing.M) {
	const cluster = "targets"
	flag.Parse()
	environment = env.NewWithConfig(envconf.New())
	p := provider.New()
	environment.Setup(
		func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			_, err := controlplane.EnsureCollector(ctx, os.Stderr) // takes minutes the first time
			return ctx, err
		},
		envfuncs.CreateClusterWithOpts(p, cluster, provider.WithOutput(os.Stderr)),
		steps.Begin(p),
		func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
			return ctx, program.InstallMonitorCRDs(ctx, p.ControlPlane())
		},
	)
	environment.Finish(steps.End, envfuncs.DestroyCluster(cluster))
	os.Exit(environment.Run(m))
}
