package operator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// mirrorPolicy has the API server change the image of every Deployment in a namespace, as policies do that have images come from a
// mirror.
//
// https://kubernetes.io/docs/reference/access-authn-authz/mutating-admission-policy/
const mirrorPolicy = `apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: NAMESPACE}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: '[JSONPatch{op: "replace", path: "/spec/template/spec/containers/0/image", value: "mirror.example.com/collector:1"}]'
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: NAMESPACE}
spec:
  policyName: NAMESPACE
  matchResources:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAMESPACE}}
`

const mirrored = "mirror.example.com/collector:1"

// TestNotConverging has a policy of the cluster change what the operator applies.
func TestNotConverging(t *testing.T) {
	t.Parallel()
	limited := func(collector, patch string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			since := s.Mark(t)
			if patch == "" {
				s.Create(t, steps.Collector(t, collector, "deployment"))
			} else {
				s.PatchSpec(t, collector, patch)
			}
			s.WaitCondition(t, collector, "NotConverging", metav1.ConditionTrue, "FieldsNotConverging",
				"deployment/"+collector+"-collector", `.spec.template.spec.containers[name="otc-container"].image`)
			s.WaitReady(t, collector)
			settle(t, s)
			n := 0
			for _, w := range s.Stored(t, since) {
				if w.Resource == "deployments" {
					n++
				}
			}
			if n > 2 {
				t.Errorf("%d writes of Deployments, want no more than 2:%s", n, steps.Describe(s.Stored(t, since)))
			}
		}
	}
	quiet := func(t *testing.T, s *steps.Scene) {
		since := s.Mark(t)
		settle(t, s)
		for _, w := range s.Requests(t, since) {
			if !strings.HasPrefix(w.Name, "canary") {
				t.Errorf("%s %s (dry run %t): it is known by now that it does not help", w, w.Name, w.DryRun)
			}
		}
	}
	environment.Test(t, steps.Feature("what a policy of the cluster changes again").
		Setup(steps.Operator("--workers", "1")).
		Setup(create("canary", "statefulset", `replicas: 0`)).
		Setup(create("old", "deployment")).
		Setup(steps.In(startMirror)).
		Assess("is named, and not written over and over, when a collector is new", steps.In(limited("new", ""), quiet)).
		Assess("when a collector changes", steps.In(limited("old", `{podAnnotations: {a: "1"}}`), quiet)).
		Assess("when the field itself changes", steps.In(limited("old", `image: example.com/other:1`), quiet)).
		Assess("does not keep the rest from being applied", steps.In(func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, "new", `replicas: 3`)
			s.WaitReady(t, "new")
			if got := steps.Field(s.Get(t, steps.Deployments, "new-collector"), "spec", "replicas"); got != int64(3) {
				t.Errorf("%v replicas, want 3", got)
			}
			if got := imageOf(s.Get(t, steps.Deployments, "new-collector")); got != mirrored {
				t.Errorf("image %v, want the policy's", got)
			}
		})).
		Assess("is as the spec says when the policy is gone", steps.In(func(t *testing.T, s *steps.Scene) {
			stopMirror(t.Context(), t, s)
			s.PatchSpec(t, "old", `image: example.com/other:2`)
			steps.WithoutCondition(t, s.WaitReady(t, "old"), "NotConverging")
			if got := imageOf(s.Get(t, steps.Deployments, "old-collector")); got != "example.com/other:2" {
				t.Errorf("image %v, want the spec's", got)
			}
		})).
		Feature())
}

// startMirror makes the policy and waits until the API server goes by it. It ends with the test.
func startMirror(t *testing.T, s *steps.Scene) {
	cmd := s.Cluster.KubectlCommand(t.Context(), "create", "-f", "-") // of no namespace
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(mirrorPolicy, "NAMESPACE", s.Namespace))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl create: %v\n%s", err, out)
	}
	t.Cleanup(func() { stopMirror(context.WithoutCancel(t.Context()), t, s) })
	waitMirror(t, s, mirrored)
}

func stopMirror(ctx context.Context, t *testing.T, s *steps.Scene) {
	out, err := s.TryKubectl(ctx, "", "delete", "mutatingadmissionpolicy,mutatingadmissionpolicybinding", s.Namespace, "--ignore-not-found")
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if ctx.Done() != nil { // not at the end
		waitMirror(t, s, "example.com/probe")
	}
}

// waitMirror waits until a Deployment would get this image.
func waitMirror(t *testing.T, s *steps.Scene, image string) {
	t.Helper()
	steps.Eventually(t, "policy", func() error {
		out, err := s.TryKubectl(t.Context(), "", "create", "deployment", "probe", "--image=example.com/probe", "--dry-run=server",
			"-o", "jsonpath={.spec.template.spec.containers[0].image}")
		if err != nil || out != image {
			return errors.Join(fmt.Errorf("a Deployment would get %s, want %s", out, image), err)
		}
		return nil
	})
}
