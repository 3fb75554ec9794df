package features_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

// TestPermissions is not parallel: the operator of the suite, which works in all namespaces, has to be out of the way.
func TestPermissions(t *testing.T) {
	environment.Test(t, steps.Feature("least privilege").WithLabel("run", "full").
		Setup(steps.In(steps.WithoutInstalled)).
		Assess("every permission is used or missed", steps.In(func(t *testing.T, s *steps.Scene) {
			t.Run("cases", func(t *testing.T) {
				t.Run("everything with all of them", func(t *testing.T) {
					t.Parallel()
					allUsed(t, s.Suite)
				})
				for _, p := range permissions() {
					t.Run("without "+p.name(), func(t *testing.T) {
						t.Parallel()
						p.lack(t, newLacking(t, s.Suite, p))
					})
				}
			})
		})).
		Feature())
}

// allUsed has an operator with all permissions do everything, and fails the test unless each of them was needed for that, and nothing
// else.
func allUsed(t *testing.T, suite *steps.Suite) {
	l := newLacking(t, suite, permission{scope: own})
	w := newWitness(t, l.Scene, userOf(l.Namespace))
	l.kubeconfig = w.kubeconfig
	// Lists are streamed by watches where the API server can do so; where it can't, they are what they say.
	l.environ = append(l.environ, withoutStreams)
	flags := []string{"--leader-elect", "--leader-elect-namespace", l.system, "--allocator-url", "http://otelier." + l.system + ".svc:80"}
	p := l.start(t, flags...)
	everything(t, l.Scene, func(between func()) {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		between()
		p = l.start(t, flags...)
	})
	for _, right := range permissions() {
		if simulated := simulatedPods(l.Scene) || right.scope != own || right.resource != "endpointslices"; simulated && !w.used(right, l.system) {
			t.Errorf("nothing needs %s", right.key())
		}
	}
	if refused := w.refusals(); len(refused) > 0 {
		t.Errorf("refused:\n%s", strings.Join(refused, "\n"))
	}
	for line := range strings.Lines(p.Log()) {
		if strings.Contains(strings.ToLower(line), "forbidden") {
			t.Errorf("the operator says: %s", line)
		}
	}
}

// withoutStreams has client-go list as it does with API servers that can't stream lists.
const withoutStreams = "KUBE_FEATURE_WatchListClient=false"

// newLacking makes a scene for an operator with all permissions but one.
func newLacking(t *testing.T, suite *steps.Suite, p permission) *lacking {
	t.Helper()
	s := suite.Scene(t)
	l := &lacking{Scene: s, permission: p, system: s.Namespace, environ: program.Environment()}
	if p.scope == own || p.resource == "endpointslices" { // to which there are rights in both
		l.system = suite.NewNamespace(t)
	}
	if p.verb == "list" {
		l.environ = append(l.environ, withoutStreams)
	}
	user := userOf(s.Namespace)
	var err error
	if l.kubeconfig, err = s.Cluster.KubeconfigAs(user); err != nil {
		t.Fatal(err)
	}
	rest := slices.DeleteFunc(permissions(), func(q permission) bool { return q.key() == p.key() })
	grant(t, s, "Role", s.Namespace, s.Namespace, user, in(rest, everywhere))
	grant(t, s, "Role", l.system, s.Namespace+"-own", user, in(rest, own))
	grant(t, s, "ClusterRole", "", s.Namespace, user, in(rest, clusterWide))
	return l
}

func userOf(namespace string) string { return "system:serviceaccount:" + namespace + ":otelier" }

func in(all []permission, where scope) []permission {
	return slices.DeleteFunc(slices.Clone(all), func(p permission) bool { return p.scope != where })
}

// grant makes a role and binds it to a user. What is not in a namespace goes with the test.
func grant(t *testing.T, s *steps.Scene, kind, namespace, name, user string, of []permission) {
	t.Helper()
	client := clientFor(t, s)
	role := fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: %s\nmetadata: {name: %s}\nrules:\n%s", kind, name, rules(of))
	binding := fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: %[1]sBinding
metadata: {name: %[2]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: %[1]s, name: %[2]s}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %[3]q}]
`, kind, name, user)
	for _, manifest := range []string{role, binding} {
		u := steps.Parse(t, manifest)
		steps.MarkOurs(u)
		gvr := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: strings.ToLower(u.GetKind()) + "s"}
		create := func() (*unstructured.Unstructured, error) {
			return client.Resource(gvr).Namespace(namespace).Create(t.Context(), u, metav1.CreateOptions{})
		}
		if _, err := create(); err != nil {
			t.Fatalf("%s %s: %v", kind, name, err)
		}
		if namespace == "" {
			t.Cleanup(func() {
				if err := client.Resource(gvr).Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}); err != nil {
					t.Errorf("%s %s: %v", kind, name, err)
				}
			})
		}
	}
}

// launch starts an operator of this feature alone, on free ports, without waiting for anything. It ends with the test.
func launch(t *testing.T, s *steps.Scene, environ []string, flags ...string) *program.Process {
	t.Helper()
	args := append([]string{"run", "--listen", "127.0.0.1:0", "--allocator-listen", "127.0.0.1:0", "--collector-image", s.Images.Collector}, flags...)
	p, err := program.StartWith(s.Binary, environ, args)
	if err != nil {
		t.Fatal(err)
	}
	s.Operators = append(s.Operators, p)
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("%v; its last lines:\n%s", err, p.Tail())
		}
		if defects := p.Defects(); defects != "" {
			t.Errorf("operator: %s", defects)
		}
	})
	return p
}

// waitConditionFor waits for a condition that takes longer than others.
func waitConditionFor(t *testing.T, s *steps.Scene, patience time.Duration, name, kind string, status metav1.ConditionStatus) {
	t.Helper()
	steps.Within(t, patience, fmt.Sprintf("%s=%s of %s", kind, status, name), func() error {
		if c := steps.Conditions(t, s.Get(t, steps.Collectors, name))[kind]; c.Status != status {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
}
