package controlplane

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Programs of nodes that run containers, and kind, which makes clusters of such nodes.
const (
	Kubelet      = "kubelet"
	Kubeadm      = "kubeadm"
	KubeProxy    = "kube-proxy"
	Containerd   = "containerd"
	RuncShim     = "containerd-shim-runc-v2"
	ContainerCtl = "ctr"
	CoreDNS      = "coredns"
	Kind         = "kind"
)

// nodePieces are what a node runs beside the control plane's programs. The estimates were measured on 2 cores with an empty Go build
// cache, after the control plane was built.
func nodePieces() []piece {
	const (
		k8s        = "k8s.io/kubernetes"
		containerd = "github.com/containerd/containerd/v2"
		coredns    = "github.com/coredns/coredns"
		untagged   = "no_btrfs,no_zfs,no_aufs,no_devmapper" // without snapshotters that take C libraries
	)
	return []piece{
		{Kubelet, k8s, k8s + "/cmd/kubelet", "kubernetes", 20 * time.Second, ""},
		{Kubeadm, k8s, k8s + "/cmd/kubeadm", "kubernetes", 20 * time.Second, ""},
		{KubeProxy, k8s, k8s + "/cmd/kube-proxy", "kubernetes", 10 * time.Second, ""},
		{Containerd, containerd, containerd + "/cmd/containerd", "containerd", 50 * time.Second, untagged},
		{RuncShim, containerd, containerd + "/cmd/containerd-shim-runc-v2", "containerd", 10 * time.Second, untagged},
		{ContainerCtl, containerd, containerd + "/cmd/ctr", "containerd", 10 * time.Second, untagged},
		{CoreDNS, coredns, coredns, "coredns", 105 * time.Second, ""},
	}
}

func kindPiece() piece {
	const module = "sigs.k8s.io/kind"
	return piece{Kind, module, module, Kind, 15 * time.Second, ""}
}

// Programs are paths of programs by their names.
type Programs map[string]string

// EnsureKind makes sure that there is the kind that the repository pins, and returns its path. Directories are as with [EnsureAssets].
func EnsureKind(ctx context.Context, out io.Writer) (string, error) {
	programs, err := ensurePrograms(ctx, out, []piece{kindPiece()})
	return programs[Kind], err
}

// EnsureNodePrograms makes sure that there is what a node of a cluster runs, and what the node of its control plane runs: the constants of
// this package but for kwok and kind. Directories are as with [EnsureAssets].
func EnsureNodePrograms(ctx context.Context, out io.Writer) (Programs, error) {
	assets, err := EnsureAssets(ctx, out)
	if err != nil {
		return nil, err
	}
	programs, err := ensurePrograms(ctx, out, nodePieces())
	if err != nil {
		return nil, err
	}
	for _, name := range []string{Etcd, APIServer, ControllerManager, Scheduler, kubectl} {
		programs[name] = assets.Binary(name)
	}
	return programs, nil
}

// ensurePrograms builds the pieces that are not there. One that is in the directory named by OTELIER_ASSETS is taken as it is.
func ensurePrograms(ctx context.Context, out io.Writer, pieces []piece) (Programs, error) {
	b, err := newBuilder(out)
	if err != nil {
		return nil, err
	}
	supervise, err := b.ensureSupervise(ctx)
	if err != nil {
		return nil, err
	}
	programs := Programs{}
	for _, p := range pieces {
		if programs[p.name], err = b.ensurePiece(ctx, supervise, p); err != nil {
			return nil, err
		}
	}
	return programs, nil
}

// ensurePiece returns the path of a piece that is named after its version, having built it if it was not there.
func (b *builder) ensurePiece(ctx context.Context, supervise string, p piece) (string, error) {
	if dir := os.Getenv(envAssets); dir != "" {
		path, err := filepath.Abs(filepath.Join(dir, p.name))
		if err != nil {
			return "", fmt.Errorf("%s: %w", envAssets, err)
		}
		if executable(path) {
			return path, nil
		}
	}
	version, err := p.version(b.root)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache, "node", strings.Join([]string{p.tools, version, runtime.GOOS, runtime.GOARCH}, "-"))
	path := filepath.Join(dir, p.name)
	if executable(path) {
		return path, nil
	}
	return path, b.locked(ctx, dir, func() error {
		if executable(path) {
			return nil
		}
		return b.buildPiece(ctx, supervise, p, path)
	})
}

// BuildProgram builds one of the small static programs in e2e/cmd for Linux, at path.
func BuildProgram(ctx context.Context, name, path string) error {
	b, err := newBuilder(nil)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.root, "e2e", "cmd", name)
	if err := b.run(ctx, dir, "env", "GOOS=linux", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "."); err != nil {
		return fmt.Errorf("%s: build: %w", name, err)
	}
	return nil
}

// EnsureSupervise makes sure that there is the program supervise, and returns its path.
func EnsureSupervise(ctx context.Context) (string, error) {
	b, err := newBuilder(nil)
	if err != nil {
		return "", err
	}
	return b.ensureSupervise(ctx)
}

// CacheDir is the directory in which everything that is built for the tests stays: otelier in the user's cache directory, or OTELIER_CACHE.
func CacheDir() (string, error) { return cacheDir() }

// KubernetesVersion is the version of Kubernetes that the repository pins, such as v1.36.3.
func KubernetesVersion() (string, error) {
	root, err := repositoryRoot()
	if err != nil {
		return "", err
	}
	all := pieces()
	return all[slices.IndexFunc(all, func(p piece) bool { return p.name == APIServer })].version(root)
}
