package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// client is the launcher's own access to the API server.
type client struct{ kubernetes.Interface }

// client returns an access as admin that the audit log knows by userAgent.
func (cp *ControlPlane) client(userAgent string) (client, error) {
	config, err := cp.RESTConfig(userAgent)
	if err != nil {
		return client{}, err
	}
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		return client{}, fmt.Errorf("client: %w", err)
	}
	return client{set}, nil
}

// RESTConfig is the configuration of a client that may do everything, with the given User-Agent and no rate limit.
func (cp *ControlPlane) RESTConfig(userAgent string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", cp.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	config.UserAgent, config.QPS = userAgent, -1
	return config, nil
}

func (c client) ready(ctx context.Context) error {
	var status int
	result := c.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&status)
	if status == http.StatusOK {
		return nil
	}
	return fmt.Errorf("/readyz: %w", result.Error())
}

// populate creates the nodes and the StorageClass, and waits for what the components make of an empty cluster.
func (c client) populate(ctx context.Context, processes []*process, nodes int) error {
	if err := c.createStorageClass(ctx); err != nil {
		return err
	}
	for i := range nodes {
		if err := c.createNode(ctx, i+1); err != nil {
			return err
		}
	}
	if err := until(ctx, "nodes", processes, c.nodesReady); err != nil {
		return err
	}
	return until(ctx, "service account", processes, func(ctx context.Context) error {
		_, err := c.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func (c client) createStorageClass(ctx context.Context) error {
	expand := true
	_, err := c.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "standard",
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner:          "kwok.x-k8s.io/volume",
		AllowVolumeExpansion: &expand,
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("storage class: %w", err)
	}
	return nil
}

// createNode registers a node as its kubelet would. kwok reports it Ready.
func (c client) createNode(ctx context.Context, number int) error {
	name := fmt.Sprintf("node-%d", number)
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("32"),
		corev1.ResourceMemory:           resource.MustParse("256Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
		corev1.ResourcePods:             resource.MustParse("110"),
	}
	_, err := c.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				corev1.LabelHostname:   name,
				corev1.LabelOSStable:   "linux",
				corev1.LabelArchStable: runtime.GOARCH,
			},
		},
		Status: corev1.NodeStatus{
			Capacity:    capacity,
			Allocatable: capacity,
			// From a range set aside for benchmarks (RFC 2544): nothing answers there.
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("198.18.%d.%d", number/250, number%250+1)},
				{Type: corev1.NodeHostName, Address: name},
			},
			NodeInfo: corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: runtime.GOARCH},
		},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("node %s: %w", name, err)
	}
	return nil
}

// nodesReady is nil if pods can be scheduled to every node.
func (c client) nodesReady(ctx context.Context) error {
	nodes, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var errs []error
	for _, node := range nodes.Items {
		if !nodeReady(node) {
			errs = append(errs, fmt.Errorf("%s is not Ready", node.Name))
		}
		for _, taint := range node.Spec.Taints {
			errs = append(errs, fmt.Errorf("%s is tainted %s", node.Name, taint.ToString()))
		}
	}
	return errors.Join(errs...)
}

func nodeReady(node corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
