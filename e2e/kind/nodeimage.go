package kind

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/otelier/otelier/e2e/controlplane"
)

// node is the node image but for its programs.
//
//go:embed all:node
var node embed.FS

const (
	nodeRepository = "otelier.test/node"
	baseRepository = "otelier.test/debian"
	suite          = "bookworm"
)

// basePackages are what a node takes of Debian: an init system, and what kubelet, kube-proxy and containers call.
func basePackages() []string {
	return []string{
		"systemd", "systemd-sysv", "dbus", "iptables", "nftables", "iproute2", "conntrack", "ethtool", "socat", "kmod", "mount", "util-linux",
		"ca-certificates", "runc", "containernetworking-plugins", "procps", "hostname", "busybox-static",
	}
}

// BuildNodeImage builds an image for the nodes of a kind cluster from Debian's packages and Go modules, unless the engine has it, and
// returns its name. It takes root, for debootstrap.
func BuildNodeImage(ctx context.Context, out io.Writer) (string, error) {
	if os.Geteuid() != 0 {
		return "", errors.New("node image: no registry answers, and only root can build one; set E2E_NODE_IMAGE to one of kind's that the engine has")
	}
	programs, err := controlplane.EnsureNodePrograms(ctx, out)
	if err != nil {
		return "", err
	}
	version, err := controlplane.KubernetesVersion()
	if err != nil {
		return "", err
	}
	own, err := os.MkdirTemp("", "otelier-node-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(own) //nolint:errcheck // in the system's directory for temporary files
	for _, name := range []string{"nolimit", "pause"} {
		programs[name] = filepath.Join(own, name)
		if err := controlplane.BuildProgram(ctx, name, programs[name]); err != nil {
			return "", err
		}
	}
	sum, err := digest(programs)
	if err != nil {
		return "", fmt.Errorf("node image: %w", err)
	}
	name := nodeRepository + ":" + version + "-" + sum
	if has(ctx, name) {
		return name, nil
	}
	base, err := baseImage(ctx, out)
	if err != nil {
		return "", fmt.Errorf("node image: %w", err)
	}
	started := time.Now()
	say(out, "node image %s: building, about 30 s … ", name)
	b := &nodeBuild{version: version, base: base, programs: programs, dir: filepath.Join(own, "context")}
	if err := b.run(ctx, name); err != nil {
		say(out, "failed\n")
		return "", fmt.Errorf("node image: %w", err)
	}
	say(out, "done in %s\n", time.Since(started).Round(time.Second))
	removeOthers(ctx, name)
	return name, nil
}

// removeOthers removes node images of former states of the repository, but for those that a cluster uses.
func removeOthers(ctx context.Context, name string) {
	images, _ := run(ctx, "docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", nodeRepository)
	for image := range strings.FieldsSeq(images) {
		if image != name {
			_, _ = run(ctx, "docker", "image", "rm", image)
		}
	}
}

// digest is that of all that goes into a node image.
func digest(programs controlplane.Programs) (string, error) {
	hash := sha256.New()
	err := fs.WalkDir(node, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := node.ReadFile(name)
		_, _ = fmt.Fprintf(hash, "%s %d\n%s", name, len(data), data) // a hash takes everything
		return err
	})
	if err != nil {
		return "", err
	}
	names := make([]string, 0, len(programs))
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		file, err := os.Open(programs[name])
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintln(hash, name)
		_, err = io.Copy(hash, file)
		if err := errors.Join(err, file.Close()); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}

// has says whether the engine has an image.
func has(ctx context.Context, name string) bool {
	_, err := run(ctx, "docker", "image", "inspect", "--format", "{{.Id}}", name)
	return err == nil
}

