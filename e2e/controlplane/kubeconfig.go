package controlplane

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// KubectlContext is the name of the only context in a kubeconfig of a control plane.
const KubectlContext = "otelier"

// identity is a user the API server knows by a token.
type identity struct {
	user   string
	groups []string
	token  string
}

// identities are those of the components, and admin's. The scheduler gets by with the role that the API server creates
// for it. The controller manager acts for all its controllers, and kwok for every kubelet, so they may do everything.
func identities() map[string]identity {
	const masters = "system:masters"
	return map[string]identity{
		admin:             {"kubernetes-admin", []string{masters}, newToken()},
		ControllerManager: {"system:kube-controller-manager", []string{masters}, newToken()},
		Scheduler:         {"system:kube-scheduler", nil, newToken()},
		Kwok:              {"kwok", []string{masters}, newToken()},
	}
}

const admin = "admin"

// writeTokens writes the API server's --token-auth-file.
func writeTokens(file string, ids map[string]identity) error {
	var lines strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&lines, "%s,%s,%s,%q\n", id.token, id.user, id.user, strings.Join(id.groups, ","))
	}
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	return nil
}

// kubeconfig returns the access of one identity to an address of the API server, self-contained.
func (cp *ControlPlane) kubeconfig(server string, id identity) (*api.Config, error) {
	ca, err := os.ReadFile(cp.pki.file("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	const name = KubectlContext
	config := api.NewConfig()
	config.Clusters[name] = &api.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos[name] = &api.AuthInfo{Token: id.token}
	config.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	return config, nil
}

func (cp *ControlPlane) writeKubeconfigs(ids map[string]identity) error {
	for name, id := range ids {
		server := cp.URL()
		if name == Kwok {
			server = cp.kwokURL()
		}
		config, err := cp.kubeconfig(server, id)
		if err != nil {
			return err
		}
		if err := writeKubeconfig(config, cp.kubeconfigFile(name)); err != nil {
			return err
		}
	}
	return nil
}

func writeKubeconfig(config *api.Config, file string) error {
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return nil
}

func (cp *ControlPlane) kubeconfigFile(name string) string {
	return filepath.Join(cp.dir, name+".kubeconfig")
}

// Kubeconfig is the path of a kubeconfig that may do everything.
func (cp *ControlPlane) Kubeconfig() string { return cp.kubeconfigFile(admin) }

// KubeconfigAs writes a kubeconfig that acts as another user, by impersonation, and returns its path. Nothing has to
// exist for it. A service account is named "system:serviceaccount:NAMESPACE:NAME"; given no groups, the API server adds
// the ones it has. The file goes when the control plane stops.
//
// https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/
func (cp *ControlPlane) KubeconfigAs(user string, groups ...string) (string, error) {
	config, err := cp.kubeconfig(cp.URL(), cp.admin)
	if err != nil {
		return "", err
	}
	for _, auth := range config.AuthInfos {
		auth.Impersonate, auth.ImpersonateGroups = user, groups
	}
	file, err := os.CreateTemp(cp.dir, "as-*.kubeconfig")
	if err != nil {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	if err := file.Close(); err != nil {
		return "", fmt.Errorf("kubeconfig: %w", err)
	}
	return file.Name(), writeKubeconfig(config, file.Name())
}
