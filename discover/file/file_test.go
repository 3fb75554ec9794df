package file

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/discover/monitor"
)

func parse(t *testing.T, text string, o Options) (*Config, []string) {
	t.Helper()
	c, warnings, err := Parse([]byte(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return c, warnings
}

// rendered is of the form that the OpenTelemetry Operator writes.
const rendered = `
allocation_strategy: consistent-hashing
collector_not_ready_grace_period: 30s
collector_selector:
  matchlabels:
    app.kubernetes.io/component: opentelemetry-collector
    app.kubernetes.io/instance: default.test
  matchexpressions: []
config:
  global: {scrape_interval: 17s}
  scrape_configs:
  - job_name: otel-collector
    static_configs:
    - targets: ["0.0.0.0:8888", "0.0.0.0:9999"]
    basic_auth: {username: u, password: p}
filter_strategy: relabel-config
https:
  enabled: false
  listen_addr: :8443
  ca_file_path: /tls/ca.crt
  tls_cert_file_path: /tls/tls.crt
  tls_key_file_path: /tls/tls.key
collector_namespace: default
prometheus_cr:
  enabled: true
  scrape_interval: 1m
  service_monitor_selector: {matchlabels: {release: a}}
  pod_monitor_selector: {matchLabels: {release: b}, matchExpressions: [{key: x, operator: In, values: ["1"]}]}
  probe_selector: null
  scrape_config_namespace_selector: {matchlabels: {n: s}}
  scrape_classes:
  - {name: c, default: true, tlsConfig: {caFile: /x}}
`

func TestParse(t *testing.T) {
	c, warnings := parse(t, rendered, Options{})
	if len(warnings) > 0 {
		t.Errorf("warnings: %v", warnings)
	}
	if c.Listen != ":8080" || c.Namespace != "default" || !c.Filter || c.NotReadyGrace != 30*time.Second || c.Rules.Strategy != allocate.ConsistentHashing {
		t.Errorf("got %+v", c)
	}
	if got := c.Collectors.MatchLabels["app.kubernetes.io/instance"]; got != "default.test" {
		t.Errorf("collectors have the label %q", got)
	}
	if len(c.Jobs) != 1 || time.Duration(c.Jobs[0].Config.ScrapeInterval) != 17*time.Second || !c.Jobs[0].Secret {
		t.Errorf("jobs are %+v", c.Jobs)
	}
	all := &metav1.LabelSelector{}
	selector := func(objects, namespaces *metav1.LabelSelector) monitor.Selector {
		return monitor.Selector{Objects: objects, Namespaces: namespaces}
	}
	want := &monitor.Selection{
		ServiceMonitors: selector(&metav1.LabelSelector{MatchLabels: map[string]string{"release": "a"}}, all),
		PodMonitors: selector(&metav1.LabelSelector{
			MatchLabels: map[string]string{"release": "b"}, MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "x", Operator: "In", Values: []string{"1"}}},
		}, all),
		Probes:        selector(nil, all),
		ScrapeConfigs: selector(nil, &metav1.LabelSelector{MatchLabels: map[string]string{"n": "s"}}),
		Namespace:     "default", SecretNamespaces: []string{"default"}, ScrapeInterval: time.Minute, EvaluationInterval: 30 * time.Second,
		ScrapeProtocols: defaultScrapeProtocols(), ScrapeClasses: c.Monitors.ScrapeClasses,
	}
	if diff := cmp.Diff(want, c.Monitors); diff != "" {
		t.Errorf("monitors (-want +got):\n%s", diff)
	}
	if classes := c.Monitors.ScrapeClasses; len(classes) != 1 || classes[0].Name != "c" || classes[0].TLSConfig.CAFile != "/x" {
		t.Errorf("scrape classes are %+v", classes)
	}
}

