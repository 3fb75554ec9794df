package features_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
)

//nolint:gochecknoglobals // a constant in all but the language
var secrets = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

// annotated is a job as it is found in many a Prometheus' configuration: the pods' annotations say whether, where and at which path they
// are scraped. The collectors have such annotations too, and their telemetry does not reach the sink.
const annotated = `{job_name: annotated, kubernetes_sd_configs: [{role: pod, namespaces: {names: [%s]}}], relabel_configs: [
    {source_labels: [__meta_kubernetes_pod_label_workbench], action: keep, regex: exporter},
    {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], action: keep, regex: 'true'},
    {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_path], action: replace, regex: (.+), target_label: __metrics_path__},
    {source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port], action: replace,
     regex: '([^:]+)(?::\d+)?;(\d+)', replacement: '$$1:$$2', target_label: __address__},
    {action: labelmap, regex: __meta_kubernetes_pod_label_(team)},
    {source_labels: [__meta_kubernetes_pod_label_drop], action: drop, regex: 'yes'}]}`

// relabelings are of a ServiceMonitor: the first port is dropped, the second kept with a path of its own, and the third scraped at the port
// of the fourth.
const relabelings = `relabelings: [
    {sourceLabels: [__meta_kubernetes_endpointslice_port_name], action: keep, regex: 'm[0-2]'},
    {sourceLabels: [__meta_kubernetes_endpointslice_port_name], action: drop, regex: m0},
    {sourceLabels: [__meta_kubernetes_endpointslice_port_name], action: replace, regex: m1, targetLabel: __metrics_path__, replacement: /renamed},
    {sourceLabels: [__address__], action: replace, regex: '(.+):9102', targetLabel: __address__, replacement: '$1:9103'},
    {sourceLabels: [__meta_kubernetes_pod_name], action: replace, targetLabel: pod_name}],
  metricRelabelings: [{action: labeldrop, regex: path}]`

// TestTargetsSecured has targets that are found by relabelling, behind TLS, and behind a password.
func TestTargetsSecured(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("targets that are relabelled, behind TLS and behind a password").
		WithLabel("run", "full").
		Assess("are scraped, and no secret is given away unasked", steps.In(steps.RealPods, func(t *testing.T, scene *steps.Scene) {
			s := startScraping(t, scene)
			t.Cleanup(func() { t.Log(s.table()) })
			s.relabelled(t)
			s.overTLS(t)
			s.guarded(t)
			s.withheld["guarded"] = true
			job := fmt.Sprintf(annotated, s.Namespace)
			s.phase(t, "2 collectors start", func(t *testing.T) {
				s.collect(t, 2)
				s.PatchSpec(t, pool, "config: {receivers: {prometheus: "+receiver(job)+"}}")
			}, expected{members: members(2), moved: anyNumber})
			s.WaitCondition(t, pool, "JobsWithheld", metav1.ConditionTrue, "InsecureChannel", "serviceMonitor/"+s.Namespace+"/guarded/0", "allowInsecureAuthSecrets")
			s.wantRelabelled(t)
			s.credentials(t)
		})).
		Feature())
}

func (s *scraping) relabelled(t *testing.T) {
	t.Helper()
	// All ports of a pod become the same target: it is scraped once.
	s.deploy(t, exporters{
		name: "annotated", replicas: 3, ports: 3, wanted: []int{9102}, args: []string{"-path", "/custom/metrics"},
		template: `metadata: {labels: {team: blue}, annotations: {prometheus.io/scrape: 'true', prometheus.io/path: /custom/metrics, prometheus.io/port: '9102'}}`,
	})
	s.deploy(t, exporters{
		name: "dropped", replicas: 1, ports: 1, wanted: []int{},
		template: `metadata: {labels: {drop: 'yes'}, annotations: {prometheus.io/scrape: 'true'}}`,
	})
	s.deploy(t, exporters{name: "relabelled", replicas: 2, ports: 5, wanted: []int{9101, 9103}, args: []string{"-path", "/renamed", "-path", "/metrics"}})
	s.serviceMonitor(t, "relabelled", relabelings)
}

