package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeBuild stands in for the Go compiler: it notes what is built and writes a file where the program belongs.
type fakeBuild struct {
	mu    sync.Mutex
	built []string
	fail  string
}

func (f *fakeBuild) run(_ context.Context, _, _ string, args ...string) error {
	output := args[slices.Index(args, "-o")+1]
	name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(output), "."), ".new")
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := os.WriteFile(output, []byte("#!/bin/sh\n"), 0o755); err != nil {
		return err
	}
	if name == f.fail {
		return errors.New("undefined: x")
	}
	f.built = append(f.built, name)
	return nil
}

func testBuilder(t *testing.T, cache string, out io.Writer, fake *fakeBuild) *builder {
	t.Helper()
	root, err := repositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	return &builder{root: root, cache: cache, out: out, run: fake.run, now: time.Now}
}

func names() []string {
	var names []string
	for _, p := range pieces() {
		names = append(names, p.name)
	}
	return names
}

func TestEnsureBuildsOnce(t *testing.T) {
	cache, fake := t.TempDir(), &fakeBuild{}
	var out bytes.Buffer
	b := testBuilder(t, cache, &out, fake)
	assets, err := b.ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names(), supervise) {
		if !executable(assets.Binary(name)) {
			t.Errorf("no program %s at %s", name, assets.Binary(name))
		}
	}
	if want := names(); !slices.Equal(fake.built[1:], want) {
		t.Errorf("built %q, want supervise and %q", fake.built, want)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 1+len(pieces()) {
		t.Errorf("progress has %d lines, want a heading and one per program:\n%s", len(lines), &out)
	}
	for _, want := range []string{"kube-apiserver v", ": building, about 4 min the first time … done in 0s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("progress does not say %q:\n%s", want, &out)
		}
	}

	out.Reset()
	fake.built = nil
	if _, err := b.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(fake.built) > 0 || out.Len() > 0 {
		t.Errorf("the second time it built %q and said %q, want nothing", fake.built, &out)
	}
}

func TestEnsureConcurrently(t *testing.T) {
	cache, fake := t.TempDir(), &fakeBuild{}
	var group sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		b := testBuilder(t, cache, io.Discard, fake)
		group.Go(func() { _, errs[i] = b.ensure(t.Context()) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if len(fake.built) != 1+len(pieces()) {
		t.Errorf("built %q, want each program once", fake.built)
	}
}

func TestEnsureGoesOnAfterAFailure(t *testing.T) {
	cache, fake := t.TempDir(), &fakeBuild{fail: Scheduler}
	b := testBuilder(t, cache, io.Discard, fake)
	_, err := b.ensure(t.Context())
	if err == nil || !strings.Contains(err.Error(), "kube-scheduler v") || !strings.Contains(err.Error(), "undefined: x") {
		t.Fatalf("error %v, want one with the program and the compiler's message", err)
	}
	fake.fail, fake.built = "", nil
	if _, err := b.ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{Scheduler, kubectl, Kwok}; !slices.Equal(fake.built, want) {
		t.Errorf("the second time it built %q, want what was missing: %q", fake.built, want)
	}
}

func TestEnsureWaitsNoLongerThanItsContext(t *testing.T) {
	cache, fake := t.TempDir(), &fakeBuild{}
	var out bytes.Buffer
	b := testBuilder(t, cache, &out, fake)
	ctx, cancel := context.WithCancelCause(t.Context())
	err := b.locked(t.Context(), filepath.Join(cache, supervise), func() error {
		cancel(nil)
		_, err := b.ensure(ctx)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if !strings.Contains(out.String(), "waiting for another process") {
		t.Errorf("progress %q does not say what it waits for", &out)
	}
}

func TestBuildIsIndependentOfTheEnvironment(t *testing.T) {
	t.Setenv("GOFLAGS", "-race -mod=vendor")
	t.Setenv("GOOS", "plan9")
	b := testBuilder(t, t.TempDir(), io.Discard, nil)
	b.run = runCommand
	binary, err := b.ensureSupervise(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--", "echo", "runs")
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	if output, err := cmd.Output(); err != nil || string(output) != "runs\n" {
		t.Errorf("supervise: %v, output %q", err, output)
	}
}

func TestBuildFailureShowsTheCompilersMessage(t *testing.T) {
	err := runCommand(t.Context(), ".", "go", "build", "./no/such/directory")
	if err == nil || !strings.Contains(err.Error(), "no/such/directory") {
		t.Errorf("error %v", err)
	}
}

func TestPrebuilt(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(envAssets, dir)
	for _, name := range names() {
		if name != ControllerManager && name != Kwok {
			program(t, dir, name)
		}
	}
	_, err := EnsureAssets(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "no executable kube-controller-manager, kwok in it") ||
		!strings.Contains(err.Error(), dir) {
		t.Fatalf("error %v, want one that names the directory and what is missing", err)
	}

	program(t, dir, ControllerManager)
	program(t, dir, Kwok)
	program(t, dir, supervise)
	assets, err := EnsureAssets(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names(), supervise) {
		if want := filepath.Join(dir, name); assets.Binary(name) != want {
			t.Errorf("%s is %s, want %s", name, assets.Binary(name), want)
		}
	}
	if len(assets.stages) != len(stageNames()) {
		t.Errorf("stages %q, want those of kwok's module", assets.stages)
	}
}

func program(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestLinkerFlags(t *testing.T) {
	const pkg = "k8s.io/component-base/version."
	want := fmt.Sprintf("-s -w -X %[1]sgitVersion=v1.36.3 -X %[1]sgitMajor=1 -X %[1]sgitMinor=36", pkg)
	if got := linkerFlags("kubernetes", "v1.36.3"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := linkerFlags("etcd", "v3.6.8"); got != "-s -w" {
		t.Errorf("etcd: %s", got)
	}
}

func TestBuildEndsWithItsContext(t *testing.T) {
	b := testBuilder(t, t.TempDir(), io.Discard, nil)
	b.run = runCommand
	binary, err := b.ensureSupervise(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pidfile := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- runCommand(ctx, ".", binary, "-pidfile", pidfile, "--", "sleep", "1000") }()
	err = until(t.Context(), "start", nil, func(context.Context) error {
		_, err := os.Stat(pidfile)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if _, err := os.Stat(pidfile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the step still runs: %v", err)
	}
}

func TestCollectorIsBuiltOncePerSource(t *testing.T) {
	t.Setenv(envAssets, "")
	cache, fake := t.TempDir(), &fakeBuild{}
	var out bytes.Buffer
	b := testBuilder(t, cache, &out, fake)
	path, err := b.ensureCollector(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !executable(path) || !strings.HasPrefix(filepath.Base(path), "otelcol-v") {
		t.Errorf("no program at %s, or no version in its name", path)
	}
	if want := []string{collector}; !slices.Equal(fake.built[1:], want) || !strings.Contains(out.String(), "building, about 6 min the first time … done in 0s") {
		t.Errorf("built %q, want supervise and %q; said %q", fake.built, want, &out)
	}
	fake.built = nil
	if again, err := b.ensureCollector(t.Context()); err != nil || again != path || len(fake.built) > 0 {
		t.Errorf("the second time it built %q and returned %s, %v; want %s", fake.built, again, err, path)
	}
}

func TestPrebuiltCollector(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(envAssets, dir)
	program(t, dir, collector)
	got, err := EnsureCollector(t.Context(), nil)
	if want := filepath.Join(dir, collector); err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}