func TestRules(t *testing.T) {
	const some = "collector_namespace: a\ncollector_selector: {}\nprometheus_cr: {enabled: true}\n"
	for text, want := range map[string]allocate.Rules{
		"": {Strategy: allocate.ConsistentHashing},
		"allocation_strategy: per-node\nallocation_strategy_config: {per_node: {fallback_strategy: least-weighted}}":                                       {Strategy: allocate.PerNode},
		"allocation_strategy: least-weighted\nallocation_strategy_config: {least_weighted: {tolerance: 0.05, max_targets_per_collector: 10, zones: true}}": {Strategy: allocate.LeastWeighted, Tolerance: 0.05, MaxTargets: 10, Zones: true},
	} {
		c, warnings := parse(t, some+text, Options{})
		if c.Rules != want || len(warnings) > 0 {
			t.Errorf("%q: rules are %+v, want %+v; warnings %v", text, c.Rules, want, warnings)
		}
	}
}

func TestPrecedence(t *testing.T) {
	yes, no := true, false
	env := map[string]string{envNamespace: "of-env", envInsecure: "true"}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	c, _ := parse(t, rendered, Options{LookupEnv: lookup, Flags: Flags{Listen: ":1", Kubeconfig: "k", Monitors: &no}})
	if c.Namespace != "of-env" || !c.AllowInsecureAuthSecrets || c.Listen != ":1" || c.Kubeconfig != "k" || c.Monitors != nil {
		t.Errorf("got %+v", c)
	}
	c, _ = parse(t, rendered, Options{LookupEnv: lookup, Flags: Flags{AllowInsecureAuthSecrets: &no}})
	if c.AllowInsecureAuthSecrets {
		t.Error("the environment wins over a flag")
	}
	c, _ = parse(t, "collector_namespace: a", Options{Flags: Flags{Monitors: &yes}})
	if c.Monitors == nil || c.Monitors.SecretNamespaces[0] != "a" {
		t.Errorf("monitors are %+v", c.Monitors)
	}
	if _, _, err := Parse([]byte(rendered), Options{Flags: Flags{HTTPS: &yes}}); err == nil || !strings.Contains(err.Error(), "https.enabled") {
		t.Errorf("asked for TLS: %v", err)
	}
	c, warnings := parse(t, "x: &x {job_name: a, params: {v: [1.10]}}\nconfig: {scrape_configs: [*x]}", Options{Static: true})
	if len(c.Jobs) != 1 || c.Jobs[0].Config.Params.Get("v") != "1.10" || len(warnings) != 1 {
		t.Errorf("an alias came to %+v, warnings %v", c.Jobs, warnings)
	}
	if _, warnings := parse(t, "config: {scrape_configs: [{job_name: a}]}", Options{Static: true}); len(warnings) > 0 {
		t.Errorf("with listed collectors: %v", warnings)
	}
}

