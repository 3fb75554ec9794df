package features_test

import (
	"testing"

	"github.com/otelier/otelier/e2e/steps"
)

func TestDeploymentGetsReady(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("a Deployment collector").
		WithLabel("run", "smoke").
		Assess("gets Ready with the operator that was installed", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "gateway", "deployment", `replicas: 2`, configDebug))
			u := s.WaitReady(t, "gateway")
			steps.WithoutCondition(t, u, "Stalled", "Reconciling")
			if got := steps.Field(u, "status", "image"); got != s.Images.Collector {
				t.Errorf("image %v, want that which was given to otelier install: %s", got, s.Images.Collector)
			}
			for _, pod := range s.List(t, steps.Pods, steps.ManagedBy) {
				if !steps.PodReady(&pod) {
					t.Errorf("pod %s is not ready: %v", pod.GetName(), steps.Field(&pod, "status"))
				}
			}
		})).
		Feature())
}

// configDebug is a configuration of components that every image of a collector here has. The collector scrapes itself, and is ready when it
// says so.
const configDebug = `config:
  receivers: {prometheus: {config: {scrape_configs: [{job_name: self, static_configs: [{targets: ["localhost:8888"]}]}]}}}
  exporters: {debug: {}}
  extensions: {health_check: {}}
  service: {extensions: [health_check], pipelines: {metrics: {receivers: [prometheus], exporters: [debug]}}}
`
