package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// Names of the components, as [ControlPlane.Freeze], [ControlPlane.Binary] and the log files use them.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kwok              = "kwok"
	kubectl           = "kubectl"
	supervise         = "supervise"
)

const (
	envAssets = "OTELIER_ASSETS"
	envCache  = "OTELIER_CACHE"
)

// Assets are the programs a control plane consists of.
type Assets struct {
	dir       string
	supervise string
	stages    []string
}

// Binary is the path of a program: a component's name, or kubectl.
func (a Assets) Binary(name string) string {
	if name == supervise {
		return a.supervise
	}
	return filepath.Join(a.dir, name)
}

// Dir is the directory of the programs.
func (a Assets) Dir() string { return a.dir }

// EnsureAssets makes sure that the programs exist and returns them.
//
// The directory named by the environment variable OTELIER_ASSETS is used as it is, if set. Otherwise they are built
// once, in a directory named after their versions below the user's cache directory (or OTELIER_CACHE). What that takes is
// written to out, a line per program. Of several processes that need them at the same time one builds, the others wait.
//
// It needs the source tree that the working directory is in, for the versions and for the small programs that are ours.
func EnsureAssets(ctx context.Context, out io.Writer) (Assets, error) {
	b, err := newBuilder(out)
	if err != nil {
		return Assets{}, err
	}
	if dir := os.Getenv(envAssets); dir != "" {
		return b.prebuilt(ctx, dir)
	}
	return b.ensure(ctx)
}

func newBuilder(out io.Writer) (*builder, error) {
	if out == nil {
		out = io.Discard
	}
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	return &builder{root: root, cache: cache, out: out, run: runCommand, now: time.Now}, nil
}

// piece is one program to build from a Go module of its own.
type piece struct {
	name     string
	module   string // whose version it has
	pkg      string
	tools    string // directory of the go.mod that pins it, below hack/tools
	estimate time.Duration
	tags     string // for go build
}

// pieces are built in this order. The estimates were measured on 2 cores with an empty Go build cache.
func pieces() []piece {
	const k8s = "k8s.io/kubernetes"
	return []piece{
		{Etcd, "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", "etcd", 45 * time.Second, ""},
		{APIServer, k8s, k8s + "/cmd/kube-apiserver", "kubernetes", 240 * time.Second, ""},
		{ControllerManager, k8s, k8s + "/cmd/kube-controller-manager", "kubernetes", 60 * time.Second, ""},
		{Scheduler, k8s, k8s + "/cmd/kube-scheduler", "kubernetes", 5 * time.Second, ""},
		{kubectl, k8s, k8s + "/cmd/kubectl", "kubernetes", 20 * time.Second, ""},
		{Kwok, kwokModule, kwokModule + "/cmd/kwok", "kwok", 70 * time.Second, ""},
	}
}

// version reads the version of a piece's module from the go.mod that pins it.
func (p piece) version(root string) (string, error) {
	file := filepath.Join(root, "hack", "tools", p.tools, "go.mod")
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", p.name, err)
	}
	line := regexp.MustCompile(`(?m)^\s*(?:require\s+)?` + regexp.QuoteMeta(p.module) + `\s+(v\S+)`)
	found := line.FindSubmatch(data)
	if found == nil {
		return "", fmt.Errorf("version of %s: %s requires no %s", p.name, file, p.module)
	}
	return string(found[1]), nil
}

// key names the directory that holds one set of assets.
func key(root string) (string, error) {
	var parts []string
	seen := map[string]bool{}
	for _, p := range pieces() {
		if seen[p.tools] {
			continue
		}
		seen[p.tools] = true
		version, err := p.version(root)
		if err != nil {
			return "", err
		}
		parts = append(parts, p.tools+"-"+version)
	}
	return strings.Join(append(parts, runtime.GOOS+"-"+runtime.GOARCH), "_"), nil
}

func cacheDir() (string, error) {
	if dir := os.Getenv(envCache); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache directory: %w; set %s", err, envCache)
	}
	return filepath.Join(dir, "otelier"), nil
}

// repositoryRoot finds the directory above the working directory that pins the control plane's versions.
func repositoryRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	marker := filepath.Join("hack", "tools", "kubernetes", "go.mod")
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, marker)); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("repository root: no directory above %s has %s", start, marker)
		}
	}
}

// prebuilt takes the programs from a directory somebody else filled.
func (b *builder) prebuilt(ctx context.Context, dir string) (Assets, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Assets{}, fmt.Errorf("%s: %w", envAssets, err)
	}
	var missing []string
	for _, p := range pieces() {
		if !executable(filepath.Join(dir, p.name)) {
			missing = append(missing, p.name)
		}
	}
	if len(missing) > 0 {
		return Assets{}, fmt.Errorf("%s=%s: no executable %s in it", envAssets, dir, strings.Join(missing, ", "))
	}
	assets := Assets{dir: dir, supervise: filepath.Join(dir, supervise)}
	if !executable(assets.supervise) {
		if assets.supervise, err = b.ensureSupervise(ctx); err != nil {
			return Assets{}, err
		}
	}
	if assets.stages, err = stageFiles(filepath.Join(dir, stagesDir)); errors.Is(err, os.ErrNotExist) {
		assets.stages, err = b.moduleStages(ctx)
	}
	return assets, err
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