func TestWarnings(t *testing.T) {
	_, warnings := parse(t, `
collector_namespace: a
surprise: 1
telemetry: {metrics: {}}
allocation_fallback_strategy: consistent-hashing
prometheus_cr: {enabled: true, service_monitor_selector: {matchlabel: {}}, other: 1}`, Options{})
	want := []string{
		"allocation_fallback_strategy: targets that no node can have are always allocated as by least-weighted",
		"prometheus_cr.service_monitor_selector.matchlabel: not a known field, ignored",
		"prometheus_cr.other: not a known field, ignored",
		"telemetry: not supported, metrics are served at /metrics",
		"surprise: not a known field, ignored",
		"collector_selector: missing, so no pod is a collector and nobody gets targets",
	}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	const ns = "collector_namespace: a\nprometheus_cr: {enabled: true}\n"
	for text, want := range map[string]string{
		"":                               `nothing to discover`,
		"a: b":                           `collector_namespace: missing; set it, or the environment variable OTELCOL_NAMESPACE`,
		"- a":                            `got a list, want a mapping`,
		"{":                              `read as YAML`,
		"1: 2":                           `want a mapping`,
		ns + "a: {":                      `read as YAML`,
		ns + "allocation_strategy: best": `allocation_strategy: got "best", want one of "consistent-hashing", "least-weighted", "per-node"`,
		ns + "allocation_fallback_strategy: per-node":                                                         `allocation_fallback_strategy: got "per-node", want one of "", "consistent-hashing", "least-weighted"`,
		ns + "filter_strategy: none":                                                                          `filter_strategy: got "none", want one of "relabel-config", ""`,
		ns + "listen_addr: 8080":                                                                              `listen_addr: got a number, want a text`,
		ns + "collector_not_ready_grace_period: 30":                                                           `collector_not_ready_grace_period: got "30", want a duration of at least 0s, such as 30s`,
		ns + "collector_selector: [a]":                                                                        `collector_selector: got a list, want a mapping`,
		ns + "collector_selector: {matchlabels: [a]}":                                                         `collector_selector: json:`,
		ns + "collector_selector: {matchlabels: {'a b': c}}":                                                  `collector_selector: key: Invalid value: "a b"`,
		ns + "https: {enabled: true}":                                                                         `https.enabled: serving over TLS is not supported by this version; want false`,
		ns + "config: {scrape_configs: [{job_name: ''}]}":                                                     `config: config: scrape_configs[0] (job "")`,
		ns + "config: {scrape_config: []}":                                                                    `config: config: scrape_config: no part in discovery of targets`,
		ns + "allocation_strategy_config: {least_weighted: {tolerance: -1}}":                                  `allocation_strategy_config.least_weighted.tolerance: got -1, want a number from 0 to 100`,
		ns + "allocation_strategy_config: {least_weighted: {max_targets_per_collector: 1.5}}":                 `got 1.5, want a whole number`,
		"collector_namespace: a\nprometheus_cr: {enabled: true, allow_namespaces: [a], deny_namespaces: [b]}": `prometheus_cr.deny_namespaces: set together with allow_namespaces`,
		"collector_namespace: a\nprometheus_cr: {enabled: yes please}":                                        `prometheus_cr.enabled: got a text, want true or false`,
		"collector_namespace: a\nprometheus_cr: {enabled: true, scrape_protocols: [x]}":                       `prometheus_cr.scrape_protocols: unknown scrape protocol x`,
		"collector_namespace: a\nprometheus_cr: {enabled: true, allow_namespaces: a}":                         `prometheus_cr.allow_namespaces: got a text, want a list of texts`,
	} {
		if _, _, err := Parse([]byte(text), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

// A password must not be in what is said about a file.
func TestErrorsKeepSecrets(t *testing.T) {
	for _, text := range []string{
		"config: {scrape_configs: [{job_name: a, basic_auth: {username: u, password: [hunter2]}}]}",
		"config: {scrape_configs: [{job_name: a, basic_auth: hunter2}]}",
		"config: {scrape_configs: [{job_name: a, basic_auth: {username: u, password: hunter2, x: 1}}]}",
	} {
		_, _, err := Parse([]byte(text), Options{Static: true})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(rendered))
	f.Add([]byte("a: &a [1]\nb: &b [*a, *a, *a]\nconfig: {scrape_configs: [*b, {job_name: x, <<: {a: 1}}]}"))
	f.Add([]byte("collector_selector: {matchLabels: {a: 1}}\nhttps: {enabled: true}\n1: {2: 3}\n? [a]\n: b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := Parse(data, Options{})
		if err != nil {
			return
		}
		if c.Namespace == "" || c.Monitors == nil && len(c.Jobs) == 0 {
			t.Fatalf("accepted: %+v", c)
		}
		again, _, err := Parse(data, Options{})
		if err != nil || cmp.Diff(c.Rules, again.Rules) != "" {
			t.Fatalf("read twice: %+v, then %+v, %v", c, again, err)
		}
	})
}
