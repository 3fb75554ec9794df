// Package provider chooses who makes the cluster of the end-to-end tests: the environment variable E2E_PROVIDER.
package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sigs.k8s.io/e2e-framework/klient"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/controlplane"
	local "github.com/otelier/otelier/e2e/controlplane/provider"
	"github.com/otelier/otelier/e2e/kind"
)

// The environment variables that are understood.
const (
	EnvProvider = "E2E_PROVIDER"
	EnvKeep     = "KEEP"

	envNodeImage      = "E2E_NODE_IMAGE"
	envImage          = "E2E_IMAGE"
	envCollectorImage = "E2E_COLLECTOR_IMAGE"
	envWorkbenchImage = "E2E_WORKBENCH_IMAGE"
)

// Provider makes a cluster and removes it. Those of e2e-framework are ones.
type Provider interface {
	// Create makes the cluster, unless it is there, and returns the path of its kubeconfig.
	Create(ctx context.Context, args ...string) (string, error)
	// WaitForControlPlane waits until the cluster can be used.
	WaitForControlPlane(ctx context.Context, client klient.Client) error
	// ExportLogs writes what the cluster's own parts have logged into a directory, which it makes.
	ExportLogs(ctx context.Context, dir string) error
	// Destroy removes what Create has made.
	Destroy(ctx context.Context) error
}

// Choice is a provider, with what the tests use of its cluster after Create.
type Choice struct {
	Provider
	// Name is cluster.Kind, cluster.Local or cluster.Kubeconfig.
	Name string
	// Keep says that the cluster, and what is installed in it, is to outlive the tests. It is never set of a local one.
	Keep bool

	cluster      func() cluster.Cluster
	controlPlane func() *controlplane.ControlPlane
	images       func(context.Context) (cluster.Images, error)
	imageID      func(ctx context.Context, name string) (string, error)
}

// Cluster is the cluster that Create has made.
func (c *Choice) Cluster() cluster.Cluster { return c.cluster() }

// ControlPlane is the local cluster that Create has made, nil with any other provider.
func (c *Choice) ControlPlane() *controlplane.ControlPlane { return c.controlPlane() }

// Images sees to it that the cluster, which Create has made, can run the images, and returns their names.
func (c *Choice) Images(ctx context.Context) (cluster.Images, error) { return c.images(ctx) }

// ImageID is how the status of pods names an image, "" where that is not known: there, an image never changes under its name.
func (c *Choice) ImageID(ctx context.Context, name string) (string, error) {
	return c.imageID(ctx, name)
}

// New makes the choice that the environment variables ask for; without E2E_PROVIDER it is local. name is that of the cluster, and root
// the directory of the repository. What takes long is said to out.
func New(name, root string, out io.Writer) (*Choice, error) {
	c := &Choice{
		Name:         os.Getenv(EnvProvider),
		controlPlane: func() *controlplane.ControlPlane { return nil },
		imageID:      func(context.Context, string) (string, error) { return "", nil },
	}
	keep := os.Getenv(EnvKeep)
	c.Keep = keep != "" && keep != "0"
	switch c.Name {
	case cluster.Kind:
		c.useKind(name, root, out)
	case cluster.Local, "":
		c.useLocal(name, out)
	case cluster.Kubeconfig:
		if _, err := imagesFromEnvironment(); err != nil {
			return nil, err // before anything is done to the cluster
		}
		c.useKubeconfig(out)
	default:
		return nil, fmt.Errorf("%s=%s: want %s, %s or %s", EnvProvider, c.Name, cluster.Kind, cluster.Local, cluster.Kubeconfig)
	}
	return c, nil
}

func (c *Choice) useLocal(name string, out io.Writer) {
	p := local.New()
	p.WithName(name).WithOpts(local.WithOutput(out))
	c.Provider, c.Name, c.Keep = p, cluster.Local, false
	c.controlPlane = p.ControlPlane
	c.cluster = func() cluster.Cluster { return cluster.OfControlPlane(p.ControlPlane()) }
	// No container runs, so every image is there.
	c.images = func(context.Context) (cluster.Images, error) { return cluster.BuiltImages(), nil }
}

func (c *Choice) useKind(name, root string, out io.Writer) {
	p := kind.New(kind.Options{Name: name, NodeImage: os.Getenv(envNodeImage), Out: out, Keep: c.Keep})
	c.Provider = p
	c.cluster = func() cluster.Cluster {
		if running := p.Cluster(); running != nil {
			return running
		}
		return nil
	}
	c.images = func(ctx context.Context) (cluster.Images, error) {
		images := kindImages(ctx)
		if err := cluster.BuildImages(ctx, images, root, out); err != nil {
			return images, err
		}
		return images, p.Cluster().LoadImages(ctx, images.Built()...)
	}
	c.imageID = cluster.ImageID
}

// Prepare builds what a cluster of containers takes, unless it is there, so that the tests need not.
func Prepare(ctx context.Context, root string, out io.Writer) error {
	p := kind.New(kind.Options{NodeImage: os.Getenv(envNodeImage), Out: out})
	err := p.Prepare(ctx)
	if err == nil {
		err = cluster.BuildImages(ctx, kindImages(ctx), root, out)
	}
	return errors.Join(err, p.Destroy(context.WithoutCancel(ctx)))
}

// kindImages are built here but for the collector, which the nodes pull where they can.
func kindImages(ctx context.Context) cluster.Images {
	images := cluster.BuiltImages()
	if image := os.Getenv(envCollectorImage); image != "" {
		images.Collector = image
	} else if kind.RegistryAnswers(ctx, registryOf(cluster.PublicCollector)) {
		images.Collector = cluster.PublicCollector
	}
	return images
}

// registryOf is the host that an image's name begins with.
func registryOf(image string) string {
	host, _, _ := strings.Cut(image, "/")
	return host
}

func (c *Choice) useKubeconfig(out io.Writer) {
	p := &existing{out: out}
	c.Provider = p
	c.cluster = func() cluster.Cluster { return p }
	c.images = func(context.Context) (cluster.Images, error) { return imagesFromEnvironment() }
}
