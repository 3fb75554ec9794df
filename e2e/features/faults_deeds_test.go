package features_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// operatorName is that of the operator's Deployment and of its Lease.
const operatorName = "otelier"

// allocatorPort is where the operator's container answers collectors.
const allocatorPort = 8081

// kill ends the containers of a pod with SIGKILL, as the kernel would for lack of memory. Nobody is told.
func (f *faulty) kill(t *testing.T, namespace, name string) {
	t.Helper()
	pod, err := f.client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range pod.Status.ContainerStatuses {
		_, id, _ := strings.Cut(c.ContainerID, "://")
		if _, err := f.nodes.Exec(t.Context(), pod.Spec.NodeName, "ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", id); err != nil {
			t.Fatalf("kill pod %s: %v", name, err)
		}
	}
}

// deleteNow deletes a pod without any grace.
func (f *faulty) deleteNow(t *testing.T, namespace, name string) {
	t.Helper()
	none := int64(0)
	if err := f.client.CoreV1().Pods(namespace).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &none}); err != nil {
		t.Fatalf("delete pod %s: %v", name, err)
	}
}

// operatorPods are those of the operator that are ready.
func (f *faulty) operatorPods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := f.client.CoreV1().Pods(f.Installed.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + operatorName})
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		return p.DeletionTimestamp != nil || !ready
	}), nil
}

// operatorPod is the only one that is ready.
func (f *faulty) operatorPod(t *testing.T) corev1.Pod {
	t.Helper()
	pods, err := f.operatorPods(t.Context())
	if err == nil && len(pods) != 1 {
		err = fmt.Errorf("%d pods of the operator are ready, want one", len(pods))
	}
	if err != nil {
		t.Fatal(err)
	}
	return pods[0]
}

// scaleOperator sets the number of the operator's pods, and waits until as many are ready and no more are there.
func (f *faulty) scaleOperator(ctx context.Context, replicas int32) error {
	scale := &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: operatorName, Namespace: f.Installed.Namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: replicas},
	}
	if _, err := f.client.AppsV1().Deployments(f.Installed.Namespace).UpdateScale(ctx, operatorName, scale, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("operator: scale to %d: %w", replicas, err)
	}
	return nil
}

// waitOperators waits until as many pods of the operator are ready, and returns their names.
func (f *faulty) waitOperators(t *testing.T, replicas int) []string {
	t.Helper()
	var names []string
	within(t, steps.RealPatience, fmt.Sprintf("%d pods of the operator are ready", replicas), func() error {
		list, err := f.client.CoreV1().Pods(f.Installed.Namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		ready, err := f.operatorPods(t.Context())
		if err != nil {
			return err
		}
		if len(ready) != replicas || len(list.Items) != replicas {
			return fmt.Errorf("%d of %d", len(ready), len(list.Items))
		}
		names = nil
		for _, p := range ready {
			names = append(names, p.Name)
		}
		return nil
	})
	return names
}

// restoreOperator sees to it that there is one pod of the operator at the end, whatever happens before.
func (f *faulty) restoreOperator(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), steps.RealPatience)
		defer cancel()
		if err := f.scaleOperator(ctx, 1); err != nil {
			t.Error(err)
		}
		wait(ctx, t, "one pod of the operator is ready", func() error {
			pods, err := f.operatorPods(ctx)
			if err == nil && len(pods) != 1 {
				err = fmt.Errorf("%d are", len(pods))
			}
			return err
		})
	})
}

// wait is within for the end of a test, whose context is done then.
func wait(ctx context.Context, t *testing.T, what string, check func() error) {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Errorf("%s: not in time; last seen: %v", what, err)
			return
		}
	}
}

// leader is the pod that holds the operator's Lease, and when it has got it.
func (f *faulty) leader(ctx context.Context) (pod string, since time.Time, err error) {
	lease, err := f.client.CoordinationV1().Leases(f.Installed.Namespace).Get(ctx, operatorName, metav1.GetOptions{})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("lease: %w", err)
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.AcquireTime == nil {
		return "", time.Time{}, errors.New("lease: nobody holds it")
	}
	pod, _, _ = strings.Cut(*lease.Spec.HolderIdentity, "_") // HOSTNAME_UUID
	return pod, lease.Spec.AcquireTime.Time, nil
}

// cut drops what pods send to a port of another pod, in all nodes, until the function that it returns is called or the test ends.
func (f *faulty) cut(t *testing.T, ip string, port int) (restore func()) {
	t.Helper()
	nodes, err := f.nodes.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rule := []string{"FORWARD", "--protocol", "tcp", "--destination", ip, "--dport", strconv.Itoa(port), "--jump", "DROP"}
	dropped := map[string]bool{}
	ctx := context.WithoutCancel(t.Context())
	restore = func() {
		for node := range dropped {
			if _, err := f.nodes.Exec(ctx, node, append([]string{"iptables", "--wait", "--delete"}, rule...)...); err != nil {
				t.Errorf("node %s: %v", node, err)
			}
			delete(dropped, node)
		}
	}
	t.Cleanup(restore)
	for _, node := range nodes {
		if _, err := f.nodes.Exec(ctx, node, append([]string{"iptables", "--wait", "--insert"}, rule...)...); err != nil {
			t.Fatalf("node %s: %v", node, err)
		}
		dropped[node] = true
	}
	return restore
}

// stopNode stops a node, which is started again at the end of the test at the latest.
func (f *faulty) stopNode(t *testing.T, node string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), steps.RealPatience)
		defer cancel()
		if err := f.nodes.StartNode(ctx, node); err != nil {
			t.Errorf("start node %s: %v", node, err)
		}
		wait(ctx, t, "node "+node+" is ready", func() error { return f.nodeReady(ctx, node) })
	})
	if err := f.nodes.StopNode(t.Context(), node); err != nil {
		t.Fatalf("stop node %s: %v", node, err)
	}
}

// nodeReady says why a node is not ready; nil when it is.
func (f *faulty) nodeReady(ctx context.Context, name string) error {
	node, err := f.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("conditions %v", node.Status.Conditions)
}
