package controlplane_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/otelier/otelier/e2e/controlplane"
)

const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.com/web}]}
`

const statefulSet = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: example.com/db, volumeMounts: [{name: data, mountPath: /data}]}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`

func TestCluster(t *testing.T) {
	t.Parallel()
	cp := start(t)
	t.Run("nodes can be scheduled to", func(t *testing.T) { testNodes(t, cp) })
	t.Run("deployment", func(t *testing.T) { testDeployment(t, cp) })
	t.Run("stateful set with claims", func(t *testing.T) { testStatefulSet(t, cp) })
	t.Run("what could not be stored is tried again", func(t *testing.T) { testNotStored(t, cp) })
	t.Run("frozen component", func(t *testing.T) { testFreeze(t, cp) })
	t.Run("permissions of another user", func(t *testing.T) { testImpersonation(t, cp) })
	t.Run("audit", func(t *testing.T) { testAudit(t, cp) })
}

func testNodes(t *testing.T, cp *controlplane.ControlPlane) {
	nodes, err := clientset(t, cp).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes.Items) != 3 {
		t.Errorf("%d nodes, want 3", len(nodes.Items))
	}
	for _, node := range nodes.Items {
		if node.Labels["kubernetes.io/hostname"] != node.Name || len(node.Spec.Taints) > 0 {
			t.Errorf("%s: labels %v, taints %v", node.Name, node.Labels, node.Spec.Taints)
		}
		if capacity := fmt.Sprint(node.Status.Allocatable.Cpu(), node.Status.Allocatable.Memory(),
			node.Status.Allocatable.Pods()); capacity != "32 256Gi 110" {
			t.Errorf("%s: allocatable %s", node.Name, capacity)
		}
	}
}

func testDeployment(t *testing.T, cp *controlplane.ControlPlane) {
	apply(t, cp, deployment)
	kubectl(t, cp, "rollout", "status", "deployment/web", "--timeout=60s")
	pods := kubectl(t, cp, "get", "pods", "-l", "app=web", "-o", "jsonpath={range .items[*]}{.status.phase} {end}")
	if pods != "Running Running Running" {
		t.Errorf("pods are %q, want three Running", pods)
	}
	kubectl(t, cp, "scale", "deployment/web", "--replicas=1")
	kubectl(t, cp, "wait", "deployment/web", "--for=jsonpath={.status.replicas}=1", "--timeout=60s")
	kubectl(t, cp, "delete", "deployment/web", "--cascade=foreground", "--timeout=60s")
	if left := kubectl(t, cp, "get", "pods,replicasets", "-l", "app=web", "-o", "name"); left != "" {
		t.Errorf("left after the deletion of their owner: %s", left)
	}
}

func testStatefulSet(t *testing.T, cp *controlplane.ControlPlane) {
	apply(t, cp, statefulSet)
	kubectl(t, cp, "rollout", "status", "statefulset/db", "--timeout=60s")
	const claims = "jsonpath={range .items[*]}{.metadata.name} {.status.phase} {.status.capacity.storage} {end}"
	got := kubectl(t, cp, "get", "persistentvolumeclaims", "-o", claims)
	if want := "data-db-0 Bound 1Gi data-db-1 Bound 1Gi data-db-2 Bound 1Gi"; got != want {
		t.Errorf("claims are %q, want %q", got, want)
	}

	kubectl(t, cp, "patch", "persistentvolumeclaim/data-db-0", "-p", `{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`)
	kubectl(t, cp, "wait", "persistentvolumeclaim/data-db-0", "--for=jsonpath={.status.capacity.storage}=2Gi", "--timeout=60s")

	kubectl(t, cp, "scale", "statefulset/db", "--replicas=1")
	kubectl(t, cp, "wait", "pod/db-1", "pod/db-2", "--for=delete", "--timeout=60s")
	kubectl(t, cp, "get", "persistentvolumeclaim/data-db-2") // outlives its pod

	// A claim in use stays until its pod is gone.
	kubectl(t, cp, "delete", "persistentvolumeclaims", "--all", "--wait=false")
	kubectl(t, cp, "wait", "persistentvolumeclaim/data-db-1", "persistentvolumeclaim/data-db-2", "--for=delete", "--timeout=60s")
	kubectl(t, cp, "get", "persistentvolumeclaim/data-db-0")
	kubectl(t, cp, "delete", "statefulset/db")
	kubectl(t, cp, "wait", "persistentvolumeclaim/data-db-0", "--for=delete", "--timeout=60s")
	eventually(t, "deletion of the volumes", func() error {
		if left := kubectl(t, cp, "get", "persistentvolumes", "-o", "name"); left != "" {
			return fmt.Errorf("there are %s", left)
		}
		return nil
	})
}

func testFreeze(t *testing.T, cp *controlplane.ControlPlane) {
	thaw, err := cp.Freeze(controlplane.Kwok)
	if err != nil {
		t.Fatal(err)
	}
	defer thaw()
	kubectl(t, cp, "run", "frozen", "--image=example.com/web")
	kubectl(t, cp, "wait", "pod/frozen", "--for=condition=PodScheduled", "--timeout=60s")
	if phase := kubectl(t, cp, "get", "pod/frozen", "-o", "jsonpath={.status.phase}"); phase != "Pending" {
		t.Errorf("pod is %s while nothing acts for its kubelet", phase)
	}
	thaw()
	kubectl(t, cp, "wait", "pod/frozen", "--for=condition=Ready", "--timeout=60s")
	kubectl(t, cp, "delete", "pod/frozen")

	if _, err := cp.Freeze("kubelet"); err == nil || !strings.Contains(err.Error(), `"kubelet"`) {
		t.Errorf("error %v for a component that does not exist", err)
	}
}

func testImpersonation(t *testing.T, cp *controlplane.ControlPlane) {
	const user = "system:serviceaccount:default:reader"
	kubeconfig, err := cp.KubeconfigAs(user)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	reader, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	list := func(ctx context.Context) error {
		_, err := reader.CoreV1().ConfigMaps(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{})
		return err
	}
	if err := list(t.Context()); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), user) {
		t.Fatalf("error %v, want that %s may not", err, user)
	}
	// Bound to a group that the API server puts every service account of the namespace into.
	kubectl(t, cp, "create", "role", "read", "--verb=list", "--resource=configmaps")
	kubectl(t, cp, "create", "rolebinding", "read", "--role=read", "--group=system:serviceaccounts:default")
	eventually(t, "permission", func() error {
		err := list(t.Context())
		if err != nil && !apierrors.IsForbidden(err) {
			t.Fatal(errors.Join(errors.New("not a matter of permissions"), err))
		}
		return err
	})
}
