// Package operator_test holds the operator, as a process, against a real control plane: what users do, and what they see.
package operator_test

import (
	"flag"
	"os"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/envfuncs"

	"github.com/otelier/otelier/e2e/controlplane/provider"
	"github.com/otelier/otelier/e2e/steps"
)

var environment env.Environment //nolint:gochecknoglobals // TestMain has no other way to hand it to the tests

func TestMain(m *testing.M) {
	const cluster = "operator"
	flag.Parse()
	environment = env.NewWithConfig(envconf.New())
	p := provider.New()
	environment.Setup(
		envfuncs.CreateClusterWithOpts(p, cluster, provider.WithOutput(os.Stderr)),
		steps.Begin(p),
	)
	environment.Finish(steps.End, envfuncs.DestroyCluster(cluster))
	os.Exit(environment.Run(m))
}
