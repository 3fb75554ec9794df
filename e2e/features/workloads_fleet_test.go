package features_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/steps"
)

// fleet are the pods of one collector, the claims of those and what can be asked of them.
type fleet struct {
	*steps.Scene
	name string // of the collector
}

func (f fleet) workload() string { return f.name + "-collector" }

func (f fleet) pod(i int) string { return fmt.Sprintf("%s-%d", f.workload(), i) }

func (f fleet) selector() string {
	return "app.kubernetes.io/component=opentelemetry-collector,app.kubernetes.io/instance=" + f.Namespace + "." + f.name
}

// pods are those that stay, sorted by name.
func (f fleet) pods(t *testing.T) []unstructured.Unstructured {
	t.Helper()
	out := slices.DeleteFunc(f.List(t, steps.Pods, f.selector()), func(u unstructured.Unstructured) bool { return u.GetDeletionTimestamp() != nil })
	slices.SortFunc(out, func(a, b unstructured.Unstructured) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out
}

// life is what can't be told of another pod, or of the same one after a container in it was started again.
type life struct {
	uid      string
	restarts int64
}

func lifeOf(u *unstructured.Unstructured) life {
	out := life{uid: string(u.GetUID())}
	containers, _, _ := unstructured.NestedSlice(u.Object, "status", "containerStatuses")
	for _, c := range containers {
		status, _ := c.(map[string]any)
		n, _ := status["restartCount"].(int64)
		out.restarts += n
	}
	return out
}

// lives are those of the pods, by name.
func (f fleet) lives(t *testing.T) map[string]life {
	t.Helper()
	out := map[string]life{}
	for _, u := range f.pods(t) {
		out[u.GetName()] = lifeOf(&u)
	}
	return out
}

// claims are the UIDs of the claims, by name.
func (f fleet) claims(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, u := range f.List(t, steps.Claims, f.selector()) {
		out[u.GetName()] = string(u.GetUID())
	}
	return out
}

// wantBound fails the test unless there are as many claims, and all of them have a volume.
func (f fleet) wantBound(t *testing.T, count int) {
	t.Helper()
	list := f.List(t, steps.Claims, f.selector())
	if len(list) != count {
		t.Errorf("%d claims, want %d: %v", len(list), count, steps.Names(list))
	}
	for _, u := range list {
		if phase := steps.Field(&u, "status", "phase"); phase != "Bound" {
			t.Errorf("claim %s is %v, want Bound", u.GetName(), phase)
		}
	}
}

// wantAmong fails the test unless all of some is in all, with the same values.
func wantAmong[V comparable](t *testing.T, what string, some, all map[string]V) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(some)) {
		if is, ok := all[name]; !ok || is != some[name] {
			t.Errorf("%s %s is %v (there: %t), want it as it was: %v", what, name, is, ok, some[name])
		}
	}
}

// configured is a configuration of which collectors tell in their own metrics that they have read it.
func configured(version string) string {
	return strings.ReplaceAll(`receivers:
  prometheus:
    config:
      scrape_configs:
        - {job_name: self, scrape_interval: 5s, static_configs: [{targets: ["localhost:8888"]}]}
exporters: {debug: {verbosity: basic}}
extensions: {health_check: {}}
service:
  telemetry: {resource: {config.version: VERSION}}
  extensions: [health_check]
  pipelines: {metrics: {receivers: [prometheus], exporters: [debug]}}
`, "VERSION", version)
}

// broken are configurations that nobody but a collector finds something wrong with, when it starts, and what it says then.
func broken() map[string]struct{ config, says string } {
	return map[string]struct{ config, says string }{
		"a component that the image does not have": {
			strings.NewReplacer("debug:", "nosuch:", "[debug]", "[nosuch]").Replace(configured("bad")), `unknown type: "nosuch"`,
		},
		"a value that the component does not know": {
			strings.Replace(configured("bad"), "verbosity: basic", "verbosity: loud", 1), `unknown metrics level "loud"`,
		},
	}
}

// withConfig is the field of a spec.
func withConfig(config string) string { return fmt.Sprintf("config: %q", config) }

// local tells whether no container runs, so that nobody can be asked.
func (f fleet) local() bool { return f.Cluster.Provider() == cluster.Local }

// version asks the collector in a pod which configuration it works with.
func (f fleet) version(t *testing.T, pod string) (string, error) {
	t.Helper()
	metrics, err := f.PodGet(t.Context(), f.Namespace, pod, 8888, "/metrics")
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`(?m)^target_info\{[^}]*config_version="([^"]*)"`).FindStringSubmatch(metrics)
	if m == nil {
		return "", errors.New("no target_info with a config_version among its metrics")
	}
	return m[1], nil
}

// wantServing fails the test unless the collectors in all of these pods answer, and work with this version of the configuration.
func (f fleet) wantServing(t *testing.T, version string, pods ...string) {
	t.Helper()
	if f.local() {
		return
	}
	for _, pod := range pods {
		got := ""
		f.Eventually(t, "the collector in pod "+pod+" tells its configuration", func() (err error) {
			got, err = f.version(t, pod)
			return err
		})
		if got != version {
			t.Errorf("the collector in pod %s works with configuration %q, want %q", pod, got, version)
		}
	}
}

// wantRolledOut waits until the collector is ready and fails the test unless so many pods are, and all work with this configuration.
func (f fleet) wantRolledOut(t *testing.T, version string, count int) {
	t.Helper()
	steps.WithoutCondition(t, f.WaitReady(t, f.name), "Stalled", "Reconciling")
	pods := f.pods(t)
	if len(pods) != count {
		t.Errorf("%d pods, want %d: %v", len(pods), count, steps.Names(pods))
	}
	for _, u := range pods {
		if !steps.PodReady(&u) {
			t.Errorf("pod %s is not ready", u.GetName())
		}
		f.wantServing(t, version, u.GetName())
	}
}

// content asks the container that keeps a file on the volume of a pod what there is in it.
func (f fleet) content(t *testing.T, pod string) string {
	t.Helper()
	var out string
	f.Eventually(t, "what pod "+pod+" keeps", func() (err error) {
		out, err = f.PodGet(t.Context(), f.Namespace, pod, 8080, "/")
		return err
	})
	return out
}

// contents are those of all pods, by name.
func (f fleet) contents(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, u := range f.pods(t) {
		out[u.GetName()] = f.content(t, u.GetName())
	}
	return out
}

// keeper is a container that notes each of its starts in a file on the volume called name. It is root, to whom volumes belong.
func keeper(s *steps.Scene, volume string) map[string]any {
	return map[string]any{
		"name": "keep", "image": s.Images.Workbench, "args": []any{"keep", "--file=/kept/starts"},
		"volumeMounts":    []any{map[string]any{"name": volume, "mountPath": "/kept"}},
		"securityContext": map[string]any{"runAsUser": int64(0)},
	}
}

// schedulable are the names of the nodes that pods without tolerations can be placed on, sorted.
func schedulable(t *testing.T, s *steps.Scene) []string {
	t.Helper()
	var list unstructured.UnstructuredList
	if err := json.Unmarshal([]byte(s.Kubectl(t, "", "get", "nodes", "--output", "json")), &list); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, u := range list.Items {
		taints, _, _ := unstructured.NestedSlice(u.Object, "spec", "taints")
		if !slices.ContainsFunc(taints, func(v any) bool {
			taint, _ := v.(map[string]any)
			return taint["effect"] != "PreferNoSchedule"
		}) {
			out = append(out, u.GetName())
		}
	}
	slices.Sort(out)
	if len(out) == 0 {
		t.Fatal("no node takes pods")
	}
	return out
}
