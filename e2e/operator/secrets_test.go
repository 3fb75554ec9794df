package operator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/otelier/otelier/e2e/steps"
)

// TestSecrets has a text in places where users keep secrets, and looks for it where they don't expect it.
func TestSecrets(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	const env = "env: [{name: TOKEN, value: " + secret + "}]"
	config := fmt.Sprintf(`receivers: {otlp: {protocols: {grpc: {endpoint: 0.0.0.0:4317}}}}
exporters: {otlp: {endpoint: "backend:4317", headers: {authorization: "Bearer %s"}}}
service: {pipelines: {traces: {receivers: [otlp], exporters: [%%s]}}}
`, secret)
	spoilt := map[string]string{ // what makes it a collector that can't be carried out, or has a warning
		"undefined":  fmt.Sprintf("config: %q", fmt.Sprintf(config, "nope")),
		"not-yaml":   fmt.Sprintf("config: %q", "exporters: {otlp: {headers: {authorization: "+secret),
		"alias":      fmt.Sprintf("config: %q", "exporters: {otlp: {auth: {password: *"+secret+"}}}"),
		"tagged":     fmt.Sprintf("config: %q", "exporters: {otlp: {auth: {password: !!int "+secret+"}}}"),
		"tag":        fmt.Sprintf("config: %q", "exporters: {otlp: {auth: {password: !"+secret+" }}}"),
		"text":       fmt.Sprintf("config: %q", secret),
		"text-pipe":  fmt.Sprintf("config: {receivers: {otlp: {}}, exporters: {debug: {}}, service: {pipelines: {traces: %s}}}", secret),
		"env-name":   "env: [{name: 'a=b', value: " + secret + "}]",
		"env-both":   "env: [{name: TOKEN, value: " + secret + ", valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
		"host-alias": "hostAliases: [{ip: " + secret + ", hostnames: [a]}]",
		"node":       "nodeSelector: {disk: 'not a label " + secret + "'}",
		"host-path":  "volumes: [{name: v, hostPath: {path: /" + secret + "/../x}}]",
	}
	environment.Test(t, steps.Feature("a secret in a collector").
		Setup(steps.Operator()).
		Setup(create("fine", "deployment", env, fmt.Sprintf("config: %q", fmt.Sprintf(config, "otlp")))).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			for name, fields := range spoilt {
				s.Create(t, steps.Collector(t, name, "deployment", env, fields))
			}
			for name := range spoilt {
				s.WaitObserved(t, name)
			}
			// Events are written after statuses.
			s.Create(t, steps.Collector(t, "last", "deployment", `config: {}`))
			steps.Eventually(t, "Event", func() error {
				if s.CountEvents(t, "last", "InvalidConfig") == 0 {
					return fmt.Errorf("events %v", s.Events(t, "last"))
				}
				return nil
			})
		})).
		Assess("is in no status and no Event", steps.In(func(t *testing.T, s *steps.Scene) {
			for _, u := range s.List(t, steps.Collectors, "") {
				if text := fmt.Sprint(u.Object["status"]); strings.Contains(text, secret) {
					t.Errorf("status of %s: %s", u.GetName(), text)
				}
			}
			for _, u := range s.List(t, steps.EventResources, "") {
				if steps.Field(&u, "regarding", "kind") == "OpenTelemetryCollector" && strings.Contains(fmt.Sprint(u.Object), secret) {
					t.Errorf("Event: %v", u.Object)
				}
			}
		})).
		Assess("is not in the operator's log", steps.In(func(t *testing.T, s *steps.Scene) {
			for line := range strings.Lines(s.Operators[0].Log()) {
				if strings.Contains(line, secret) {
					t.Errorf("log: %s", line)
				}
			}
		})).
		Assess("is in no metric", steps.In(func(t *testing.T, s *steps.Scene) {
			_, metrics, err := s.Operators[0].Get(t.Context(), "/metrics")
			if err != nil || strings.Contains(metrics, secret) {
				t.Errorf("metrics: error %v", err)
			}
		})).
		Feature())
}
