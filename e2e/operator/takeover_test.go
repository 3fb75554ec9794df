package operator_test

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

// deadWebhook is a conversion of which nothing is left but the entry in the CRD.
const deadWebhook = `  conversion:
    strategy: Webhook
    webhook:
      clientConfig: {service: {name: gone, namespace: default, path: /convert}}
      conversionReviewVersions: [v1alpha1, v1beta1]
`

const admissionWebhook = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: former-operator}
webhooks:
- name: collectors.example.com
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Ignore
  clientConfig: {service: {name: gone, namespace: default}}
  rules: [{apiGroups: [opentelemetry.io], apiVersions: ["*"], operations: [CREATE], resources: [opentelemetrycollectors]}]
`

// TestTakeOver has a control plane of its own, whose CRD another operator has installed.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	var elsewhere *steps.Suite
	feature := steps.Feature("a CRD with a conversion webhook that no longer answers").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			elsewhere = s.Another(t)
			k := kubectl{t, elsewhere}
			k.must(k.run(admissionWebhook, "apply", "-f", "-"))
		}))
	for by, args := range map[string][]string{
		"server-side by helm": {"--server-side", "--field-manager=helm"}, "client-side by kubectl": {},
	} {
		feature.Assess("installed "+by+", it becomes ours and its collectors stay", steps.In(func(t *testing.T, _ *steps.Scene) {
			takenOver(t, elsewhere, args)
		}))
	}
	environment.Test(t, feature.Feature())
}

// takenOver installs a foreign CRD by kubectl apply with these arguments, and takes it over.
func takenOver(t *testing.T, s *steps.Suite, args []string) {
	k := kubectl{t, s}
	ours := output(t, exec.CommandContext(t.Context(), s.Binary, "crds"))
	theirs := strings.Replace(ours, "  conversion:\n    strategy: None\n", deadWebhook, 1)
	k.must(k.run(theirs, append([]string{"apply", "-f", "-"}, args...)...))
	// As cert-manager does with the CA: what a third manager owns is what makes it hard.
	k.must(k.run("", "patch", "crd", crdName, "--type=merge", "--field-manager=cainjector",
		`-p={"spec": {"conversion": {"webhook": {"clientConfig": {"service": {"port": 9443}}}}}}`))
	k.eventually("create a collector", func() (string, error) { return k.run(oldCollector, "create", "-f", "-") })
	const uid = "jsonpath={.metadata.uid}"
	was := k.must(k.run("", "get", "opentelemetrycollectors.v1beta1.opentelemetry.io", "old", "-o", uid))
	if out, err := k.run("", "get", "opentelemetrycollectors.v1alpha1.opentelemetry.io", "old"); err == nil {
		t.Fatalf("the dead webhook converts: the case shows nothing\n%s", out)
	}
	if out, err := k.run(ours, "apply", "--server-side", "--force-conflicts", "-f", "-"); err == nil {
		t.Fatalf("apply alone does it: the command is not needed\n%s", out)
	}

	for range 2 { // it can be repeated
		out := output(t, exec.CommandContext(t.Context(), s.Binary, "crds", "--take-over", "--kubeconfig", s.Cluster.Kubeconfig()))
		if want := "warning: validatingwebhookconfigurations/former-operator still intercepts writes"; !strings.Contains(out, want) {
			t.Errorf("crds --take-over says\n%s\nwant it to name the webhook that is left", out)
		}
	}
	k.eventually("read as v1alpha1", func() (string, error) {
		is, err := k.run("", "get", "opentelemetrycollectors.v1alpha1.opentelemetry.io", "old", "-o", uid)
		if err == nil && !strings.HasSuffix(is, was) { // after the warning that v1alpha1 is deprecated
			err = errors.New("another object than before: " + was)
		}
		return is, err
	})
	k.must(k.run(ours, "apply", "--server-side", "-f", "-"))
	k.must(k.run("", "delete", "crd", crdName))
}

const crdName = "opentelemetrycollectors.opentelemetry.io"

type kubectl struct {
	t     *testing.T
	suite *steps.Suite
}

func (k kubectl) run(stdin string, args ...string) (string, error) {
	cmd := k.suite.Cluster.KubectlCommand(k.t.Context(), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (k kubectl) must(out string, err error) string {
	k.t.Helper()
	if err != nil {
		k.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func (k kubectl) eventually(what string, run func() (string, error)) {
	k.t.Helper()
	steps.Eventually(k.t, what, func() error {
		out, err := run()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
	})
}

const oldCollector = `
apiVersion: opentelemetry.io/v1beta1
kind: OpenTelemetryCollector
metadata: {name: old, namespace: default}
spec: {config: {receivers: {}, exporters: {}, service: {pipelines: {}}}}
`

// output is what a command prints; failing ends the test.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	cmd.Env = program.Environment()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out.String())
	}
	return out.String()
}
