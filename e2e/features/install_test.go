package features_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// TestInstall is about the operator of the suite, which was installed from the manifest that users get. It is not parallel: what is refused
// because a namespace is on its way out is not told from the rest in numbers.
func TestInstall(t *testing.T) {
	before := 0.0
	environment.Test(t, steps.Feature("an operator that was installed from its manifest").WithLabel("run", "smoke").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			waitNoneTerminates(t, s)
			before = refusals(t, s)
		})).
		Assess("is ready", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Kubectl(t, "", "rollout", "status", "deployment/otelier", "--namespace", s.Installed.Namespace, "--timeout=4m")
			if body, err := s.Installed.Get(t.Context(), "/readyz"); err != nil {
				t.Errorf("/readyz: %v %s", err, body)
			}
		})).
		Assess("may do all that it does", steps.In(func(t *testing.T, s *steps.Scene) {
			owning(t, s)
			volumes(t, s)
			discovering(t, s)
			if n := refusals(t, s) - before; n > 0 {
				t.Errorf("%v requests were not allowed", n)
			}
			wantNoneForbidden(t, s)
		})).
		Assess("can be installed again, and is not started anew by that", steps.In(func(t *testing.T, s *steps.Scene) {
			before := s.Get(t, steps.Collectors, "owned")
			manifest, err := s.Manifest(t.Context(), s.Installed.Flags()...)
			if err != nil {
				t.Fatal(err)
			}
			there := &steps.Scene{Suite: s.Suite, Namespace: s.Installed.Namespace}
			generation := there.Get(t, steps.Deployments, "otelier").GetGeneration()
			apply := s.Cluster.KubectlCommand(t.Context(), "apply", "--server-side", "-f", "-")
			apply.Stdin = strings.NewReader(string(manifest))
			if out, err := apply.CombinedOutput(); err != nil || strings.Contains(string(out), "Warning") {
				t.Fatalf("kubectl apply: error %v, want none and no warning:\n%s", err, out)
			}
			if is := there.Get(t, steps.Deployments, "otelier").GetGeneration(); is != generation {
				t.Errorf("generation %d of its Deployment, want %d as before", is, generation)
			}
			if after := s.Get(t, steps.Collectors, "owned"); after.GetResourceVersion() != before.GetResourceVersion() {
				t.Errorf("the collector has changed: %v, before %v", after.Object["status"], before.Object["status"])
			}
		})).
		Feature())
}

// waitNoneTerminates waits until no namespace is on its way out.
func waitNoneTerminates(t *testing.T, s *steps.Scene) {
	t.Helper()
	client := clientFor(t, s).Resource(steps.Namespaces)
	s.Eventually(t, "namespaces of other tests are gone", func() error {
		list, err := client.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, u := range list.Items {
			if u.GetDeletionTimestamp() != nil {
				return fmt.Errorf("%s is being deleted", u.GetName())
			}
		}
		return nil
	})
}

// refusals is how many requests of the installed operator were not allowed since it was started.
func refusals(t *testing.T, s *steps.Scene) float64 {
	t.Helper()
	metrics, err := s.Installed.Get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(metrics, `rest_client_requests_total{code="200"`) {
		t.Fatal("the operator does not count its requests")
	}
	sum := 0.0
	for _, m := range regexp.MustCompile(`(?m)^rest_client_requests_total\{code="40[13]".*\} (\S+)$`).FindAllStringSubmatch(metrics, -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// wantNoneForbidden fails the test if the installed operator says of the scene that anything was forbidden.
func wantNoneForbidden(t *testing.T, s *steps.Scene) {
	t.Helper()
	log, err := s.Installed.Log(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log, s.Namespace) {
		t.Fatalf("this is not the log of an operator that works here:\n%s", log)
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, s.Namespace) && strings.Contains(strings.ToLower(line), "forbidden") {
			t.Errorf("the operator says: %s", line)
		}
	}
}
