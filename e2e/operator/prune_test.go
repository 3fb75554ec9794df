package operator_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/otelier/otelier/e2e/steps"
)

func TestPrune(t *testing.T) {
	t.Parallel()
	const (
		base       = "thin-collector"
		headless   = "thin-collector-headless"
		monitoring = "thin-collector-monitoring"
		extension  = "thin-collector-extension"

		health = `receivers: {otlp: {protocols: {grpc: {endpoint: 0.0.0.0:4317}}}}
exporters: {debug: {}}
extensions: {health_check: {endpoint: 0.0.0.0:13133}}
service:
  extensions: [health_check]
  pipelines:
    traces: {receivers: [otlp], exporters: [debug]}
`
		portless = `receivers: {hostmetrics: {scrapers: {cpu: {}}}}
exporters: {debug: {}}
service:
  pipelines:
    metrics: {receivers: [hostmetrics], exporters: [debug]}
`
	)
	services := func(want ...string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			steps.Eventually(t, "Services", func() error {
				if got := steps.Names(s.List(t, steps.Services, steps.ManagedBy)); !slices.Equal(got, want) {
					return fmt.Errorf("%v, want %v", got, want)
				}
				return nil
			})
			s.WaitReady(t, "thin")
		}
	}
	config := func(text string) steps.Act {
		return func(t *testing.T, s *steps.Scene) { s.SetConfig(t, "thin", text) }
	}
	environment.Test(t, steps.Feature("what is no longer asked for").
		Setup(steps.Operator()).
		Setup(create("thin", "deployment", fmt.Sprintf("config: %q", health))).
		Setup(steps.In(services(base, extension, headless, monitoring))).
		Assess("goes: the Service of an extension", steps.In(config(steps.ConfigOTLP), services(base, headless, monitoring))).
		Assess("goes: Services without a port", steps.In(config(portless), services(monitoring))).
		Assess("comes back", steps.In(config(health), services(base, extension, headless, monitoring))).
		Assess("goes: the ServiceAccount, when there is another one", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Kubectl(t, "", "create", "serviceaccount", "mine")
			s.PatchSpec(t, "thin", `serviceAccount: mine`)
			steps.Eventually(t, "ServiceAccount", func() error {
				if u := s.Find(t, steps.ServiceAccounts, base); u != nil {
					return fmt.Errorf("%s is still there", base)
				}
				return nil
			})
			s.WaitReady(t, "thin")
			if s.Find(t, steps.ServiceAccounts, "mine") == nil {
				t.Error("the user's ServiceAccount is gone")
			}
		})).
		Feature())
}
