package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/e2e-framework/klient"

	"github.com/otelier/otelier/e2e/cluster"
)

// existing is a cluster that somebody else has made: the current context of KUBECONFIG, as kubectl takes it.
type existing struct {
	cluster.Access
	out io.Writer
}

var (
	_ Provider        = (*existing)(nil)
	_ cluster.Cluster = (*existing)(nil)
)

// Provider is cluster.Kubeconfig.
func (*existing) Provider() string { return cluster.Kubeconfig }

// Create finds the cluster.
func (e *existing) Create(ctx context.Context, _ ...string) (string, error) {
	if os.Getenv("KUBECONFIG") == "" {
		return "", fmt.Errorf("%s=%s: KUBECONFIG is not set", EnvProvider, cluster.Kubeconfig)
	}
	kubectl, err := cluster.FindKubectl(ctx, e.out)
	if err != nil {
		return "", err
	}
	config, err := clientcmd.NewDefaultClientConfigLoadingRules().Load()
	if err != nil {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	if config.Contexts[config.CurrentContext] == nil {
		return "", fmt.Errorf("KUBECONFIG=%s: no such file, or no current context in it; its path has to be absolute", os.Getenv("KUBECONFIG"))
	}
	dir, err := os.MkdirTemp("", "otelier-cluster-")
	if err != nil {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	// A copy: KUBECONFIG may be a list of files.
	e.Access = cluster.Access{File: filepath.Join(dir, "kubeconfig"), Kubectl: kubectl, Dir: dir}
	return e.File, errors.Join(clientcmd.ResolveLocalPaths(config), clientcmd.WriteToFile(*config, e.File))
}

// WaitForControlPlane asks the API server whether it is ready.
func (e *existing) WaitForControlPlane(ctx context.Context, _ klient.Client) error {
	if out, err := e.KubectlCommand(ctx, "get", "--raw", "/readyz").CombinedOutput(); err != nil {
		return fmt.Errorf("cluster: %w\n%s", err, out)
	}
	return nil
}

// ExportLogs has nothing to export: what belongs to the cluster itself is its owner's.
func (*existing) ExportLogs(context.Context, string) error { return nil }

// Destroy forgets the cluster.
func (e *existing) Destroy(context.Context) error { return os.RemoveAll(e.Dir) }

// imagesFromEnvironment are the images that the cluster can pull.
func imagesFromEnvironment() (cluster.Images, error) {
	var (
		images cluster.Images
		errs   []error
	)
	for _, image := range []struct {
		variable string
		name     *string
	}{
		{envImage, &images.Operator}, {envCollectorImage, &images.Collector}, {envWorkbenchImage, &images.Workbench},
	} {
		if *image.name = os.Getenv(image.variable); *image.name == "" {
			errs = append(errs, fmt.Errorf("%s is not set: an image that the cluster can pull", image.variable))
		}
	}
	return images, errors.Join(errs...)
}
