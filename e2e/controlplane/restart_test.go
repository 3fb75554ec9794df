package controlplane_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/controlplane"
)

func TestRestart(t *testing.T) {
	t.Parallel()
	cp := start(t)
	apply(t, cp, statefulSet)
	kubectl(t, cp, "rollout", "status", "statefulset/db", "--timeout=60s")
	replicas := 3
	for _, component := range []string{controlplane.APIServer, controlplane.Etcd, controlplane.ControllerManager, controlplane.Scheduler} {
		t.Run(component, func(t *testing.T) {
			url, before := cp.URL(), processIDs(t, cp.Dir())
			uid := kubectl(t, cp, "get", "statefulset/db", "-o", "jsonpath={.metadata.uid}")
			if err := cp.Restart(t.Context(), component); err != nil {
				t.Fatal(err)
			}
			after := processIDs(t, cp.Dir())
			if after[component] == before[component] || after[component] == 0 {
				t.Errorf("process %d, want another one than %d", after[component], before[component])
			}
			after[component] = before[component]
			if !maps.Equal(after, before) {
				t.Errorf("processes %v, want the others as before: %v", after, before)
			}
			if cp.URL() != url || alive(before[component]) {
				t.Errorf("URL %s, want %s; the old process is alive: %t", cp.URL(), url, alive(before[component]))
			}
			if got := kubectl(t, cp, "get", "statefulset/db", "-o", "jsonpath={.metadata.uid}"); got != uid {
				t.Errorf("the StatefulSet has UID %s, want what was there before: %s", got, uid)
			}
			replicas++ // takes every component
			kubectl(t, cp, "scale", "statefulset/db", fmt.Sprintf("--replicas=%d", replicas))
			kubectl(t, cp, "wait", "statefulset/db", fmt.Sprintf("--for=jsonpath={.status.readyReplicas}=%d", replicas), "--timeout=60s")
			if _, err := cp.Audit().Mark(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	if err := cp.Restart(t.Context(), "kubelet"); err == nil || !strings.Contains(err.Error(), `"kubelet"`) {
		t.Errorf("error %v for a component that does not exist", err)
	}
	select {
	case <-cp.Done():
		t.Errorf("a restart counts as a failure: %v", cp.Err())
	default:
	}
	pids := processIDs(t, cp.Dir())
	if err := cp.Stop(); err != nil {
		t.Fatal(err)
	}
	waitGone(t, cp.Dir(), pids)
}

// TestManyNodes has as many as a thousand collectors of three pods take.
func TestManyNodes(t *testing.T) {
	t.Parallel()
	const count = 40
	cp, err := controlplane.Start(t.Context(), controlplane.Options{Nodes: count, Out: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, cp)
	apply(t, cp, `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent}, spec: {selector: {matchLabels: {app: agent}},
template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: agent, image: example.com/agent}]}}}}`)
	kubectl(t, cp, "rollout", "status", "daemonset/agent", "--timeout=60s")
	nodes := map[string]bool{}
	pods, err := clientset(t, cp).CoreV1().Pods(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		nodes[pod.Spec.NodeName] = true
	}
	if len(nodes) != count {
		t.Errorf("pods on %d nodes, want %d", len(nodes), count)
	}
}
