package steps

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WithoutInstalled is an act that takes the installed operator away until the feature ends, for features that bring operators of their
// own. It is for those that are not parallel.
func WithoutInstalled(t *testing.T, s *Scene) {
	t.Helper()
	if err := s.Installed.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		const patience = 5 * time.Minute
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := s.Installed.Start(ctx); err != nil {
			t.Errorf("the operator does not come back: %v", err)
		}
	})
}

// Stop takes the operator away: it returns when none runs any more.
func (i *Installed) Stop(ctx context.Context) error {
	if i.process != nil {
		err := i.stop()
		i.process = nil
		return err
	}
	if err := i.scale(ctx, "0"); err != nil {
		return err
	}
	return i.suite.kubectl(ctx, nil, "wait", "pods", "--selector", "app.kubernetes.io/name=otelier", "--namespace", i.Namespace,
		"--for=delete", "--timeout", i.suite.patience().String())
}

// Start brings the operator back that Stop has taken away.
func (i *Installed) Start(ctx context.Context) error {
	if err := i.scale(ctx, "1"); err != nil {
		return err
	}
	return i.start(ctx)
}

func (i *Installed) scale(ctx context.Context, replicas string) error {
	if !i.suite.realPods() {
		return nil // nothing runs in its pod
	}
	return i.suite.kubectl(ctx, nil, "scale", "deployment/otelier", "--namespace", i.Namespace, "--replicas", replicas)
}

// Version is a version of the operator: the program for this machine, and an image of it that the cluster knows.
type Version struct{ Binary, Image string }

// Replace has another version take the place of the installed one, as users do it: by what its own otelier install prints. The zero Version
// is that of the suite. It returns when the new one is ready and the old one is gone.
func (i *Installed) Replace(ctx context.Context, v Version) error {
	i.version = v
	manifest, err := manifestOf(ctx, cmp.Or(v.Binary, i.suite.Binary), i.Flags()...)
	if err != nil {
		return err
	}
	if err := i.suite.kubectl(ctx, manifest, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		return err
	}
	if i.process != nil {
		if err := i.stop(); err != nil {
			return err
		}
		i.process = nil
	}
	if err := i.start(ctx); err != nil {
		return err
	}
	if !i.suite.realPods() {
		return nil
	}
	return i.awaitPods(ctx, 1)
}

// awaitPods waits until as many pods are there, those on their way out among them.
func (i *Installed) awaitPods(ctx context.Context, n int) error {
	const interval = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, i.suite.patience())
	defer cancel()
	for {
		list, err := i.suite.client.Resource(Pods).Namespace(i.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=otelier"})
		if err == nil && len(list.Items) == n {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("operator: not %d pods after %s, error %w", n, i.suite.patience(), err)
		case <-time.After(interval):
		}
	}
}

// InstallObserver installs another operator, into a namespace of its own, that only observes, and that in the scene's namespace alone. With
// more flags of otelier install it may have other plans than the one that works.
func (s *Scene) InstallObserver(t *testing.T, flags ...string) *Installed {
	t.Helper()
	i := &Installed{Namespace: s.NewNamespace(t), suite: s.Suite}
	manifest, err := s.Manifest(t.Context(), append([]string{"--namespace", i.Namespace, "--image", s.Images.Operator, "--namespaces", s.Namespace}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	observing := bytes.Replace(manifest, []byte("args: [run]"), []byte("args: [run, --dry-run]"), 1)
	if bytes.Equal(observing, manifest) {
		t.Fatalf("nothing in the manifest has the arguments [run]:\n%s", manifest)
	}
	if err := s.kubectl(t.Context(), observing, "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	s.test.Cleanup(func() {
		if err := i.stop(); err != nil {
			s.test.Error(err)
		}
	})
	if err := i.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return i
}
