package features_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
)

// The resources that permissions are about, besides those of package steps.
//
//nolint:gochecknoglobals // constants in all but the language
var (
	storageClasses  = schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}
	volumeResources = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumes"}
	endpointSlices  = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
)

// scrapeConfig is a configuration that any collector takes which can scrape, with more of it in YAML.
func scrapeConfig(scrapeConfigs string) string {
	return fmt.Sprintf(`config:
  receivers: {prometheus: {config: {scrape_configs: [%s]}}}
  exporters: {debug: {}}
  service: {pipelines: {metrics: {receivers: [prometheus], exporters: [debug]}}}
`, scrapeConfigs)
}

const staticTargets = `{job_name: static, static_configs: [{targets: ["127.0.0.1:9"]}]}`

// idle is a collector that has no pods, whatever its mode.
func idle(t *testing.T, name, mode string, fields ...string) *unstructured.Unstructured {
	t.Helper()
	none := `replicas: 0`
	if mode == "daemonset" {
		none = nowhere
	}
	return steps.Collector(t, name, mode, append([]string{scrapeConfig(staticTargets), none}, fields...)...)
}

const nowhere = `nodeSelector: {otelier.test/there: is-none}`

// running is a StatefulSet of one pod.
func running(t *testing.T, name string, fields ...string) *unstructured.Unstructured {
	t.Helper()
	return steps.Collector(t, name, "statefulset", append([]string{scrapeConfig(staticTargets)}, fields...)...)
}

func claimOf(size, class string) string {
	return fmt.Sprintf(
		`volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], storageClassName: %s, resources: {requests: {storage: %s}}}}]`,
		class, size)
}

const (
	// monitorsOfAll selects all monitors of all namespaces, monitorsByLabel those of namespaces with a label.
	monitorsOfAll   = `prometheusCR: {enabled: true, serviceMonitorSelector: {}}`
	monitorsByLabel = `prometheusCR: {enabled: true, serviceMonitorSelector: {}, podMonitorSelector: {}, probeSelector: {}, scrapeConfigSelector: {},
    serviceMonitorNamespaceSelector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]}}`
)

// scraper is a collector without pods whose targets are looked for. what is more of spec.targetAllocator, or a scrape config.
func scraper(t *testing.T, name, what string, fields ...string) *unstructured.Unstructured {
	t.Helper()
	allocator, jobs := `targetAllocator: {enabled: true}`, what
	if what == monitorsOfAll || what == monitorsByLabel {
		allocator, jobs = "targetAllocator:\n  enabled: true\n  "+what, staticTargets
	}
	return steps.Collector(t, name, "statefulset", append([]string{scrapeConfig(jobs), `replicas: 0`, allocator}, fields...)...)
}

// discoveryOf is a scrape config with one kubernetes_sd_config.
func discoveryOf(role string) string {
	return fmt.Sprintf(`{job_name: discovered, kubernetes_sd_configs: [{%s}]}`, role)
}

// roleFor is the kubernetes_sd_config that takes a resource.
func roleFor(resource string) string {
	return map[string]string{
		"endpointslices": `role: endpointslice`, "endpoints": `role: endpoints`, "ingresses": `role: ingress`, "nodes": `role: node`,
		"replicasets": `role: pod, attach_metadata: {deployment: true}`, "jobs": `role: pod, attach_metadata: {job: true}`,
	}[resource]
}

// zoned is a collector of one pod whose zone counts.
func zoned(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	u := scraper(t, name, staticTargets, `replicas: 1`)
	u.SetAnnotations(map[string]string{"otelier.io/allocation-zones": "true"})
	return u
}

// superfluous makes a collector, and one of its objects something that is to be deleted.
func superfluous(t *testing.T, s *steps.Scene, resource, name string) {
	t.Helper()
	mode := modeOf(resource)
	owner := s.Create(t, idle(t, name, mode, `configVersions: 1`, `ports: [{name: extra, port: 9999}]`))
	s.WaitReady(t, name)
	switch resource {
	case "serviceaccounts":
		s.PatchSpec(t, name, `serviceAccount: default`)
	case "configmaps":
		for n := range 3 {
			s.PatchSpec(t, name, scrapeConfig(fmt.Sprintf(`{job_name: changed-%d, static_configs: [{targets: ["127.0.0.1:9"]}]}`, n)))
			s.WaitObserved(t, name)
		}
	case "services":
		s.PatchSpec(t, name, `ports: null`)
	case "statefulsets":
		s.PatchSpec(t, name, `serviceName: another`)
	case "deployments":
		leftOver(t, s, steps.Deployments, name+"-collector", owner)
	case "daemonsets":
		leftOver(t, s, steps.DaemonSets, name+"-collector", owner)
	case "poddisruptionbudgets":
		leftOver(t, s, steps.Budgets, name+"-collector", owner)
	}
}

// leftOver makes a copy of a collector's object under another name, as a version of the operator may have made it that called it so.
func leftOver(t *testing.T, s *steps.Scene, r schema.GroupVersionResource, name string, owner *unstructured.Unstructured) {
	t.Helper()
	of := s.Get(t, r, name)
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": of.GetAPIVersion(), "kind": of.GetKind(), "spec": of.Object["spec"]}}
	u.SetName(name + "-former")
	u.SetLabels(of.GetLabels())
	controls := true
	u.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID(), Controller: &controls,
	}})
	s.CreateIn(t, r, u)
}

