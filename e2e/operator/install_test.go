package operator_test

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

// TestInstall is not parallel: its operator works in all namespaces.
func TestInstall(t *testing.T) {
	environment.Test(t, steps.Feature("otelier install").
		Assess("prints what the API server takes without a warning", steps.In(func(t *testing.T, s *steps.Scene) {
			install(t, s)
			s.Kubectl(t, "", "rollout", "status", "deployment/otelier", "--timeout=60s", "--namespace", s.Namespace+"-system")
		})).
		Assess("grants all that the operator needs", steps.In(func(t *testing.T, s *steps.Scene) {
			operator := launchInstalled(t, s)
			everyRight(t, s)
			wantNoRefusal(t, operator)
		})).
		Assess("can be applied again", steps.In(func(t *testing.T, s *steps.Scene) {
			install(t, s)
			// What it grants in all namespaces is not for other tests to lean on.
			s.Kubectl(t, "", "delete", "clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/name=otelier")
		})).
		Feature())
}

func TestInstallInNamespaces(t *testing.T) {
	t.Parallel()
	var (
		other    string
		operator *program.Process
	)
	environment.Test(t, steps.Feature("otelier install --namespaces").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			other = s.NewNamespace(t)
			watched := s.Namespace + "," + other
			out := install(t, s, "--namespaces", watched)
			for _, kind := range []string{"ClusterRole", "ClusterRoleBinding"} {
				if strings.Contains(out, "kind: "+kind+"\n") {
					t.Errorf("the manifest has a %s", kind)
				}
			}
			operator = launchInstalled(t, s, "--namespaces", watched)
		})).
		Assess("grants all that the operator needs there", steps.In(func(t *testing.T, s *steps.Scene) {
			everyRight(t, s)
			second := &steps.Scene{Suite: s.Suite, Namespace: other}
			second.Create(t, steps.Collector(t, "there", "deployment"))
			second.WaitReady(t, "there")
			wantNoRefusal(t, operator, `code="403".*method="GET".*} 1$`) // of a storage class, which no Role can allow
		})).
		Assess("is not enough without a right, and the collector says which", steps.In(func(t *testing.T, s *steps.Scene) {
			roles := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"}
			s.Patch(t, roles, "otelier", `rules:
- {apiGroups: [opentelemetry.io], resources: ["*"], verbs: ["*"]}
- {apiGroups: ["", policy, events.k8s.io], resources: ["*"], verbs: ["*"]}
- {apiGroups: [apps], resources: ["*"], verbs: [get, list, watch]}
`)
			s.Create(t, steps.Collector(t, "barred", "deployment"))
			s.WaitCondition(t, "barred", "Ready", metav1.ConditionFalse, "Forbidden", "deployment/barred-collector", "cannot patch", "deployments", "apps")
			s.WaitCondition(t, "barred", "Stalled", metav1.ConditionTrue, "Forbidden")
		})).
		Feature())
}

// install applies what otelier install prints, and returns it.
func install(t *testing.T, s *steps.Scene, flags ...string) string {
	t.Helper()
	args := append([]string{"install", "--namespace", s.Namespace + "-system", "--image", "example.com/otelier:test"}, flags...)
	cmd := exec.CommandContext(t.Context(), s.Binary, args...)
	cmd.Env = program.Environment()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("otelier install: %v", err)
	}
	// The namespaces of the manifest are its own: kubectl must not be told another.
	apply := s.Cluster.KubectlCommand(t.Context(), "apply", "--server-side", "--force-conflicts", "-f", "-")
	apply.Stdin = strings.NewReader(string(out))
	said, err := apply.CombinedOutput()
	if err != nil || strings.Contains(string(said), "Warning") {
		t.Fatalf("kubectl apply: error %v, want none and no warning:\n%s", err, said)
	}
	return string(out)
}

// launchInstalled starts an operator with the rights of the installed one, and with election as that has it.
func launchInstalled(t *testing.T, s *steps.Scene, flags ...string) *program.Process {
	t.Helper()
	system := s.Namespace + "-system"
	kubeconfig, err := s.Cluster.KubeconfigAs("system:serviceaccount:" + system + ":otelier")
	if err != nil {
		t.Fatal(err)
	}
	p := s.Launch(t, append([]string{"--kubeconfig", kubeconfig, "--leader-elect", "--leader-elect-namespace", system}, flags...)...)
	s.AwaitReady(t, p)
	return p
}

// everyRight has the operator do everything that it ever does: create, change, make anew, prune and adopt, in each mode.
func everyRight(t *testing.T, s *steps.Scene) {
	t.Helper()
	for _, mode := range []string{"deployment", "daemonset", "statefulset"} {
		s.Create(t, steps.Collector(t, mode, mode, `configVersions: 1`))
		s.WaitReady(t, mode)
	}
	s.PatchSpec(t, "statefulset", claimOf("1Gi")) // makes the StatefulSet anew
	s.WaitReady(t, "statefulset")
	s.PatchSpec(t, "statefulset", claimOf("2Gi")) // and grows the claims
	s.WaitReady(t, "statefulset")
	s.Create(t, steps.Collector(t, "beside", "sidecar"))
	s.WaitCondition(t, "beside", "Ready", metav1.ConditionFalse, "NotImplemented")
	for n := range 3 { // prunes a ConfigMap
		s.SetConfig(t, "deployment", configLevel(n))
		s.WaitReady(t, "deployment")
	}
	s.PatchSpec(t, "deployment", `serviceAccount: default`) // prunes the ServiceAccount
	s.WaitReady(t, "deployment")
	s.SetConfig(t, "statefulset", "not a configuration")
	s.WaitCondition(t, "statefulset", "Stalled", metav1.ConditionTrue, "InvalidConfig")
	steps.Eventually(t, "Event", func() error {
		if s.CountEvents(t, "statefulset", "InvalidConfig") == 0 {
			return fmt.Errorf("events %v", s.Events(t, "statefulset"))
		}
		return nil
	})
}

// wantNoRefusal fails the test if a request of the operator was not allowed, but for those that match.
func wantNoRefusal(t *testing.T, p *program.Process, but ...string) {
	t.Helper()
	_, metrics, err := p.Get(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(metrics, `rest_client_requests_total{code="200"`) {
		t.Fatalf("the operator does not count its requests")
	}
	refused := regexp.MustCompile(`rest_client_requests_total\{code="40[13]".*`).FindAllString(metrics, -1)
	refused = slices.DeleteFunc(refused, func(line string) bool {
		return slices.ContainsFunc(but, func(pattern string) bool { return regexp.MustCompile(pattern).MatchString(line) })
	})
	if len(refused) > 0 {
		t.Errorf("requests that were not allowed: %v", refused)
	}
	for line := range strings.Lines(p.Log()) {
		if strings.Contains(strings.ToLower(line), "forbidden") {
			t.Errorf("the operator says: %s", line)
		}
	}
}
