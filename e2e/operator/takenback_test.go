package operator_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
)

// foreignEdit is what somebody does with kubectl to a field that the operator owns.
type foreignEdit struct {
	name     string
	kubectl  []string
	resource schema.GroupVersionResource
	object   string
	path     []string // of the field
	texts    []string // in the note of the Event
}

func foreignEdits() []foreignEdit {
	const mine = "mine-collector"
	return []foreignEdit{
		{
			"an image",
			[]string{"set", "image", "deployment/" + mine, "otc-container=example.com/other:1"},
			steps.Deployments, mine,
			[]string{"spec", "template", "spec", "containers", "0", "image"},
			[]string{"kubectl-set", "deployment/" + mine, `.spec.template.spec.containers[name="otc-container"].image`},
		},
		{
			"replicas",
			[]string{"scale", "deployment/" + mine, "--replicas=4"},
			steps.Deployments, mine,
			[]string{"spec", "replicas"},
			[]string{"kubectl", "deployment/" + mine, ".spec.replicas"},
		},
		{
			"a label",
			[]string{"label", "service/" + mine, versionLabel + "=other", "--overwrite"},
			steps.Services, mine,
			[]string{"metadata", "labels", versionLabel},
			[]string{"kubectl-label", "service/" + mine, fmt.Sprintf(".metadata.labels[%q]", versionLabel)},
		},
		{
			"a label that is removed",
			[]string{"label", "poddisruptionbudget/" + mine, versionLabel + "-"},
			steps.Budgets, mine,
			[]string{"metadata", "labels", versionLabel},
			[]string{"poddisruptionbudget/" + mine, fmt.Sprintf(".metadata.labels[%q]", versionLabel), "removed"},
		},
		{
			"the label of a headless Service",
			[]string{"label", "service/" + mine + "-headless", versionLabel + "=other", "--overwrite"},
			steps.Services, mine + "-headless",
			[]string{"metadata", "labels", versionLabel},
			[]string{"kubectl-label", "service/" + mine + "-headless", fmt.Sprintf(".metadata.labels[%q]", versionLabel)},
		},
	}
}

func TestTakenBack(t *testing.T) {
	t.Parallel()
	feature := steps.Feature("what others change in fields of the operator: ").
		Setup(steps.Operator("--workers", "1")).
		Setup(create("mine", "deployment")).
		Setup(create("canary", "statefulset", `replicas: 0`))
	for _, e := range foreignEdits() {
		feature = feature.Assess(e.name, steps.In(e.check))
	}
	environment.Test(t, feature.Feature())
}

// check makes the edit, and holds what comes of it: one write and one Event.
func (e foreignEdit) check(t *testing.T, s *steps.Scene) {
	settle(t, s)
	want, events, since := element(s.Get(t, e.resource, e.object), e.path...), s.CountEvents(t, "mine", "FieldTakenBack"), s.Mark(t)
	s.Kubectl(t, "", e.kubectl...)
	waitField(t, s, e.resource, e.object, want, e.path...)
	s.WaitEvent(t, "mine", "FieldTakenBack", e.texts...)
	s.WaitReady(t, "mine")
	settle(t, s)
	var written []controlplane.Write
	for _, w := range s.Stored(t, since) {
		if !strings.HasPrefix(w.Name, "canary") && w.Subresource != "status" {
			written = append(written, w)
		}
	}
	if len(written) != 1 || written[0].Name != e.object || written[0].Resource != e.resource.Resource {
		t.Errorf("%d writes, want one, of %s:%s", len(written), e.object, steps.Describe(written))
	}
	if got := s.CountEvents(t, "mine", "FieldTakenBack") - events; got != 1 {
		t.Errorf("%d Events, want one: %+v", got, s.Events(t, "mine"))
	}
}

// TestForeignFieldsStay is about fields that the operator does not own, in an object that it changes, and makes anew.
func TestForeignFieldsStay(t *testing.T) {
	t.Parallel()
	var pods []string
	stay := func(t *testing.T, s *steps.Scene) {
		set := s.Get(t, steps.StatefulSets, "guest-collector")
		for _, f := range [][]string{
			{"metadata", "labels", "team"},
			{"metadata", "annotations", "note"},
			{"spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt"},
		} {
			if steps.Field(set, f...) == nil {
				t.Errorf("%s is gone", strings.Join(f, "."))
			}
		}
		if got := s.Get(t, steps.Services, "guest-collector").GetLabels()["team"]; got != "blue" {
			t.Errorf("label team of the Service is %q", got)
		}
		if got := fmt.Sprint(steps.UIDs(s.List(t, steps.Pods, instanceOf(s, "guest")))); got != fmt.Sprint(pods) {
			t.Errorf("pods %s, want them as before: %s", got, pods)
		}
		if n := s.CountEvents(t, "guest", "FieldTakenBack"); n > 0 {
			t.Errorf("%d fields were taken back: %+v", n, s.Events(t, "guest"))
		}
	}
	change := func(patch string) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, "guest", patch)
			s.WaitReady(t, "guest")
		}
	}
	environment.Test(t, steps.Feature("fields of others").
		Setup(steps.Operator()).
		Setup(create("guest", "statefulset", claimTemplate, `replicas: 2`)).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			s.Kubectl(t, "", "label", "service,statefulset", "guest-collector", "team=blue")
			s.Kubectl(t, "", "annotate", "statefulset", "guest-collector", "note=ours")
			s.Kubectl(t, "", "rollout", "restart", "statefulset/guest-collector")
			s.Kubectl(t, "", "rollout", "status", "statefulset/guest-collector", "--timeout=60s")
			s.WaitReady(t, "guest")
			pods = steps.UIDs(s.List(t, steps.Pods, instanceOf(s, "guest")))
		})).
		Assess("survive a change of the spec", steps.In(change(`{statefulSetUpdateStrategy: {type: OnDelete}}`), stay)).
		Assess("survive a restart of the operator", steps.In(func(t *testing.T, s *steps.Scene) { s.WantQuietRestart(t, 1) }, stay)).
		Assess("survive that the StatefulSet is replaced", steps.In(change(`podManagementPolicy: OrderedReady`), stay)).
		Assess("survive a restart after that", steps.In(func(t *testing.T, s *steps.Scene) { s.WantQuietRestart(t, 1) }, stay)).
		Feature())
}
