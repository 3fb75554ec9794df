package features_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

const (
	// nodeGrace is how long a node may not be heard of until its pods are taken for not ready: --node-monitor-grace-period of the
	// kube-controller-manager, which looks every 5 s (--node-monitor-period).
	nodeGrace = 50*time.Second + 5*time.Second
	// notReadyGrace is for how long a collector keeps its targets that is not ready.
	notReadyGrace = time.Minute
	// nodeStop is how long it takes to shut a node down.
	nodeStop = 15 * time.Second
)

// TestNodeStopped stops a node with collectors, exporters and the operator, and starts it again when the others have taken over.
func TestNodeStopped(t *testing.T) {
	environment.Test(t, steps.Feature("a node is stopped, and started again").
		WithLabel("run", "full").
		Assess("and its collectors' targets go to the others, and come back", steps.In(steps.RealPods, func(t *testing.T, scene *steps.Scene) {
			f := startFaulty(t, scene, 3)
			n := f.chooseNode(t)
			f.nodeStops(t, n)
			f.nodeReturns(t, n)
		})).
		Feature())
}

// doomed is a node that is to be stopped.
type doomed struct {
	name       string
	collectors []string // on it
	exporters  []string
	others     []string // collectors elsewhere
}

// chooseNode finds the node with the operator. Of the collectors, Kubernetes puts some there, and some elsewhere.
func (f *faulty) chooseNode(t *testing.T) doomed {
	t.Helper()
	n := doomed{name: f.operatorPod(t).Spec.NodeName}
	list, err := f.client.CoreV1().Pods(f.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		here := p.Spec.NodeName == n.name
		switch {
		case p.Labels["workbench"] == "exporter" && here:
			n.exporters = append(n.exporters, p.Name)
		case slices.Contains(members(3), p.Name) && here:
			n.collectors = append(n.collectors, p.Name)
		case slices.Contains(members(3), p.Name):
			n.others = append(n.others, p.Name)
		}
	}
	if len(n.collectors) == 0 || len(n.others) == 0 || len(n.exporters) == 0 {
		t.Fatalf("want some collectors and exporters on the operator's node, and collectors elsewhere: %+v", n)
	}
	return n
}

// nodeStops stops the node, and holds that its collectors' targets go to the others once these are given up, and no other moves.
func (f *faulty) nodeStops(t *testing.T, n doomed) {
	f.expectExporters(t, n, false)
	i := f.incident(t, "node stopped")
	f.stopNode(t, n.name)
	stopped := i.passed()
	f.waitCollectorsDown(t, n)
	i.note(t, "the node was off after %s, and its pods were not ready after %s", stopped, i.passed())
	f.waitReplaced(t, n)
	i.note(t, "the operator was ready elsewhere after %s", i.passed())
	lost := func(_, owner string) bool { return slices.Contains(n.collectors, owner) }
	i.over(t, judged{
		// What moves are the targets of its collectors. The others have their share of those that can't be scraped now, too.
		expected: expected{members: n.others, moved: i.count(lost), uneven: true, patience: 2 * steps.RealPatience},
		groups: []group{
			{"of the node's collectors", lost, nodeStop + nodeGrace + notReadyGrace + unavoidable + slack, "node grace, grace period, a move"},
			untouched(),
		},
		pods: f.onNode(t, n.name),
	})
	f.WaitCondition(t, pool, "Ready", metav1.ConditionFalse, "Progressing")
}

// nodeReturns starts the node again, and holds that its collectors get their share again.
func (f *faulty) nodeReturns(t *testing.T, n doomed) {
	i := f.incident(t, "node started again")
	if err := f.nodes.StartNode(t.Context(), n.name); err != nil {
		t.Fatalf("start node %s: %v", n.name, err)
	}
	within(t, steps.RealPatience, "the node is ready", func() error { return f.nodeReady(t.Context(), n.name) })
	i.note(t, "the node was ready %s after", i.passed())
	f.wantAddress(t, n.name)
	f.expectExporters(t, n, true)
	f.WaitReady(t, pool)
	i.note(t, "the collector was Ready %s after", i.passed())
	i.over(t, judged{
		// The node's exporters have other addresses now, and are shared out anew: that the load is even is all there is to hold.
		expected: expected{members: members(3), moved: anyNumber, patience: 2 * steps.RealPatience},
		groups:   []group{all("all", unavoidable+slack, "a move, of those that come back")},
		pods:     f.onNode(t, n.name),
	})
	f.WaitReady(t, pool)
}

// wantAddress fails the test when a node has come back with another address than the cluster knows it by, to which nobody has a route.
func (f *faulty) wantAddress(t *testing.T, name string) {
	t.Helper()
	node, err := f.client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := f.nodes.Exec(t.Context(), name, "hostname", "--all-ip-addresses")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP && !slices.Contains(strings.Fields(out), a.Address) {
			t.Fatalf("node %s has come back with the addresses %s, and had %s: another container has taken that one meanwhile", name, out, a.Address)
		}
	}
}

// expectExporters says whether the exporters on a node, which are no less than they are by their Deployments, are to be scraped.
func (f *faulty) expectExporters(t *testing.T, n doomed, expected bool) {
	t.Helper()
	for _, name := range n.exporters {
		label := map[bool]string{true: "exporter", false: "lost"}[expected]
		u := f.Patch(t, steps.Pods, name, fmt.Sprintf("metadata: {labels: {workbench: %s}}", label))
		app := u.GetLabels()["app"]
		label = map[bool]string{true: app, false: "null"}[expected]
		f.Patch(t, steps.Deployments, app, fmt.Sprintf("metadata: {labels: {app: %s}}", label))
	}
}

// waitCollectorsDown waits until the cluster has noticed that the node is off.
func (f *faulty) waitCollectorsDown(t *testing.T, n doomed) {
	t.Helper()
	f.Eventually(t, "the pods on "+n.name+" are not ready", func() error {
		for _, name := range n.collectors {
			if u := f.Get(t, steps.Pods, name); steps.PodReady(u) {
				return fmt.Errorf("pod %s is", name)
			}
		}
		return nil
	})
}

// count is how many targets are in a group.
func (i *incident) count(has func(target, owner string) bool) int {
	n := 0
	for target, owner := range i.owners {
		if has(target, owner) {
			n++
		}
	}
	return n
}

// onNode returns a function that tells whether a pod is, or was, on a node.
func (f *faulty) onNode(t *testing.T, node string) func(string) bool {
	t.Helper()
	list, err := f.client.CoreV1().Pods(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, p := range list.Items {
		there[p.Namespace+"/"+p.Name] = true
	}
	return func(name string) bool { return there[name] }
}

// waitReplaced waits until the operator is ready on another node.
func (f *faulty) waitReplaced(t *testing.T, n doomed) {
	t.Helper()
	within(t, steps.RealPatience, "the operator is ready elsewhere", func() error {
		pods, err := f.operatorPods(t.Context())
		if err == nil && !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Spec.NodeName != n.name }) {
			err = errors.New("it is not")
		}
		return err
	})
}
