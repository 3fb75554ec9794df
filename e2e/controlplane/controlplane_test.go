package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/otelier/otelier/e2e/controlplane"
)

func TestSideBySide(t *testing.T) {
	t.Parallel()
	clusters := make([]*controlplane.ControlPlane, 2)
	errs := make([]error, 2)
	var group sync.WaitGroup
	for i := range clusters {
		group.Go(func() { clusters[i], errs[i] = controlplane.Start(t.Context(), controlplane.Options{Nodes: 1 + i}) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i, cp := range clusters {
		stopAtEnd(t, cp)
		nodes, err := clientset(t, cp).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(nodes.Items) != 1+i {
			t.Errorf("cluster %d has %d nodes, want %d", i, len(nodes.Items), 1+i)
		}
		kubectl(t, cp, "create", "namespace", fmt.Sprintf("only-in-%d", i))
		kubectl(t, cp, "wait", "--for=create", "serviceaccount/default", "--namespace", fmt.Sprintf("only-in-%d", i), "--timeout=30s")
	}
	for i, cp := range clusters {
		other := fmt.Sprintf("only-in-%d", 1-i)
		_, err := clientset(t, cp).CoreV1().Namespaces().Get(t.Context(), other, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			t.Errorf("namespace %s in the other cluster: %v, want not found", other, err)
		}
	}

	pids := processIDs(t, clusters[0].Dir())
	for range 2 {
		if err := clusters[0].Stop(); err != nil {
			t.Fatal(err)
		}
	}
	waitGone(t, clusters[0].Dir(), pids)
	select {
	case <-clusters[0].Done():
		t.Errorf("a normal end counts as a failure: %v", clusters[0].Err())
	default:
	}
	kubectl(t, clusters[1], "get", "nodes")
}

func TestUnexpectedEndOfAComponent(t *testing.T) {
	t.Parallel()
	cp := start(t)
	pids := processIDs(t, cp.Dir())
	if err := cp.Err(); err != nil {
		t.Fatalf("error %v of a healthy cluster", err)
	}
	if err := syscall.Kill(pids[controlplane.Scheduler], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	receive(t, "the end of the scheduler", cp.Done())
	log := filepath.Join(cp.LogDir(), controlplane.Scheduler+".log")
	if err := cp.Err(); err == nil || !strings.Contains(err.Error(), controlplane.Scheduler) || !strings.Contains(err.Error(), log) {
		t.Errorf("error %v, want one that names the scheduler and %s", err, log)
	}
	if err := cp.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(log); err != nil {
		t.Errorf("the log was not kept: %v", err)
	}
	if err := os.RemoveAll(cp.Dir()); err != nil {
		t.Fatal(err)
	}
	waitGone(t, cp.Dir(), pids)
}

func TestStartNamesTheComponentThatFails(t *testing.T) {
	assets, err := controlplane.EnsureAssets(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"etcd", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok", "supervise"} {
		if err := os.Symlink(assets.Binary(name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\necho reading the flags\necho flag --such is unknown >&2\nexit 3\n"
	if err := os.WriteFile(filepath.Join(dir, "kube-apiserver"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTELIER_ASSETS", dir)
	data := filepath.Join(t.TempDir(), "data")

	_, err = controlplane.Start(t.Context(), controlplane.Options{Dir: data})
	if err == nil {
		t.Fatal("started with an API server that doesn't")
	}
	logs := filepath.Join(data, "logs")
	for _, want := range []string{"kube-apiserver: ended with exit status 3", "flag --such is unknown", "logs: " + logs} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q:\n%v", want, err)
		}
	}
	if _, err := os.Stat(filepath.Join(logs, "kube-apiserver.log")); err != nil {
		t.Errorf("the log was not kept: %v", err)
	}
	if left := processIDs(t, data); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	data := filepath.Join(t.TempDir(), "data")
	result := make(chan error)
	go func() {
		_, err := controlplane.Start(ctx, controlplane.Options{Dir: data})
		result <- err
	}()
	var pids map[string]int
	eventually(t, "etcd", func() error {
		if pids = processIDs(t, data); pids[controlplane.Etcd] == 0 {
			return fmt.Errorf("running are %v", pids)
		}
		return nil
	})
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	waitGone(t, data, pids)
}

func TestDirMustNotExist(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := controlplane.Start(t.Context(), controlplane.Options{Dir: dir}); !errors.Is(err, os.ErrExist) {
		t.Errorf("error %v, want that %s exists", err, dir)
	}
}

func clientset(t *testing.T, cp *controlplane.ControlPlane) kubernetes.Interface {
	t.Helper()
	config, err := cp.RESTConfig("controlplane-test/1")
	if err != nil {
		t.Fatal(err)
	}
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return set
}
