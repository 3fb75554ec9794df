// Package cluster is what the end-to-end tests need of a cluster, whoever has made it: one of containers (kind), a control plane
// whose nodes are simulated (local), or one that is there already (kubeconfig).
package cluster

import (
	"context"
	"os/exec"

	"k8s.io/client-go/rest"

	"github.com/otelier/otelier/e2e/controlplane"
)

// The providers, as the environment variable E2E_PROVIDER names them.
const (
	Kind       = "kind"
	Local      = "local"
	Kubeconfig = "kubeconfig"
)

// Cluster is a cluster that runs. Its methods may be called from several goroutines.
type Cluster interface {
	// Provider is one of Kind, Local and Kubeconfig.
	Provider() string
	// Kubeconfig is the path of a kubeconfig that may do everything.
	Kubeconfig() string
	// KubeconfigAs writes a kubeconfig that acts as another user, by impersonation, and returns its path. Nothing has to exist for
	// it. A service account is named "system:serviceaccount:NAMESPACE:NAME"; given no groups, the API server adds the ones it has.
	KubeconfigAs(user string, groups ...string) (string, error)
	// RESTConfig is the configuration of a client that may do everything, with the given User-Agent and no rate limit.
	RESTConfig(userAgent string) (*rest.Config, error)
	// KubectlCommand prepares a run of kubectl that may do everything.
	KubectlCommand(ctx context.Context, args ...string) *exec.Cmd
}

// Nodes is what only clusters with real nodes can do.
type Nodes interface {
	// Nodes are the names of the nodes, those of the control plane first.
	Nodes(ctx context.Context) ([]string, error)
	// Exec runs a command in a node, as root, and returns what it printed.
	Exec(ctx context.Context, node string, command ...string) (string, error)
	// StopNode stops a node, for as long as that takes. Its pods die with it.
	StopNode(ctx context.Context, node string) error
	// StartNode starts a node again. It returns when it is started, not when it is Ready.
	StartNode(ctx context.Context, node string) error
	// LoadImages copies images from the engine into all nodes.
	LoadImages(ctx context.Context, names ...string) error
}

// Auditor tells from the API server's audit log who has written what.
type Auditor interface {
	Audit() (*controlplane.Audit, error)
}
