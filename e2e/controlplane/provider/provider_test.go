package provider_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/e2e-framework/pkg/env"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/envfuncs"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/otelier/otelier/e2e/controlplane/provider"
)

func TestFrameworkRunsAFeature(t *testing.T) {
	const cluster = "provider-test"
	p := provider.New()
	create := envfuncs.CreateClusterWithOpts(p, cluster, provider.WithNodes(2), provider.WithOutput(t.Output()))
	logs := filepath.Join(t.TempDir(), "logs")
	config := envconf.New()

	ctx, err := create(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	environment, err := env.NewWithContext(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	asked := false
	environment.Test(t, features.New("nodes").Assess("are there", func(
		ctx context.Context, t *testing.T, config *envconf.Config,
	) context.Context {
		var nodes corev1.NodeList
		if err := config.Client().Resources().List(ctx, &nodes); err != nil {
			t.Fatal(err)
		}
		if len(nodes.Items) != 2 {
			t.Errorf("%d nodes, want the 2 that were asked for", len(nodes.Items))
		}
		asked = true
		return ctx
	}).Feature())
	if !asked {
		t.Error("the framework did not run the assessment")
	}

	for _, step := range []env.Func{
		envfuncs.LoadImageToCluster(cluster, "example.com/image:tag"),
		envfuncs.ExportClusterLogs(cluster, logs),
		envfuncs.DestroyCluster(cluster),
	} {
		if ctx, err = step(ctx, config); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(logs, "kube-apiserver.log")); err != nil {
		t.Errorf("exported logs: %v", err)
	}
	if p.GetKubeconfig() != "" {
		t.Errorf("kubeconfig %s after the end of the cluster", p.GetKubeconfig())
	}
}
