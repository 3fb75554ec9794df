package program

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Kubectl prepares runs of kubectl against a cluster. *controlplane.ControlPlane is one.
type Kubectl interface {
	KubectlCommand(ctx context.Context, args ...string) *exec.Cmd
}

// InstallCRDs is otelier crds | kubectl apply --server-side -f - and waits until the API server serves them.
func InstallCRDs(ctx context.Context, binary string, k Kubectl) error {
	show := exec.CommandContext(ctx, binary, "crds")
	show.Env = Environment()
	manifest, err := show.Output()
	if err != nil {
		return fmt.Errorf("otelier crds: %w", err)
	}
	return installDefinitions(ctx, k, manifest)
}

// InstallMonitorCRDs installs the definitions of ServiceMonitor, PodMonitor, Probe and ScrapeConfig that are in the module of
// prometheus-operator which the program is built with, and waits until the API server serves them.
func InstallMonitorCRDs(ctx context.Context, k Kubectl) error {
	dir, err := moduleDir(ctx, "github.com/prometheus-operator/prometheus-operator")
	if err != nil {
		return err
	}
	var manifest []byte
	for _, name := range []string{"servicemonitors", "podmonitors", "probes", "scrapeconfigs"} {
		data, err := os.ReadFile(filepath.Join(dir, "example", "prometheus-operator-crd", "monitoring.coreos.com_"+name+".yaml"))
		if err != nil {
			return fmt.Errorf("CRDs of monitors: %w", err)
		}
		manifest = append(append(manifest, "---\n"...), data...)
	}
	return installDefinitions(ctx, k, manifest)
}

func installDefinitions(ctx context.Context, k Kubectl, manifest []byte) error {
	apply := k.KubectlCommand(ctx, "apply", "--server-side", "-f", "-")
	apply.Stdin = bytes.NewReader(manifest)
	if out, err := apply.CombinedOutput(); err != nil {
		return fmt.Errorf("install CRDs: %w\n%s", err, out)
	}
	return established(ctx, k, manifest)
}

// established waits until the API server serves what the manifest defines. kubectl wait ends with an error when a definition
// is so young that it has no list of conditions yet, and is tried again then.
func established(ctx context.Context, k Kubectl, manifest []byte) error {
	const attempts = 20
	var err error
	for range attempts {
		wait := k.KubectlCommand(ctx, "wait", "--for=condition=Established", "--timeout=60s", "-f", "-")
		wait.Stdin = bytes.NewReader(manifest)
		var out []byte
		if out, err = wait.CombinedOutput(); err == nil {
			return nil
		}
		err = fmt.Errorf("install CRDs: %w\n%s", err, out)
		if !bytes.Contains(out, []byte("accessor error")) {
			return err
		}
	}
	return err
}
