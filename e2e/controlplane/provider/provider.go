// Package provider lets sigs.k8s.io/e2e-framework start and stop a control plane as it does a kind cluster.
//
// It is apart from package controlplane so that only tests that use the framework link it, and with it
// controller-runtime.
package provider

import (
	"context"
	"fmt"
	"io"
	"os"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/e2e-framework/klient"
	"sigs.k8s.io/e2e-framework/support"

	"github.com/otelier/otelier/e2e/controlplane"
)

var _ support.E2EClusterProviderWithImageLoader = (*Provider)(nil)

// Provider is a control plane in the framework's terms. Versions are those the repository pins, and no configuration
// file is understood.
type Provider struct {
	name    string
	options controlplane.Options
	cluster *controlplane.ControlPlane
}

// New returns a provider whose cluster does not run yet.
func New() *Provider { return &Provider{} }

// WithNodes sets the number of nodes. Default: 3.
func WithNodes(nodes int) support.ClusterOpts {
	return func(c support.E2EClusterProvider) {
		if p, ok := c.(*Provider); ok {
			p.options.Nodes = nodes
		}
	}
}

// WithOutput has what is being built and started written to out. Default: nothing is.
func WithOutput(out io.Writer) support.ClusterOpts {
	return func(c support.E2EClusterProvider) {
		if p, ok := c.(*Provider); ok {
			p.options.Out = out
		}
	}
}

// ControlPlane is the running cluster; nil before Create and after Destroy.
func (p *Provider) ControlPlane() *controlplane.ControlPlane { return p.cluster }

// SetDefaults has nothing to set.
func (p *Provider) SetDefaults() support.E2EClusterProvider { return p }

// WithName sets the name that errors carry. Several clusters may have the same.
func (p *Provider) WithName(name string) support.E2EClusterProvider {
	p.name = name
	return p
}

// WithVersion is ignored: the repository pins the versions.
func (p *Provider) WithVersion(string) support.E2EClusterProvider { return p }

// WithPath is ignored: set OTELIER_ASSETS to use other programs.
func (p *Provider) WithPath(string) support.E2EClusterProvider { return p }

// WithOpts applies the options that are for this provider. Those for others do nothing.
func (p *Provider) WithOpts(opts ...support.ClusterOpts) support.E2EClusterProvider {
	for _, opt := range opts {
		opt(p)
	}
	return p
}

// Create starts the cluster, unless it runs already, and returns the path of its kubeconfig.
func (p *Provider) Create(ctx context.Context, args ...string) (string, error) {
	if len(args) > 0 {
		return "", fmt.Errorf("cluster %s: arguments %q are not supported", p.name, args)
	}
	if p.cluster == nil {
		cluster, err := controlplane.Start(ctx, p.options)
		if err != nil {
			return "", fmt.Errorf("cluster %s: %w", p.name, err)
		}
		p.cluster = cluster
	}
	return p.cluster.Kubeconfig(), nil
}

// CreateWithConfig is Create; configFile has to be empty.
func (p *Provider) CreateWithConfig(ctx context.Context, configFile string) (string, error) {
	if configFile != "" {
		return "", fmt.Errorf("cluster %s: configuration file %s is not supported", p.name, configFile)
	}
	return p.Create(ctx)
}

// GetKubeconfig is the path of the kubeconfig, "" if the cluster does not run.
func (p *Provider) GetKubeconfig() string {
	if p.cluster == nil {
		return ""
	}
	return p.cluster.Kubeconfig()
}

// GenerateKubeconfig is GetKubeconfig; it knows no arguments.
func (p *Provider) GenerateKubeconfig(args ...string) (string, error) {
	switch {
	case p.cluster == nil:
		return "", p.notRunning()
	case len(args) > 0:
		return "", fmt.Errorf("cluster %s: arguments %q are not supported", p.name, args)
	default:
		return p.cluster.Kubeconfig(), nil
	}
}

// GetKubectlContext is the name of the kubeconfig's only context.
func (p *Provider) GetKubectlContext() string { return controlplane.KubectlContext }

// ExportLogs copies the components' logs into a directory, which it creates. Files that exist there are an error.
func (p *Provider) ExportLogs(_ context.Context, dest string) error {
	if p.cluster == nil {
		return p.notRunning()
	}
	if err := os.CopyFS(dest, os.DirFS(p.cluster.LogDir())); err != nil {
		return fmt.Errorf("cluster %s: logs: %w", p.name, err)
	}
	return nil
}

// Destroy stops the cluster. It may be called twice.
func (p *Provider) Destroy(context.Context) error {
	if p.cluster == nil {
		return nil
	}
	err := p.cluster.Stop()
	p.cluster = nil
	if err != nil {
		return fmt.Errorf("cluster %s: %w", p.name, err)
	}
	return nil
}

// WaitForControlPlane returns at once, as Create has waited, with an error if a component has died since.
func (p *Provider) WaitForControlPlane(context.Context, klient.Client) error {
	if p.cluster == nil {
		return p.notRunning()
	}
	return p.cluster.Err()
}

// KubernetesRestConfig is the configuration of a client that may do everything, nil if the cluster does not run.
func (p *Provider) KubernetesRestConfig() *rest.Config {
	if p.cluster == nil {
		return nil
	}
	config, err := p.cluster.RESTConfig("e2e-framework")
	if err != nil {
		return nil // the interface has no room for it; Create has read the same file
	}
	return config
}

// LoadImage does nothing: no container runs, so every image is there.
func (p *Provider) LoadImage(context.Context, string, ...string) error { return nil }

// LoadImageArchive does nothing: no container runs, so every image is there.
func (p *Provider) LoadImageArchive(context.Context, string, ...string) error { return nil }

func (p *Provider) notRunning() error {
	return fmt.Errorf("cluster %s: not running", p.name)
}
