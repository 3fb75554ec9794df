package steps

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/steps/program"
)

// Scene is where one feature plays.
type Scene struct {
	*Suite
	// Namespace of its own.
	Namespace string
	// Operators in the order of their start.
	Operators []*program.Process

	test *testing.T // of the whole scene, of which steps are parts
}

type sceneKey struct{}

// Feature begins a feature in a namespace of its own.
func Feature(name string) *features.FeatureBuilder { return features.New(name).Setup(namespace) }

// Act is something that is done or looked at in a scene.
type Act = func(*testing.T, *Scene)

// In makes a step of what is done in the feature's scene, one after the other.
func In(acts ...Act) features.Func {
	return func(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
		t.Helper()
		s, ok := ctx.Value(sceneKey{}).(*Scene)
		if !ok {
			t.Fatal("no scene: the feature was not begun with steps.Feature")
		}
		for _, act := range acts {
			act(t, s)
		}
		return ctx
	}
}

func namespace(ctx context.Context, t *testing.T, _ *envconf.Config) context.Context {
	t.Helper()
	suite, ok := ctx.Value(suiteKey{}).(*Suite)
	if !ok {
		t.Fatal("no suite: the environment was not set up with steps.Begin")
	}
	return context.WithValue(ctx, sceneKey{}, suite.Scene(t))
}

// Scene makes a namespace and a scene in it. When the test has failed, it says at its end what was there.
func (s *Suite) Scene(t *testing.T) *Scene {
	t.Helper()
	scene := &Scene{Suite: s, test: t}
	scene.Namespace = s.NewNamespace(t)
	t.Cleanup(func() {
		if t.Failed() {
			scene.dump(t)
		}
	})
	return scene
}

// NewNamespace makes a namespace that bears a name of its own. Where containers run, and where an operator works in all namespaces, it is
// deleted at the end of the test; when the test has failed, what was there is exported before.
func (s *Suite) NewNamespace(t *testing.T) string {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{
		"generateName": nameOf(t) + "-",
	}}}
	MarkOurs(u)
	got, err := s.client.Resource(Namespaces).Create(t.Context(), u, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("namespace: %v", err)
	}
	t.Cleanup(func() { s.leave(t, got.GetName()) })
	return got.GetName()
}

// NewNamespace makes another namespace for the scene, as [Suite.NewNamespace] does. It is there until the end of the scene, which is not
// that of the step.
func (s *Scene) NewNamespace(t *testing.T) string {
	t.Helper()
	if s.test != nil {
		t = s.test
	}
	return s.Suite.NewNamespace(t)
}

// leave exports a namespace if the test has failed, and deletes it where it would be in the way of other tests: it does not wait for
// that.
func (s *Suite) leave(t *testing.T, namespace string) {
	t.Helper()
	const patience = 2 * time.Minute
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if t.Failed() && s.artifacts != "" {
		dir := filepath.Join(s.artifacts, namespace)
		if err := cluster.ExportNamespace(ctx, s.Cluster, namespace, dir); err != nil {
			t.Logf("%v", err)
		}
		t.Logf("objects, events and logs of namespace %s: %s", namespace, dir)
	}
	switch {
	case !s.realPods() && s.Installed == nil:
		return // nothing runs there, and nobody works on it any more
	case t.Failed() && s.keep:
		return // until the next run
	}
	err := s.client.Resource(Namespaces).Delete(ctx, namespace, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Errorf("namespace %s: %v", namespace, err)
	}
}

// nameOf makes a name for a namespace of the test's: TestScaleUp/feature is scale-up.
func nameOf(t *testing.T) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(t.Name(), "Test"), "/")
	var out strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' && name[i-1] >= 'a' {
			out.WriteByte('-')
		}
		out.WriteRune(r)
	}
	return strings.ToLower(out.String())
}

// Operator starts an operator that works in the scene's namespace alone.
func Operator(flags ...string) features.Func {
	return In(func(t *testing.T, s *Scene) { s.StartOperator(t, flags...) })
}

// StartOperator starts an operator that works in the scene's namespace alone, and waits until it is ready.
func (s *Scene) StartOperator(t *testing.T, flags ...string) *program.Process {
	t.Helper()
	p := s.Launch(t, append([]string{"--kubeconfig", s.Cluster.Kubeconfig(), "--namespaces", s.Namespace}, flags...)...)
	s.AwaitReady(t, p)
	return p
}

// AwaitReady waits until an operator's /readyz is 200.
func (s *Scene) AwaitReady(t *testing.T, p *program.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), s.patience(), fmt.Errorf("not after %s", s.patience()))
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// Launch starts otelier run with these flags, on free ports, and does not wait for anything. At the end of the scene, which is not
// that of the step, the process is stopped; the race detector or a panic in its log fails the test then.
func (s *Scene) Launch(t *testing.T, flags ...string) *program.Process {
	t.Helper()
	p, err := program.Start(s.Binary, append([]string{"run", "--listen", "127.0.0.1:0", "--allocator-listen", "127.0.0.1:0", "--log-level", "debug"}, flags...))
	if err != nil {
		t.Fatal(err)
	}
	s.Operators = append(s.Operators, p)
	s.test.Cleanup(func() {
		if err := p.Stop(); err != nil {
			s.test.Errorf("%v; its last lines:\n%s", err, p.Tail())
		}
		if defects := p.Defects(); defects != "" {
			s.test.Errorf("operator: %s", defects)
		}
	})
	return p
}
