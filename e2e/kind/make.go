package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/controlplane"
)

// find opens the cluster if there is one that works, and makes it if not: half of one may have been left by a run that was killed.
func (p *Provider) find(ctx context.Context) error {
	exists, err := p.exists(ctx)
	if err != nil {
		return err
	}
	if exists {
		if p.cluster, err = p.open(ctx); err == nil {
			if _, err = p.cluster.KubectlCommand(ctx, "get", "--raw", "/readyz", "--request-timeout=20s").Output(); err == nil {
				return nil
			}
		}
		say(p.options.Out, "cluster %s: there is one that does not answer, which is removed\n", p.options.Name)
		p.cluster = nil
		if err := p.remove(ctx); err != nil {
			return err
		}
	}
	if err := p.make(ctx); err != nil {
		return err
	}
	p.cluster, err = p.open(ctx)
	return err
}

func (p *Provider) exists(ctx context.Context) (bool, error) {
	out, err := p.kind(ctx, "get", "clusters")
	return slices.Contains(strings.Fields(out), p.options.Name), err
}

// make makes the cluster. When that fails the error has the end of what its nodes say.
func (p *Provider) make(ctx context.Context) error {
	image, err := p.nodeImage(ctx)
	if err != nil {
		return err
	}
	dir, err := p.dir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	config := filepath.Join(dir, "kind.yaml")
	v1, err := cgroupV1(ctx)
	if err == nil {
		err = writeConfig(config, dir, p.options.Workers, v1)
	}
	if err != nil {
		return err
	}
	args := []string{"create", "cluster", "--name", p.options.Name, "--config", config, "--kubeconfig", filepath.Join(dir, "kubeconfig"), "--retain", "--wait", "3m"}
	if image != "" {
		args = append(args, "--image", image)
	}
	started := time.Now()
	say(p.options.Out, "cluster %s: starting %d nodes … ", p.options.Name, p.options.Workers+1)
	if _, err := p.kind(ctx, args...); err != nil {
		say(p.options.Out, "failed\n")
		return fmt.Errorf("%w\n%s", err, p.lastWords(context.WithoutCancel(ctx)))
	}
	say(p.options.Out, "done in %s\n", time.Since(started).Round(time.Second))
	return nil
}

// lastWords are the ends of the logs of the nodes, of a cluster that could not be made.
func (p *Provider) lastWords(ctx context.Context) string {
	nodes, _ := p.kind(ctx, "get", "nodes", "--name", p.options.Name)
	var words []string
	for node := range strings.FieldsSeq(nodes) {
		log, _ := exec.CommandContext(ctx, "docker", "logs", "--tail", "10", node).CombinedOutput()
		words = append(words, node+":\n"+string(log))
	}
	return strings.Join(words, "\n")
}

// open connects to the cluster, which exists.
func (p *Provider) open(ctx context.Context) (*Cluster, error) {
	dir, err := p.dir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "kubeconfig")
	if _, err := p.kind(ctx, "export", "kubeconfig", "--name", p.options.Name, "--kubeconfig", file); err != nil {
		return nil, err
	}
	kubectl, err := cluster.FindKubectl(ctx, p.options.Out)
	if err != nil {
		return nil, err
	}
	access := cluster.Access{File: file, Kubectl: kubectl, Dir: dir}
	return &Cluster{Access: access, name: p.options.Name, kind: p.program}, nil
}

// giveUp removes the cluster and its files, and leaves the engine as it was found.
func (p *Provider) giveUp(ctx context.Context) (err error) {
	p.cluster = nil
	if p.program != "" && p.options.Name != "" { // of "", kind would take its default
		err = p.remove(ctx)
	}
	if p.engine != nil {
		err = errors.Join(err, p.engine.Stop())
	}
	p.engine, p.program = nil, ""
	return errors.Join(err, p.unlock())
}

// remove removes the cluster and its files.
func (p *Provider) remove(ctx context.Context) error {
	dir, err := p.dir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { // for the lock of the kubeconfig
		return err
	}
	_, err = p.kind(ctx, "delete", "cluster", "--name", p.options.Name, "--kubeconfig", filepath.Join(dir, "kubeconfig"))
	return errors.Join(err, os.RemoveAll(dir))
}

// unlock lets others have the cluster.
func (p *Provider) unlock() error {
	if p.lock == nil {
		return nil
	}
	err := p.lock.Close()
	p.lock = nil
	return err
}

// lock takes a cluster for this process: another run would reinstall in it, and remove it at its end. The kernel gives it back with the
// process.
func lock(name string) (*os.File, error) {
	cache, err := controlplane.CacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "kind")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another run uses it, by the lock on %s: wait for its end: %w", file.Name(), err), file.Close())
	}
	return file, nil
}

// dir is where the files of this cluster are.
func (p *Provider) dir() (string, error) {
	cache, err := controlplane.CacheDir()
	return filepath.Join(cache, "kind", p.options.Name), err
}
