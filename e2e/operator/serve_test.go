package operator_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

func TestServing(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("the operator").
		Setup(steps.Operator()).
		Setup(create("served", "deployment")).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "refused", "deployment", `config: {}`))
			s.WaitCondition(t, "refused", "Stalled", "True", "InvalidConfig")
		})).
		Assess("is healthy and ready", steps.In(func(t *testing.T, s *steps.Scene) {
			wantStatus(t, s.Operators[0], "/healthz", http.StatusOK)
			wantStatus(t, s.Operators[0], "/readyz", http.StatusOK)
			wantStatus(t, s.Operators[0], "/", http.StatusNotFound)
		})).
		Assess("tells in numbers what it does", steps.In(func(t *testing.T, s *steps.Scene) {
			for _, want := range []string{
				`workqueue_depth{name="collector"`,
				`workqueue_adds_total{name="collector"`,
				`workqueue_queue_duration_seconds_bucket{name="collector"`,
				`rest_client_requests_total{code="200"`,
				`rest_client_request_duration_seconds_bucket{`,
				`otelier_reconcile_duration_seconds_count{outcome="success"}`,
				`otelier_reconcile_duration_seconds_count{outcome="refused"}`,
				`otelier_objects_total{kind="Deployment",operation="apply",result="ok"}`,
				`otelier_status_writes_total`,
				`go_goroutines`,
				`process_resident_memory_bytes`,
			} {
				steps.Eventually(t, "/metrics: "+want, func() error {
					status, body, err := s.Operators[0].Get(t.Context(), "/metrics")
					if err == nil && (status != http.StatusOK || !strings.Contains(body, "\n"+want)) {
						err = fmt.Errorf("status %d, and no such line", status)
					}
					return err
				})
			}
		})).
		Feature())
}

// TestLateCRD has a control plane of its own, on which nothing is installed yet.
func TestLateCRD(t *testing.T) {
	t.Parallel()
	var (
		elsewhere *steps.Scene
		operator  *program.Process
	)
	environment.Test(t, steps.Feature("an operator that is there before the CRD").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			elsewhere = s.Another(t).Scene(t)
			operator = elsewhere.Launch(t, "--kubeconfig", elsewhere.Cluster.Kubeconfig())
		})).
		Assess("is not ready, and says what to do", steps.In(func(t *testing.T, _ *steps.Scene) {
			steps.Eventually(t, "log", func() error {
				if !strings.Contains(operator.Log(), "the CRD is not installed: run `otelier crds | kubectl apply --server-side -f -`") {
					return errors.New(operator.Tail())
				}
				return nil
			})
			wantStatus(t, operator, "/healthz", http.StatusOK)
			wantStatus(t, operator, "/readyz", http.StatusServiceUnavailable)
		})).
		Assess("works when it is installed", steps.In(func(t *testing.T, s *steps.Scene) {
			if err := program.InstallCRDs(t.Context(), s.Binary, elsewhere.Cluster); err != nil {
				t.Fatal(err)
			}
			elsewhere.AwaitReady(t, operator)
			elsewhere.Create(t, steps.Collector(t, "late", "deployment"))
			elsewhere.WaitReady(t, "late")
		})).
		Feature())
}

func wantStatus(t *testing.T, p *program.Process, path string, want int) {
	t.Helper()
	got, body, err := p.Get(t.Context(), path)
	if err != nil || got != want {
		t.Errorf("%s: %d %s, error %v, want %d", path, got, body, err, want)
	}
}