// wantRelabelled wants the labels that the relabelling makes.
func (s *scraping) wantRelabelled(t *testing.T) {
	t.Helper()
	view := s.mustLook(t, time.Now().Add(-time.Minute))
	want := map[string]map[string]string{}
	for _, pod := range s.List(t, steps.Pods, "app=annotated") {
		want[pod.GetName()+":9102"] = map[string]string{"job": "annotated", "team": "blue", "path": "/custom/metrics"}
	}
	for _, pod := range s.List(t, steps.Pods, "app=relabelled") {
		for _, port := range []string{":9101", ":9103"} {
			want[pod.GetName()+port] = map[string]string{"job": "relabelled", "pod_name": pod.GetName(), "service": "relabelled", "namespace": s.Namespace, "path": ""}
		}
	}
	if len(want) != 3+4 {
		t.Fatalf("targets %v", want)
	}
	for target, labels := range want {
		seen := view.Targets[target]
		if len(seen) == 0 {
			t.Errorf("%s: not scraped", target)
			continue
		}
		for name, value := range labels {
			if got := seen[len(seen)-1].Labels[name]; got != value {
				t.Errorf("%s: label %s is %q, want %q", target, name, got, value)
			}
		}
	}
}

// overTLS deploys exporters whose authority is in a ConfigMap, and others where it is in a Secret.
func (s *scraping) overTLS(t *testing.T) {
	t.Helper()
	const server = "exporter.test"
	made := newCertificate(t, server)
	s.CreateIn(t, steps.ConfigMaps, steps.Parse(t, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: authority}, data: {ca.crt: %q}}`, made.ca)))
	s.CreateIn(t, secrets, steps.Parse(t, fmt.Sprintf(`{apiVersion: v1, kind: Secret, metadata: {name: authority}, stringData: {ca.crt: %q}}`, made.ca)))
	s.CreateIn(t, secrets, steps.Parse(t, fmt.Sprintf(
		`{apiVersion: v1, kind: Secret, metadata: {name: server}, type: kubernetes.io/tls, stringData: {tls.crt: %q, tls.key: %q}}`, made.cert, made.key)))
	for name, kind := range map[string]string{"tls-configmap": "configMap", "tls-secret": "secret"} {
		s.deploy(t, exporters{
			name: name, replicas: 1, ports: 2, https: true, args: []string{"-tls-cert", "/tls/tls.crt", "-tls-key", "/tls/tls.key"},
			template:  "spec: {volumes: [{name: tls, secret: {secretName: server}}]}",
			container: "volumeMounts: [{name: tls, mountPath: /tls}]",
		})
		s.serviceMonitor(t, name, fmt.Sprintf("scheme: https, tlsConfig: {serverName: %s, ca: {%s: {name: authority, key: ca.crt}}}", server, kind))
	}
}

// guarded deploys exporters that want a password, which is in a Secret.
func (s *scraping) guarded(t *testing.T) {
	t.Helper()
	s.CreateIn(t, secrets, steps.Parse(t, `{apiVersion: v1, kind: Secret, metadata: {name: login}, stringData: {user: scraper, password: sesame}}`))
	s.deploy(t, exporters{name: "guarded", replicas: 1, ports: 2, args: []string{"-user", "scraper", "-password", "sesame"}})
	s.serviceMonitor(t, "guarded", "basicAuth: {username: {name: login, key: user}, password: {name: login, key: password}}")
}

// credentials lets them out to the collectors, and changes them: no pod is replaced, and no other target notices.
func (s *scraping) credentials(t *testing.T) {
	t.Helper()
	const undisturbed = scrapeInterval + slack
	uids := steps.UIDs(s.List(t, steps.Pods, steps.ManagedBy))
	delete(s.withheld, "guarded")
	s.phase(t, "secrets allowed", func(t *testing.T) {
		s.PatchSpec(t, pool, "targetAllocator: {allowInsecureAuthSecrets: true}")
	}, expected{members: members(2), moved: anyNumber})
	steps.WithoutCondition(t, s.WaitReady(t, pool), "JobsWithheld")
	s.withheld["guarded"] = true
	s.phase(t, "password wrong", func(t *testing.T) {
		s.Patch(t, secrets, "login", "stringData: {password: wrong}")
	}, expected{members: members(2), moved: 0, gap: undisturbed, uneven: true})
	delete(s.withheld, "guarded")
	s.phase(t, "password right again", func(t *testing.T) {
		s.Patch(t, secrets, "login", "stringData: {password: sesame}")
	}, expected{members: members(2), moved: 0, gap: undisturbed})
	s.wantPods(t, uids)
}
