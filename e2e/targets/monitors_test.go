package targets_test

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
)

// The resources that targets are found through.
//
//nolint:gochecknoglobals // constants in all but the language
var (
	serviceMonitors = schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "servicemonitors"}
	endpointSlices  = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
)

// expose makes the targets the endpoints of a Service that selects no pods: an EndpointSlice for each, since all ports of a slice
// have different names. The API server takes no loopback addresses, so these are from the range for documentation (RFC 5737), and the
// monitors relabel them.
func expose(t *testing.T, s *steps.Scene, service string, targets farm) {
	t.Helper()
	s.CreateIn(t, steps.Services, steps.Parse(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s, labels: {app: %[1]s}}
spec: {clusterIP: None, ports: [{name: metrics, port: 80}]}
`, service)))
	for i, target := range targets {
		s.CreateIn(t, endpointSlices, steps.Parse(t, fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-%[2]s, labels: {kubernetes.io/service-name: %[1]s, endpointslice.kubernetes.io/managed-by: %[5]s}}
addressType: IPv4
endpoints: [{addresses: [203.0.113.%[3]d], conditions: {ready: true}}]
ports: [{name: metrics, port: %[4]d, protocol: TCP}]
`, service, target.name, 1+i%250, target.port, steps.UserAgent)))
	}
}

// monitor is a ServiceMonitor of a service with more fields of its endpoint, in YAML.
func monitor(t *testing.T, s *steps.Scene, service, path string) {
	t.Helper()
	s.CreateIn(t, serviceMonitors, steps.Parse(t, fmt.Sprintf(`
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  endpoints: [%[2]s]
`, service, endpoint(path))))
}

func endpoint(path string) string {
	return fmt.Sprintf(`{port: metrics, path: %s, relabelings: [
    {sourceLabels: [__meta_kubernetes_endpointslice_port], targetLabel: __address__, replacement: '127.0.0.1:$1'}]}`, path)
}
