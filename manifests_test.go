package main

import (
	"strings"
	"testing"
)

// A job that the operator says something of in its conditions is one that render warns of.
func TestRenderTellsOfJobsThatAreInvalid(t *testing.T) {
	const in = `apiVersion: opentelemetry.io/v1beta1
kind: OpenTelemetryCollector
metadata: {name: scraper, namespace: obs}
spec:
  mode: statefulset
  targetAllocator: {enabled: true}
  config:
    receivers:
      prometheus:
        config:
          scrape_configs:
          - job_name: good
            static_configs: [{targets: ["10.0.0.1:80"]}]
          - job_name: misspelt
            static_config: [{targets: ["10.0.0.2:80"]}]
          - job_name: cloud
            ec2_sd_configs: [{region: eu-central-1}]
          - job_name: scalar
            basic_auth: hunter2
          - job_name: secret
            basic_auth: {username: u, password: hunter2}
            static_configs: [{targets: ["10.0.0.3:80"]}]
          - job_name: file
            file_sd_configs: [{files: [a.json]}]
    exporters: {debug: {}}
    service: {pipelines: {metrics: {receivers: [prometheus], exporters: [debug]}}}
`
	code, out, stderr := otelier(t, in, "render", "-f", "-")
	if code != exitOK || !strings.Contains(out, "kind: StatefulSet") {
		t.Errorf("exit %d, stdout %q", code, out)
	}
	want := []string{
		`spec.config.receivers.prometheus.config.scrape_configs[5]: file_sd_configs: a file of the pod, and targets are not discovered there`,
		`receivers.prometheus: scrape_configs[1] (job "misspelt"): field static_config not found in type config.ScrapeConfig`,
		`receivers.prometheus: scrape_configs[2] (job "cloud"): ec2_sd_configs: service discovery "ec2" is not built in (`,
		"receivers.prometheus: scrape_configs[3] (job \"scalar\"): cannot unmarshal !!str `…` into config.plain",
		`job "secret" of receivers.prometheus holds a secret, and the allocator answers in clear text: see spec.targetAllocator.allowInsecureAuthSecrets`,
	}
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d warnings, want %d:\n%s", len(lines), len(want), stderr)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, "stdin, document 1: scraper: warning: "+want[i]) || !strings.HasSuffix(line, "; no collector scrapes it") {
			t.Errorf("got  %s\nwant %s", line, want[i])
		}
	}
	if strings.Contains(stderr, "hunter2") || strings.Contains(stderr, "line ") {
		t.Errorf("a secret, or a line that nobody sees:\n%s", stderr)
	}
	open := strings.Replace(in, "{enabled: true}", "{enabled: true, allowInsecureAuthSecrets: true}", 1)
	if _, _, stderr := otelier(t, open, "render", "-f", "-"); strings.Contains(stderr, `job "secret"`) {
		t.Errorf("secrets are allowed, stderr %s", stderr)
	}
}

func TestRenderOfATargetAllocator(t *testing.T) {
	for kind, want := range map[string]string{
		"opentelemetry.io/v1alpha1 TargetAllocator": "stdin, document 1: skipped, TargetAllocator is not a collector: use spec.targetAllocator of the collector\n",
		"example.com/v1 TargetAllocator":            "stdin, document 1: skipped, TargetAllocator is not a collector\n",
	} {
		apiVersion, name, _ := strings.Cut(kind, " ")
		code, _, stderr := otelier(t, "apiVersion: "+apiVersion+"\nkind: "+name+"\nmetadata: {name: a}\n", "render", "-f", "-")
		if code != exitError || !strings.HasPrefix(stderr, want) {
			t.Errorf("exit %d, stderr\ngot  %s\nwant %s", code, stderr, want)
		}
	}
}
