package operator_test

import (
	"fmt"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

func TestOutage(t *testing.T) {
	t.Parallel()
	var (
		proxy    *steps.Proxy
		operator *program.Process
	)
	environment.Test(t, steps.Feature("an operator whose API server goes away").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			proxy = s.StartProxy(t)
			operator = s.StartOperator(t, "--kubeconfig", proxy.Kubeconfig)
		})).
		Setup(create("patient", "deployment")).
		Assess("does what was missed when it is back", steps.In(func(t *testing.T, s *steps.Scene) {
			proxy.Down()
			s.PatchSpec(t, "patient", `replicas: 3`)
			s.Create(t, steps.Collector(t, "new", "deployment"))
			wantStatus(t, operator, "/healthz", 200)
			proxy.Up(t)
			s.WaitReady(t, "patient")
			s.WaitReady(t, "new")
		})).
		Assess("ends when it is told to, even then", steps.In(func(t *testing.T, _ *steps.Scene) {
			proxy.Down()
			// By then the operator's watches wait for long between two attempts.
			const attempts = 40
			steps.Eventually(t, "requests that fail", func() error {
				if n := failedRequests(t, operator); n < attempts {
					return fmt.Errorf("%d, want %d", n, attempts)
				}
				return nil
			})
			began := time.Now()
			if err := operator.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			steps.WaitExit(t, operator)
			if took, limit := time.Since(began), 5*time.Second; took > limit {
				t.Errorf("that took %s, want no more than %s", took, limit)
			}
			if code := operator.ExitCode(); code != 0 {
				t.Errorf("exit status %d, want 0", code)
			}
		})).
		Feature())
}

// failedRequests is how many requests of the operator got no answer.
func failedRequests(t *testing.T, p *program.Process) int {
	t.Helper()
	_, metrics, err := p.Get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, m := range regexp.MustCompile(`rest_client_requests_total\{code="<error>".*} (\d+)`).FindAllStringSubmatch(metrics, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}