// baseImage is a small Debian with the packages of a node, which is made unless the engine has it.
func baseImage(ctx context.Context, out io.Writer) (string, error) {
	packages := strings.Join(basePackages(), ",")
	sum := sha256.Sum256([]byte(packages))
	name := baseRepository + ":" + suite + "-" + hex.EncodeToString(sum[:])[:12]
	if has(ctx, name) {
		return name, nil
	}
	if err := installed(ctx, out, "debootstrap", "debootstrap"); err != nil {
		return "", err
	}
	cache, err := controlplane.CacheDir()
	if err != nil {
		return "", err
	}
	// Not in the directory for temporary files, which may be mounted without devices.
	const prefix = "debootstrap-"
	left, _ := filepath.Glob(filepath.Join(cache, prefix+"*")) // by a run that was killed
	for _, dir := range left {
		removeRoot(dir)
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(cache, prefix)
	if err != nil {
		return "", err
	}
	defer removeRoot(dir)
	started := time.Now()
	say(out, "%s: making it of Debian's packages, about 70 s … ", name)
	if _, err = run(ctx, "debootstrap", "--variant=minbase", "--include="+packages, suite, dir); err == nil {
		script := `rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/* && tar --directory="$1" --create . | docker import - "$2"`
		_, err = run(ctx, "bash", "-o", "pipefail", "-c", script, "bash", dir, name)
	}
	if err != nil {
		say(out, "failed\n")
		return "", err
	}
	say(out, "done in %s\n", time.Since(started).Round(time.Second))
	return name, nil
}

// removeRoot removes a directory that debootstrap has worked in. When it was interrupted, file systems may be mounted there.
func removeRoot(dir string) {
	for _, mount := range []string{"proc", "sys"} {
		_ = syscall.Unmount(filepath.Join(dir, mount), syscall.MNT_DETACH)
	}
	_ = os.RemoveAll(dir)
}

// nodeBuild builds one node image.
type nodeBuild struct {
	version  string // of Kubernetes
	base     string
	programs controlplane.Programs
	dir      string // for all files that go into it
}

func (b *nodeBuild) run(ctx context.Context, name string) error {
	pause, err := b.images(ctx)
	if err != nil {
		return err
	}
	if err := b.files(pause); err != nil {
		return err
	}
	for _, program := range []string{
		controlplane.Containerd, controlplane.RuncShim, controlplane.ContainerCtl, controlplane.Kubelet, controlplane.Kubeadm, "kubectl",
	} {
		if err := copyProgram(b.programs[program], filepath.Join(b.dir, "bin", program)); err != nil {
			return err
		}
	}
	if err := copyProgram(b.programs["nolimit"], filepath.Join(b.dir, "nolimit")); err != nil {
		return err
	}
	_, err = run(ctx, "docker", "build", "--quiet", "--build-arg", "BASE="+b.base, "--tag", name, b.dir)
	return err
}

// files writes the files of the repository, with the name of the image that containerd runs first in each pod.
func (b *nodeBuild) files(pause string) error {
	sub, err := fs.Sub(node, "node")
	if err != nil {
		return err
	}
	if err := os.CopyFS(b.dir, sub); err != nil {
		return err
	}
	programs, err := filepath.Glob(filepath.Join(b.dir, "rootfs/usr/local/bin/*"))
	if err != nil {
		return err
	}
	for _, program := range programs { // an embedded file is not executable
		if err := os.Chmod(program, 0o755); err != nil { //nolint:gosec // for all users of the node
			return err
		}
	}
	config := filepath.Join(b.dir, "rootfs/etc/containerd/config.toml")
	data, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	version := filepath.Join(b.dir, "rootfs/kind/version") // where kind looks for it
	return errors.Join(os.WriteFile(config, []byte(strings.ReplaceAll(string(data), "PAUSE_IMAGE", pause)), 0o600),
		os.WriteFile(version, []byte(b.version), 0o600))
}

// images builds the images of the control plane under the names that kubeadm gives them, and puts them where a node looks for them. It
// returns the name of the one for sandboxes.
func (b *nodeBuild) images(ctx context.Context) (pause string, err error) {
	list, err := run(ctx, b.programs[controlplane.Kubeadm], "config", "images", "list", "--kubernetes-version", b.version)
	if err != nil {
		return "", err
	}
	for image := range strings.FieldsSeq(list) {
		repository, _, _ := strings.Cut(image, ":")
		program := path.Base(repository)
		where := "control-plane"
		switch program {
		case "pause":
			pause, where = image, "node"
		case controlplane.KubeProxy, controlplane.CoreDNS:
			where = "node"
		}
		if b.programs[program] == "" {
			return "", fmt.Errorf("image %s: no program %s", image, program)
		}
		if err := b.image(ctx, image, program); err != nil {
			return "", fmt.Errorf("image %s: %w", image, err)
		}
		archive := filepath.Join(b.dir, "images", where, program+".tar")
		if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
			return "", err
		}
		if _, err := run(ctx, "docker", "save", "--output", archive, image); err != nil {
			return "", err
		}
		if _, err := run(ctx, "docker", "image", "rm", image); err != nil { // it is of no use but in a node
			return "", err
		}
	}
	if pause == "" {
		return "", fmt.Errorf("kubeadm lists no image for sandboxes: %s", list)
	}
	return pause, nil
}

// image builds an image of one program. Manifests of kubeadm give its bare name, or nothing.
func (b *nodeBuild) image(ctx context.Context, name, program string) error {
	root, err := os.MkdirTemp("", "otelier-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root) //nolint:errcheck // in the system's directory for temporary files
	if program == controlplane.KubeProxy {
		files, err := node.ReadFile("node/kube-proxy-files.sh")
		if err != nil {
			return err
		}
		script := `docker run --rm --interactive "$1" sh | tar --directory="$2" --absolute-names --transform='s,^/,,' --extract`
		if _, err := pipe(ctx, strings.NewReader(string(files)), "bash", "-o", "pipefail", "-c", script, "bash", b.base, root); err != nil {
			return err
		}
	}
	if err := copyProgram(b.programs[program], filepath.Join(root, "usr/local/bin", program)); err != nil {
		return err
	}
	script := `tar --directory="$1" --owner=0 --group=0 --create . | docker import --change "ENV PATH=/usr/local/bin:/usr/sbin" --change "ENTRYPOINT $3" - "$2"`
	entrypoint := "[]"
	if program == "pause" || program == controlplane.CoreDNS {
		entrypoint = fmt.Sprintf("[%q]", "/usr/local/bin/"+program)
	}
	_, err = run(ctx, "bash", "-o", "pipefail", "-c", script, "bash", root, name, entrypoint)
	return err
}

// copyProgram copies an executable file, and makes the directory it goes to.
func copyProgram(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755) //nolint:gosec // a program
}
