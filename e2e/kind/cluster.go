package kind

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/controlplane"
)

// Cluster is a cluster that runs. Its methods may be called from several goroutines.
type Cluster struct {
	cluster.Access
	name string
	kind string // path of the program
}

var (
	_ cluster.Cluster = (*Cluster)(nil)
	_ cluster.Nodes   = (*Cluster)(nil)
	_ cluster.Auditor = (*Cluster)(nil)
)

// Provider is cluster.Kind.
func (*Cluster) Provider() string { return cluster.Kind }

// Nodes are the names of the nodes and of their containers, that of the control plane first, the others sorted.
func (c *Cluster) Nodes(ctx context.Context) ([]string, error) {
	out, err := run(ctx, c.kind, "get", "nodes", "--name", c.name)
	if err != nil {
		return nil, err
	}
	nodes := strings.Fields(out)
	slices.SortFunc(nodes, func(a, b string) int {
		if a, b := a == c.controlPlane(), b == c.controlPlane(); a != b {
			if a {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return nodes, nil
}

func (c *Cluster) controlPlane() string { return c.name + "-control-plane" }

// Exec runs a command in a node, as root, and returns what it wrote to stdout.
func (c *Cluster) Exec(ctx context.Context, node string, command ...string) (string, error) {
	return run(ctx, "docker", append([]string{"exec", node}, command...)...)
}

// StopNode stops a node, as a machine that is shut down: systemd has some seconds to end what runs.
func (c *Cluster) StopNode(ctx context.Context, node string) error {
	_, err := run(ctx, "docker", "stop", node)
	return err
}

// StartNode starts a node that was stopped. It returns before the node is Ready.
func (c *Cluster) StartNode(ctx context.Context, node string) error {
	_, err := run(ctx, "docker", "start", node)
	return err
}

// LoadImages copies images from the engine into all nodes that do not have them.
func (c *Cluster) LoadImages(ctx context.Context, names ...string) error {
	_, err := run(ctx, c.kind, append([]string{"load", "docker-image", "--name", c.name}, names...)...)
	return err
}

// Audit is the reader of the API server's audit log.
func (c *Cluster) Audit() (*controlplane.Audit, error) {
	config, err := c.RESTConfig("audit")
	if err != nil {
		return nil, err
	}
	return controlplane.NewAudit(auditLog{c}, config)
}

// auditLog is the log in the control plane's node.
type auditLog struct{ *Cluster }

func (l auditLog) Size(ctx context.Context) (int64, error) {
	out, err := l.Exec(ctx, l.controlPlane(), "stat", "--format=%s", auditFile)
	if err != nil {
		return 0, err
	}
	size, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", auditFile, err)
	}
	return size, nil
}

func (l auditLog) Read(ctx context.Context, from, to int64) ([]byte, error) {
	script := fmt.Sprintf("tail --bytes=+%d %s", from+1, auditFile)
	if to >= 0 {
		script += fmt.Sprintf(" | head --bytes=%d", to-from)
	}
	out, err := l.Exec(ctx, l.controlPlane(), "sh", "-c", script)
	return []byte(out), err
}
