package controlplane

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// builder builds the programs that are missing from the cache.
type builder struct {
	root  string // of the repository
	cache string
	out   io.Writer
	run   func(ctx context.Context, dir, program string, args ...string) error
	now   func() time.Time
}

// ensure returns the assets in the cache, having built what was missing.
func (b *builder) ensure(ctx context.Context) (Assets, error) {
	name, err := key(b.root)
	if err != nil {
		return Assets{}, err
	}
	assets := Assets{dir: filepath.Join(b.cache, "assets", name)}
	if assets.supervise, err = b.ensureSupervise(ctx); err != nil {
		return Assets{}, err
	}
	if !complete(assets.dir) {
		err := b.locked(ctx, assets.dir, func() error { return b.build(ctx, assets) })
		if err != nil {
			return Assets{}, err
		}
	}
	assets.stages, err = stageFiles(filepath.Join(assets.dir, stagesDir))
	return assets, err
}

// complete says whether nothing is missing. Each piece is put in place by a rename, so one that exists is whole.
func complete(dir string) bool {
	for _, p := range pieces() {
		if !executable(filepath.Join(dir, p.name)) {
			return false
		}
	}
	_, err := stageFiles(filepath.Join(dir, stagesDir))
	return err == nil
}

func (b *builder) build(ctx context.Context, assets Assets) error {
	var missing []piece
	var total time.Duration
	for _, p := range pieces() {
		if !executable(assets.Binary(p.name)) {
			missing = append(missing, p)
			total += p.estimate
		}
	}
	if len(missing) > 0 {
		say(b.out, "control plane: building %d programs into %s, once; about %s on 2 cores\n",
			len(missing), assets.dir, inWords(total))
	}
	for _, p := range missing {
		if err := b.buildPiece(ctx, assets.supervise, p, assets.Binary(p.name)); err != nil {
			return err
		}
	}
	return b.copyStages(ctx, filepath.Join(assets.dir, stagesDir))
}

// tools is the directory of the module that pins a piece.
func (b *builder) tools(p piece) string { return filepath.Join(b.root, "hack", "tools", p.tools) }

// buildPiece puts a program in its place, in a directory that exists.
func (b *builder) buildPiece(ctx context.Context, supervise string, p piece, path string) error {
	version, err := p.version(b.root)
	if err != nil {
		return err
	}
	say(b.out, "%s %s: building, about %s the first time … ", p.name, version, inWords(p.estimate))
	started := b.now()
	temp := filepath.Join(filepath.Dir(path), "."+p.name+".new")
	// Under supervise, so that a build of minutes ends with the process that wanted it.
	err = b.run(ctx, b.tools(p), supervise, "-grace", "2s", "--",
		"go", "build", "-trimpath", "-tags", p.tags, "-ldflags", linkerFlags(p.tools, version), "-o", temp, p.pkg)
	if err != nil {
		say(b.out, "failed\n")
		return fmt.Errorf("%s %s: build: %w", p.name, version, err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("%s: build: %w", p.name, err)
	}
	say(b.out, "done in %s\n", b.now().Sub(started).Round(time.Second))
	return nil
}

// linkerFlags stamps the Kubernetes programs with their version, which the API server reports and others compare.
func linkerFlags(tools, version string) string {
	flags := "-s -w"
	switch tools {
	case "containerd":
		return flags + " -X github.com/containerd/containerd/v2/version.Version=" + version // nodes report it
	case "kubernetes":
	default:
		return flags
	}
	major, rest, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	const pkg = " -X k8s.io/component-base/version."
	return flags + pkg + "gitVersion=" + version + pkg + "gitMajor=" + major + pkg + "gitMinor=" + minor
}

// ensureSupervise builds our own launcher. Its sources are part of its name, so a change takes effect at once and the
// usual case costs no run of the compiler.
func (b *builder) ensureSupervise(ctx context.Context) (string, error) {
	src := filepath.Join(b.root, "e2e", "cmd", supervise)
	sum, err := sourceHash(src, "*.go")
	if err != nil {
		return "", fmt.Errorf("supervise: %w", err)
	}
	dir := filepath.Join(b.cache, supervise)
	path := filepath.Join(dir, supervise+"-"+runtime.GOOS+"-"+runtime.GOARCH+"-"+sum)
	if executable(path) {
		return path, nil
	}
	return path, b.locked(ctx, dir, func() error {
		if executable(path) {
			return nil
		}
		temp := path + ".new"
		if err := b.run(ctx, src, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", temp, "."); err != nil {
			return fmt.Errorf("supervise: build: %w", err)
		}
		return os.Rename(temp, path)
	})
}

// sourceHash is a hash of the files in a directory that patterns match, but for tests.
func sourceHash(dir string, patterns ...string) (string, error) {
	hash := sha256.New()
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", err
		}
		if len(files) == 0 {
			return "", fmt.Errorf("no %s in %s", pattern, dir)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			_, _ = fmt.Fprintf(hash, "%s %d\n%s", filepath.Base(file), len(data), data) // a hash takes everything
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

// runCommand runs a build step in a directory. Its output is shown only if it fails.
func runCommand(ctx context.Context, dir, program string, args ...string) error {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Env = buildEnv()
	// Held open until Wait closes it: supervise takes end of file as the order to end.
	hold, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	err = cmd.Run()
	_ = hold.Close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, strings.TrimSpace(output.String()))
	}
	return nil
}

// buildEnv is the caller's environment without what would change the result: flags such as -race or -mod, a workspace,
// another target. GOFLAGS is not left empty, since an empty one gives way to the one "go env -w" has stored.
func buildEnv() []string {
	return append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off",
		"GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
}

// say writes progress. That it can't be written is no reason to fail.
func say(out io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }

// inWords rounds an estimate to what it is worth.
func inWords(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("%d s", int(d.Round(time.Second).Seconds()))
	}
	return fmt.Sprintf("%d min", int(d.Round(time.Minute).Minutes()))
}
