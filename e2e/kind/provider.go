// Package kind makes clusters of containers with kind, from the images that kind publishes or, where no registry answers, from a node
// image that is built here.
//
// https://kind.sigs.k8s.io
package kind

import (
	"context"
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/e2e-framework/klient"

	"github.com/otelier/otelier/e2e/controlplane"
)

// Options of a cluster.
type Options struct {
	// Name of the cluster, and beginning of the names of its containers.
	Name string
	// Workers is the number of nodes beside the one of the control plane. Default: 2.
	Workers int
	// NodeImage is the image of the nodes. Default: the one that belongs to kind where a registry answers, else one that is built.
	NodeImage string
	// Out is told what takes long. Default: nobody is.
	Out io.Writer
	// Keep says that the cluster, and an engine that was started for it, outlive the program. A cluster of the name that is there is used
	// in any case.
	Keep bool
}

// Provider makes a cluster and removes it.
type Provider struct {
	options Options
	engine  *Engine
	lock    *os.File
	program string // kind
	cluster *Cluster
}

// New returns a provider whose cluster does not run yet.
func New(options Options) *Provider {
	if options.Workers == 0 {
		options.Workers = 2
	}
	if options.Out == nil {
		options.Out = io.Discard
	}
	return &Provider{options: options}
}

// Cluster is the running cluster; nil before Create and after Destroy.
func (p *Provider) Cluster() *Cluster { return p.cluster }

// Create makes the cluster, and before that what it takes: an engine, kind, a node image. A cluster of the name that is there is taken as
// it is. It returns the path of the kubeconfig.
func (p *Provider) Create(ctx context.Context, _ ...string) (string, error) {
	if p.cluster != nil {
		return p.cluster.Kubeconfig(), nil
	}
	if err := p.prepare(ctx); err != nil {
		return "", fmt.Errorf("cluster %s: %w", p.options.Name, err)
	}
	if err := p.find(ctx); err != nil {
		// What was made may be half of a cluster. An engine that can't be stopped is not what went wrong.
		_ = p.giveUp(context.WithoutCancel(ctx))
		return "", fmt.Errorf("cluster %s: %w", p.options.Name, err)
	}
	return p.cluster.Kubeconfig(), nil
}

// prepare sees to the engine and to kind.
func (p *Provider) prepare(ctx context.Context) (err error) {
	if p.lock, err = lock(p.options.Name); err != nil {
		return err
	}
	if p.engine, err = StartEngine(ctx, p.options.Out, p.options.Keep); err != nil {
		return err
	}
	p.program, err = controlplane.EnsureKind(ctx, p.options.Out)
	return err
}

// Prepare does everything but to make the cluster, so that the next Create takes no longer than it has to. Destroy is due all the same: it
// stops an engine that was started.
func (p *Provider) Prepare(ctx context.Context) error {
	err := p.prepare(ctx)
	if err == nil {
		_, err = p.nodeImage(ctx)
	}
	return err
}

// nodeImage is the image that is to be used, "" for the one that belongs to kind.
func (p *Provider) nodeImage(ctx context.Context) (string, error) {
	if p.options.NodeImage != "" {
		return p.options.NodeImage, nil
	}
	if RegistryAnswers(ctx, DockerHub) {
		return "", nil
	}
	return BuildNodeImage(ctx, p.options.Out)
}

// ExportLogs writes what the nodes and all containers in them have logged into a directory, which it makes.
func (p *Provider) ExportLogs(ctx context.Context, dest string) error {
	if p.program == "" {
		return p.notRunning()
	}
	_, err := p.kind(ctx, "export", "logs", dest, "--name", p.options.Name)
	return err
}

// Destroy removes the cluster, and stops the engine if it was started for it, unless both are to be kept. It may be called twice.
func (p *Provider) Destroy(ctx context.Context) error {
	if p.options.Keep {
		p.cluster = nil
		return p.unlock()
	}
	return p.giveUp(ctx)
}

// WaitForControlPlane returns when all nodes, and the name server of the cluster, are ready.
func (p *Provider) WaitForControlPlane(ctx context.Context, _ klient.Client) error {
	if p.cluster == nil {
		return p.notRunning()
	}
	for _, args := range [][]string{
		{"wait", "--for=condition=Ready", "nodes", "--all", "--timeout=3m"},
		{"--namespace=kube-system", "rollout", "status", "deployment/coredns", "--timeout=3m"},
	} {
		if out, err := p.cluster.KubectlCommand(ctx, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("cluster %s: %w\n%s", p.options.Name, err, out)
		}
	}
	return nil
}

func (p *Provider) kind(ctx context.Context, args ...string) (string, error) {
	return run(ctx, p.program, args...)
}

func (p *Provider) notRunning() error { return fmt.Errorf("cluster %s: not running", p.options.Name) }