// disown takes the owner from a collector's ServiceAccount, which takes it for its own all the same.
func disown(t *testing.T, s *steps.Scene, name string) {
	t.Helper()
	s.Patch(t, steps.ServiceAccounts, name+"-collector", `metadata: {ownerReferences: null}`)
}

// A label in the selectors of StatefulSets, and another value for it.
const (
	partOf = "app.kubernetes.io/part-of"
	former = "former"
)

// otherSelector leaves of a collector's StatefulSet, whose operator does not run, the pods that one with another selector would have left.
func otherSelector(t *testing.T, s *steps.Scene, name string) {
	t.Helper()
	set := name + "-collector"
	s.Delete(t, steps.StatefulSets, set, metav1.DeletePropagationOrphan)
	s.Eventually(t, "deletion of the StatefulSet", func() error {
		if s.Find(t, steps.StatefulSets, set) != nil {
			return errors.New("it is there")
		}
		return nil
	})
	s.Patch(t, steps.Pods, set+"-0", "metadata: {labels: {"+partOf+": "+former+"}}")
}

// brokenTwice takes away the Secret of the secured monitor twice, which is an Event each time.
func brokenTwice(t *testing.T, s *steps.Scene, collector string) {
	t.Helper()
	secret := s.Get(t, secrets, secured)
	unstructured.RemoveNestedField(secret.Object, "metadata", "resourceVersion")
	unstructured.RemoveNestedField(secret.Object, "metadata", "uid")
	for range 2 {
		s.Delete(t, secrets, secured, metav1.DeletePropagationBackground)
		s.WaitCondition(t, collector, "MonitorsInvalid", metav1.ConditionTrue, "SecretMissing", secured)
		s.CreateIn(t, secrets, secret)
		s.Eventually(t, "the monitor is used", func() error {
			if c, broken := steps.Conditions(t, s.Get(t, steps.Collectors, collector))["MonitorsInvalid"]; broken {
				return errors.New(c.Message)
			}
			return nil
		})
	}
}

// storageClass makes a storage class that lets claims grow or not, with a volume for the claim of a collector's first pod, and returns its
// name. They go with the test.
func storageClass(t *testing.T, s *steps.Scene, grows bool, collector string) string {
	t.Helper()
	class := steps.Parse(t, fmt.Sprintf(`
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {generateName: %s-}
provisioner: kubernetes.io/no-provisioner
allowVolumeExpansion: %t
`, s.Namespace, grows))
	name := createInCluster(t, s, storageClasses, class)
	createInCluster(t, s, volumeResources, steps.Parse(t, fmt.Sprintf(`
apiVersion: v1
kind: PersistentVolume
metadata: {name: %[1]s}
spec:
  storageClassName: %[1]s
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  claimRef: {namespace: %[2]s, name: data-%[3]s-collector-0}
  hostPath: {path: /tmp/%[1]s, type: DirectoryOrCreate}
`, name, s.Namespace, collector)))
	return name
}

// createInCluster creates an object that is in no namespace, and returns its name. It goes with the test.
func createInCluster(t *testing.T, s *steps.Scene, r schema.GroupVersionResource, u *unstructured.Unstructured) string {
	t.Helper()
	client := clientFor(t, s).Resource(r)
	steps.MarkOurs(u)
	got, err := client.Create(t.Context(), u, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("%s: %v", r.Resource, err)
	}
	t.Cleanup(func() {
		if err := client.Delete(context.WithoutCancel(t.Context()), got.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Errorf("%s: %v", r.Resource, err)
		}
	})
	return got.GetName()
}

// waitBound waits until a collector of one pod has its claim and is ready.
func waitBound(t *testing.T, s *steps.Scene, name string) {
	t.Helper()
	s.WaitReady(t, name)
	claim := "data-" + name + "-collector-0"
	s.Eventually(t, "claim "+claim, func() error {
		if phase := steps.Field(s.Get(t, steps.Claims, claim), "status", "phase"); phase != "Bound" {
			return fmt.Errorf("it is %v", phase)
		}
		return nil
	})
}

// secured is a ServiceMonitor that refers to a Secret of the same name.
const secured = "secured"

func securedMonitor(t *testing.T, s *steps.Scene) {
	t.Helper()
	s.CreateIn(t, secrets, steps.Parse(t, `{apiVersion: v1, kind: Secret, metadata: {name: `+secured+`}, stringData: {user: me, password: hunter2}}`))
	s.CreateIn(t, serviceMonitors, steps.Parse(t, fmt.Sprintf(`
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  endpoints: [{port: metrics, basicAuth: {username: {name: %[1]s, key: user}, password: {name: %[1]s, key: password}}}]
`, secured)))
}

// twoReplicas makes it look as if two pods were behind the operator's Service.
func twoReplicas(t *testing.T, s *steps.Scene, namespace string) {
	t.Helper()
	there := &steps.Scene{Suite: s.Suite, Namespace: namespace}
	there.CreateIn(t, endpointSlices, steps.Parse(t, `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: otelier-replicas, labels: {kubernetes.io/service-name: otelier, endpointslice.kubernetes.io/managed-by: otelier-e2e}}
addressType: IPv4
endpoints: [{addresses: [203.0.113.1], conditions: {ready: true}}, {addresses: [203.0.113.2], conditions: {ready: true}}]
ports: [{name: targets, port: 8081, protocol: TCP}]
`))
}
