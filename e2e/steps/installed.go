package steps

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/e2e/steps/program"
)

// Installed is the operator that was installed from its manifest: a Deployment and, where no container runs, a process with the same
// rights, settings and part in the election that stands for its pod.
type Installed struct {
	// Namespace that it was installed into.
	Namespace string

	suite   *Suite
	version Version          // what was put in the place of the suite's own; empty for that
	imageID string           // of its image, "" where that is known by its name
	process *program.Process // nil where containers run
}

// Process stands for the operator's pod where no container runs; nil elsewhere.
func (i *Installed) Process() *program.Process { return i.process }

// start waits until the Deployment is rolled out, having started the process that it needs to be of use where no container runs.
func (i *Installed) start(ctx context.Context) error {
	s := i.suite
	if err := s.kubectl(ctx, nil, "rollout", "status", "deployment/otelier", "--namespace", i.Namespace, "--timeout", s.patience().String()); err != nil {
		log, _ := i.Log(ctx) // there may be none
		return fmt.Errorf("operator: %w\nits log:\n%s", err, log)
	}
	if s.realPods() {
		return nil
	}
	environment, args, err := i.container(ctx)
	if err != nil {
		return err
	}
	kubeconfig, err := s.Cluster.KubeconfigAs("system:serviceaccount:" + i.Namespace + ":otelier")
	if err != nil {
		return err
	}
	i.process, err = program.StartWith(cmp.Or(i.version.Binary, s.Binary), environment, append(args, "--kubeconfig", kubeconfig, "--leader-elect"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.patience(), fmt.Errorf("not after %s", s.patience()))
	defer cancel()
	return i.process.WaitReady(ctx)
}

// container is the environment of the Deployment's container on top of the caller's, with free ports, and its arguments.
func (i *Installed) container(ctx context.Context) (environment, args []string, err error) {
	u, err := i.suite.client.Resource(Deployments).Namespace(i.Namespace).Get(ctx, "otelier", metav1.GetOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("operator: %w", err)
	}
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	// A version that lacks one of these flags does not look at its variable.
	environment = append(program.Environment(), "OTELIER_LEADER_ELECT_NAMESPACE="+i.Namespace,
		"OTELIER_LISTEN=127.0.0.1:0", "OTELIER_ALLOCATOR_LISTEN=127.0.0.1:0")
	for _, c := range containers {
		container, _ := c.(map[string]any)
		list, _, _ := unstructured.NestedStringSlice(container, "args")
		args = append(args, list...)
		variables, _ := container["env"].([]any)
		for _, v := range variables {
			variable, _ := v.(map[string]any)
			name, _ := variable["name"].(string)
			if value, ok := variable["value"].(string); ok {
				environment = append(environment, name+"="+value)
			}
		}
	}
	return environment, args, nil
}

// stop ends the process. The error says what its log must not have.
func (i *Installed) stop() error {
	if i.process == nil {
		return nil
	}
	if err := i.process.Stop(); err != nil {
		return err
	}
	if defects := i.process.Defects(); defects != "" {
		return fmt.Errorf("operator: %s", defects)
	}
	return nil
}

// Log is what the pods that are there have logged so far, one after the other, or the process that stands for one.
func (i *Installed) Log(ctx context.Context) (string, error) {
	if i.process != nil {
		return i.process.Log(), nil
	}
	pods, err := i.Pods(ctx)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, pod := range pods {
		log, err := i.suite.kubectlOutput(ctx, nil, "logs", pod, "--namespace", i.Namespace)
		if err != nil {
			return "", err
		}
		out.WriteString(log)
	}
	return out.String(), nil
}

// Pods are the names of the Deployment's pods that are ready and stay, sorted.
func (i *Installed) Pods(ctx context.Context) ([]string, error) {
	list, err := i.suite.client.Resource(Pods).Namespace(i.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=otelier"})
	if err != nil {
		return nil, fmt.Errorf("operator: %w", err)
	}
	var there []unstructured.Unstructured
	for _, u := range list.Items {
		if u.GetDeletionTimestamp() == nil && PodReady(&u) {
			there = append(there, u)
		}
	}
	return Names(there), nil
}

// PodReady tells whether a pod has the condition Ready.
func PodReady(u *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] == "Ready" {
			return condition["status"] == string(metav1.ConditionTrue)
		}
	}
	return false
}

// Get asks the operator for a path over HTTP, such as /metrics, through the API server: the first of its pods, or the process that
// stands for it.
func (i *Installed) Get(ctx context.Context, path string) (string, error) {
	if i.process != nil {
		status, body, err := i.process.Get(ctx, path)
		if err == nil && status >= 300 {
			err = fmt.Errorf("%s: %d %s", path, status, body)
		}
		return body, err
	}
	pods, err := i.Pods(ctx)
	if err != nil {
		return "", err
	}
	if len(pods) == 0 {
		return "", fmt.Errorf("%s: no pod of the operator is ready", path)
	}
	return i.suite.PodGet(ctx, i.Namespace, pods[0], 8080, path)
}

// PodGet asks a pod for a path over HTTP through the API server.
func (s *Suite) PodGet(ctx context.Context, namespace, pod string, port int, path string) (string, error) {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	uri := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:%d/proxy%s", namespace, pod, port, path)
	body, err := s.discovery.RESTClient().Get().RequestURI(uri).Do(ctx).Raw()
	if err != nil {
		return string(body), fmt.Errorf("pod %s: %s: %w", pod, path, err)
	}
	return string(body), nil
}
