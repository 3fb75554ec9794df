package steps

import (
	"strings"
	"testing"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps/program"
)

// somebodys is a cluster that these tests have found.
type somebodys struct{ cluster.Access }

func (somebodys) Provider() string { return cluster.Kubeconfig }

const (
	definition = "customresourcedefinition.apiextensions.k8s.io/" + collectorsCRD

	plainCollector = `{"apiVersion": "opentelemetry.io/v1beta1", "kind": "OpenTelemetryCollector", "metadata": {"name": "theirs", "namespace": "default"}, "spec": {
		"config": {"receivers": {"otlp": {"protocols": {"grpc": {}}}}, "exporters": {"debug": {}}, "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}}}}}}`
)

// TestRefuse holds that a cluster of somebody's own is left alone when there is anything in it that these tests would take over.
func TestRefuse(t *testing.T) {
	cp, err := controlplane.Start(t.Context(), controlplane.Options{Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	s := &Suite{Cluster: somebodys{cluster.Access{File: cp.Kubeconfig(), Kubectl: cp.Kubectl(), Dir: dir}}}
	i := &Installed{Namespace: SystemNamespace, suite: s}
	do := func(input string, args ...string) {
		t.Helper()
		if err := s.kubectl(t.Context(), []byte(input), args...); err != nil {
			t.Fatal(err)
		}
	}
	want := func(what string, names ...string) {
		t.Helper()
		err := i.refuse(t.Context())
		if (err == nil) != (len(names) == 0) {
			t.Fatalf("%s: error %v, want one: %t", what, err, len(names) > 0)
		}
		for _, name := range names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%s: error %v, want it to name %s", what, err, name)
			}
		}
	}

	want("an empty cluster")
	do("", "create", "clusterrole", "otelier", "--verb=get", "--resource=pods")
	want("an installation's role", "clusterrole.rbac.authorization.k8s.io/otelier")
	do("", "delete", "clusterrole", "otelier")

	binary, err := program.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := program.InstallCRDs(t.Context(), binary, s.Cluster); err != nil {
		t.Fatal(err)
	}
	do(plainCollector, "create", "-f", "-")
	want("somebody's definition and collector", definition, "opentelemetrycollector default/theirs")

	do("", "delete", "opentelemetrycollector", "theirs", "--namespace=default")
	do("", "delete", "customresourcedefinition", collectorsCRD)
	if err := i.mark(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := program.InstallCRDs(t.Context(), binary, s.Cluster); err != nil {
		t.Fatal(err)
	}
	do("", "create", "clusterrole", "otelier", "--verb=get", "--resource=pods")
	want("what an earlier run has left")

	do("", "create", "namespace", "scene")
	do("", "label", "namespace", "scene", sceneLabel)
	do(strings.Replace(plainCollector, `"default"`, `"scene"`, 1), "create", "-f", "-")
	want("a collector of the tests")
	do(plainCollector, "create", "-f", "-")
	want("somebody's collector", "opentelemetrycollector default/theirs")

	do("", "label", "clusterrole", "otelier", sceneLabel)
	if err := s.removeScenes(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, err := s.kubectlOutput(t.Context(), nil, "get", "namespace/scene", "clusterrole/otelier", "namespace/default", "--ignore-not-found", "--output", "name")
	if err != nil || strings.TrimSpace(out) != "namespace/default" {
		t.Errorf("after the scenes are removed there is %q, error %v, want the namespace default alone", out, err)
	}
}
