package features_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
)

// The resources that targets are found through.
//
//nolint:gochecknoglobals // constants in all but the language
var (
	serviceMonitors = schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "servicemonitors"}
	podMonitors     = schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "podmonitors"}
	probes          = schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "probes"}
	scrapeConfigs   = schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1alpha1", Resource: "scrapeconfigs"}
)

// The first port of exporters.
const firstPort = 9100

// The annotation of an exporter's pods with the ports that are to be scraped, as a list with commas.
const wantedPorts = "workbench/ports"

// exporters are the pods of a Deployment, behind a Service of the same name.
type exporters struct {
	name     string
	replicas int
	ports    int // of each pod, all of which are targets
	// args are further flags of workbench exporter.
	args []string
	// wanted are the ports to be scraped; nil for all.
	wanted []int
	// template has more of the pods' template, in YAML.
	template string
	// container has more of the container.
	container string
	// https serves over TLS.
	https bool
	// node is where the pods are put; any when empty.
	node string
}

// deploy makes exporters, and does not wait for them.
func (s *scraping) deploy(t *testing.T, e exporters) {
	t.Helper()
	wanted := e.wanted
	var container, service []map[string]any
	for i := range e.ports {
		port := firstPort + i
		container = append(container, map[string]any{"name": portName(i), "containerPort": port})
		service = append(service, map[string]any{"name": portName(i), "port": port})
		if e.wanted == nil {
			wanted = append(wanted, port)
		}
	}
	scheme := "HTTP"
	if e.https {
		scheme = "HTTPS"
	}
	u := steps.Parse(t, fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata:
      labels: {app: %[1]s, workbench: exporter}
      annotations: {%[3]s: %[4]q}
    spec:
      terminationGracePeriodSeconds: 1
      automountServiceAccountToken: false
      containers:
        - name: exporter
          image: %[5]s
          ports: %[7]s
          args: %[6]s
          readinessProbe: {httpGet: {path: /healthz, port: %[8]d, scheme: %[9]s}, periodSeconds: 1}
`, e.name, e.replicas, wantedPorts, joinInts(wanted), s.Images.Workbench,
		toJSON(t, append([]string{"exporter", "-first-port", strconv.Itoa(firstPort), "-ports", strconv.Itoa(e.ports)}, e.args...)),
		toJSON(t, container), firstPort, scheme))
	merge(t, u, e.template, "spec", "template")
	if e.node != "" {
		merge(t, u, fmt.Sprintf("spec: {nodeSelector: {kubernetes.io/hostname: %s}}", e.node), "spec", "template")
	}
	mergeContainer(t, u, e.container)
	s.CreateIn(t, steps.Deployments, u)
	s.CreateIn(t, steps.Services, steps.Parse(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec: {selector: {app: %[1]s}, ports: %[2]s}
`, e.name, toJSON(t, service))))
}

func portName(i int) string { return fmt.Sprintf("m%d", i) }

func joinInts(numbers []int) string {
	var out []string
	for _, n := range numbers {
		out = append(out, strconv.Itoa(n))
	}
	return strings.Join(out, ",")
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// merge adds the keys of a YAML mapping to that at a path: mappings in mappings are merged, all else is replaced.
func merge(t *testing.T, u *unstructured.Unstructured, text string, path ...string) {
	t.Helper()
	if text == "" {
		return
	}
	into, ok, err := unstructured.NestedMap(u.Object, path...)
	if err != nil || !ok {
		t.Fatalf("%s: nothing at %v: %v", u.GetName(), path, err)
	}
	mergeMaps(into, steps.Parse(t, text).Object)
	if err := unstructured.SetNestedMap(u.Object, into, path...); err != nil {
		t.Fatal(err)
	}
}

func mergeMaps(into, from map[string]any) {
	for key, value := range from {
		old, ok := into[key].(map[string]any)
		if more, isMap := value.(map[string]any); ok && isMap {
			mergeMaps(old, more)
			continue
		}
		into[key] = value
	}
}

func mergeContainer(t *testing.T, u *unstructured.Unstructured, text string) {
	t.Helper()
	if text == "" {
		return
	}
	path := []string{"spec", "template", "spec", "containers"}
	containers, _, err := unstructured.NestedSlice(u.Object, path...)
	if err != nil {
		t.Fatal(err)
	}
	mergeMaps(containers[0].(map[string]any), steps.Parse(t, text).Object)
	if err := unstructured.SetNestedSlice(u.Object, containers, path...); err != nil {
		t.Fatal(err)
	}
}

// serviceMonitor selects the Service of exporters, and all its ports unless fields of the endpoint, in YAML, say otherwise.
func (s *scraping) serviceMonitor(t *testing.T, name, endpoint string) {
	t.Helper()
	s.CreateIn(t, serviceMonitors, steps.Parse(t, fmt.Sprintf(`
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  endpoints: [{%[2]s}]
`, name, endpoint)))
}

// podMonitor selects the pods of exporters and as many of their ports.
func (s *scraping) podMonitor(t *testing.T, name string, ports int) {
	t.Helper()
	var endpoints []map[string]string
	for i := range ports {
		endpoints = append(endpoints, map[string]string{"port": portName(i)})
	}
	s.CreateIn(t, podMonitors, steps.Parse(t, fmt.Sprintf(`
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  podMetricsEndpoints: %[2]s
`, name, toJSON(t, endpoints))))
}

// probe has exporters probe what these names stand for. No port of the exporters is a target by itself then: deploy them without wanted ports.
func (s *scraping) probe(t *testing.T, name string, targets ...string) {
	t.Helper()
	s.CreateIn(t, probes, steps.Parse(t, fmt.Sprintf(`
apiVersion: monitoring.coreos.com/v1
kind: Probe
metadata: {name: %[1]s}
spec:
  prober: {url: '%[1]s.%[2]s.svc:%[3]d'}
  targets: {staticConfig: {static: %[4]s}}
`, name, s.Namespace, firstPort, toJSON(t, targets))))
	for _, target := range targets {
		s.static["probe/"+target] = true
	}
}

// scrapeConfig lists the ports of a Service with one pod.
func (s *scraping) scrapeConfig(t *testing.T, name string, ports int) {
	t.Helper()
	var targets []string
	for i := range ports {
		targets = append(targets, fmt.Sprintf("%s.%s.svc:%d", name, s.Namespace, firstPort+i))
	}
	s.CreateIn(t, scrapeConfigs, steps.Parse(t, fmt.Sprintf(`
apiVersion: monitoring.coreos.com/v1alpha1
kind: ScrapeConfig
metadata: {name: %s}
spec: {staticConfigs: [{targets: %s}]}
`, name, toJSON(t, targets))))
}
