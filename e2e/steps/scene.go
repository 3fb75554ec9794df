package steps

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/e2e-framework/pkg/envconf"
	"sigs.k8s.io/e2e-framework/pkg/features"

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

// NewNamespace makes a namespace that bears a name of its own.
func (s *Suite) NewNamespace(t *testing.T) string {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"generateName": nameOf(t) + "-"},
	}}
	got, err := s.client.Resource(Namespaces).Create(t.Context(), u, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("namespace: %v", err)
	}
	return got.GetName()
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
	ctx, cancel := context.WithTimeoutCause(t.Context(), Patience, fmt.Errorf("not after %s", Patience))
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
