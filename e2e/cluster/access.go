package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/otelier/otelier/e2e/controlplane"
)

// Access is the part of a Cluster that takes no more than a kubeconfig.
type Access struct {
	// File is the path of the kubeconfig. Its current context may do everything.
	File string
	// Kubectl is the path of kubectl.
	Kubectl string
	// Dir is an existing directory of the cluster's own, for further kubeconfigs and for what kubectl remembers.
	Dir string
}

// Kubeconfig is the path of the kubeconfig.
func (a Access) Kubeconfig() string { return a.File }

// KubeconfigAs writes a kubeconfig that acts as another user, by impersonation, into a.Dir.
//
// https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/
func (a Access) KubeconfigAs(user string, groups ...string) (string, error) {
	config, err := a.minified()
	if err != nil {
		return "", err
	}
	for _, auth := range config.AuthInfos {
		auth.Impersonate, auth.ImpersonateGroups = user, groups
	}
	file, err := os.CreateTemp(a.Dir, "as-*.kubeconfig")
	if err != nil {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	if err := file.Close(); err != nil {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	if err := clientcmd.WriteToFile(*config, file.Name()); err != nil {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	return file.Name(), nil
}

// minified is the kubeconfig with its current context alone, and without references to other files by relative paths.
func (a Access) minified() (*api.Config, error) {
	config, err := clientcmd.LoadFromFile(a.File)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	if err := api.MinifyConfig(config); err != nil {
		return nil, fmt.Errorf("kubeconfig: %s: %w", a.File, err)
	}
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		return nil, fmt.Errorf("kubeconfig: %s: %w", a.File, err)
	}
	return config, nil
}

// RESTConfig is the configuration of a client with the given User-Agent and no rate limit.
func (a Access) RESTConfig(userAgent string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", a.File)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.UserAgent, config.QPS = userAgent, -1
	return config, nil
}

// KubectlCommand prepares a run of kubectl. What it remembers of the cluster stays in a.Dir.
func (a Access) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cache := filepath.Join(a.Dir, "kubectl")
	cmd := exec.CommandContext(ctx, a.Kubectl, append([]string{"--kubeconfig", a.File, "--cache-dir", cache}, args...)...)
	cmd.Env = append(os.Environ(), "KUBERC=off") // not what the user prefers
	apart(cmd)
	return cmd
}

// FindKubectl is the kubectl of the user, or the one that is built with the local control plane.
func FindKubectl(ctx context.Context, out io.Writer) (string, error) {
	if path, err := exec.LookPath("kubectl"); err == nil {
		return path, nil
	}
	assets, err := controlplane.EnsureAssets(ctx, out)
	if err != nil {
		return "", fmt.Errorf("kubectl: not found, and not built: %w", err)
	}
	return assets.Binary("kubectl"), nil
}

// apart has a command, with all that it has started, told to end when its context does, and only then: Ctrl-C is for the tests, which have
// to clean up by such commands.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
}
