package operator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/steps"
)

// badInput is a change of a collector's spec that can't be carried out.
type badInput struct {
	name   string
	patch  string   // of the spec
	reason string   // of the conditions and of the Event
	texts  []string // that the message has: the path, and what is wrong
}

func badInputs() []badInput {
	return []badInput{
		{
			"not-yaml", `config: "receivers: [otlp"`,
			"InvalidConfig",
			[]string{"spec.config: not YAML: "},
		},
		{
			"empty-config", `config: "{}"`,
			"InvalidConfig",
			[]string{"spec.config.receivers: missing"},
		},
		{
			"scalar", `config: "hello"`,
			"InvalidConfig",
			[]string{"spec.config: want a mapping"},
		},
		{
			"undefined-receiver", `config: "receivers: {otlp: {}}\nexporters: {debug: {}}\nservice: {pipelines: {traces: {receivers: [zipkin], exporters: [debug]}}}"`,
			"InvalidConfig",
			[]string{"spec.config.service.pipelines.traces.receivers", `"zipkin"`, "not configured under receivers"},
		},
		{
			"wrong-type", `config: {receivers: {otlp: {}}, exporters: {debug: {}}, service: {pipelines: {traces: [otlp]}}}`,
			"InvalidConfig",
			[]string{"spec.config.service.pipelines.traces: want a mapping"},
		},
		{
			"more-than-its-limit", `resources: {requests: {cpu: "2"}, limits: {cpu: "1"}}`,
			"InvalidSpec",
			[]string{"statefulset/more-than-its-limit-collector", "resources.requests", "less than or equal to cpu limit"},
		},
		{
			"good-and-bad", fmt.Sprintf("config: %q\nresources: {requests: {cpu: \"2\"}, limits: {cpu: \"1\"}}", configLevel(1)),
			"InvalidSpec",
			[]string{"statefulset/good-and-bad-collector", "resources.requests"},
		},
		{
			"volume-of-no-kind", "volumes: [{name: scratch, hostPath: {path: relative/..}}]",
			"InvalidSpec",
			[]string{"statefulset/volume-of-no-kind-collector", "volumes", "must not contain '..'"},
		},
		{
			"mount-without-volume", "volumeMounts: [{name: nowhere, mountPath: /data}]",
			"InvalidSpec",
			[]string{"statefulset/mount-without-volume-collector", "volumeMounts", "Not found"},
		},
		{
			"unknown-operator", "tolerations: [{key: a, operator: Bogus}]",
			"InvalidSpec",
			[]string{"statefulset/unknown-operator-collector", "tolerations[0].operator", "Unsupported value", `"Equal", "Exists"`},
		},
		{
			"claim-template", strings.ReplaceAll(claimOf("1Gi"), "ReadWriteOnce", "Foo"),
			"InvalidSpec",
			[]string{"statefulset/claim-template-collector", "accessModes", "Unsupported value"},
		},
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	feature := steps.Feature("a spec that can't be carried out").Setup(steps.Operator())
	for _, c := range badInputs() {
		feature = feature.Assess(c.name, steps.In(c.check))
	}
	environment.Test(t, feature.Feature())
}

func TestBadFromTheStart(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("a collector that never worked").
		Setup(steps.Operator()).
		Assess("has nothing made for it", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "stillborn", "statefulset", `resources: {requests: {cpu: "2"}, limits: {cpu: "1"}}`))
			s.WaitCondition(t, "stillborn", "Stalled", metav1.ConditionTrue, "InvalidSpec", "resources.requests")
			if got := s.Labelled(t, steps.ManagedBy); len(got) > 0 {
				t.Errorf("%v was made", got)
			}
		})).
		Assess("works when it is repaired", steps.In(func(t *testing.T, s *steps.Scene) {
			s.PatchSpec(t, "stillborn", `resources: null`)
			steps.WithoutCondition(t, s.WaitReady(t, "stillborn"), "Stalled")
		})).
		Feature())
}

// check breaks a collector that runs, and repairs it.
func (c badInput) check(t *testing.T, s *steps.Scene) {
	s.Create(t, steps.Collector(t, c.name, "statefulset"))
	good := s.WaitReady(t, c.name)
	before := running(t, s, c.name)

	s.PatchSpec(t, c.name, c.patch)
	u := s.WaitCondition(t, c.name, "Ready", metav1.ConditionFalse, c.reason, c.texts...)
	s.WaitCondition(t, c.name, "Stalled", metav1.ConditionTrue, c.reason, c.texts...)
	steps.WithoutCondition(t, u, "Reconciling")
	for _, field := range []string{"scale", "image", "version"} {
		if got, want := fmt.Sprint(steps.Field(u, "status", field)), fmt.Sprint(steps.Field(good, "status", field)); got != want {
			t.Errorf("status.%s is %s, want %s as before: that is what runs", field, got, want)
		}
	}
	c.wantEvent(t, s)
	// The condition was written after all that there was to do, so what runs now is what runs on.
	if after := running(t, s, c.name); !slices.Equal(after, before) {
		t.Errorf("what runs has changed from %v to %v", before, after)
	}

	s.PatchSpec(t, c.name, repair(t, c.patch))
	u = s.WaitReady(t, c.name)
	steps.WithoutCondition(t, u, "Stalled", "Reconciling")
	if got := s.CountEvents(t, c.name, c.reason); got != 1 {
		t.Errorf("%d Events with reason %s, want one: %v", got, c.reason, s.Events(t, c.name))
	}
}

// wantEvent waits for the Event that says what is wrong.
func (c badInput) wantEvent(t *testing.T, s *steps.Scene) {
	t.Helper()
	steps.Eventually(t, "Event "+c.reason, func() error {
		events := s.Events(t, c.name)
		if !slices.ContainsFunc(events, func(e steps.Event) bool {
			return e.Type == "Warning" && e.Reason == c.reason && strings.Contains(e.Note, c.texts[0])
		}) {
			return fmt.Errorf("%v", events)
		}
		return nil
	})
}

// repair is the patch that undoes another one.
func repair(t *testing.T, patch string) string {
	t.Helper()
	was := steps.Collector(t, "", "statefulset").Object["spec"].(map[string]any)
	var out []string
	for field := range steps.Parse(t, patch).Object {
		if v, ok := was[field]; ok {
			out = append(out, fmt.Sprintf("%s: %q", field, v))
		} else {
			out = append(out, field+": null")
		}
	}
	return strings.Join(out, "\n")
}

// running is what runs for a collector: the identity and the generation of its StatefulSet, its pods and its ConfigMaps.
func running(t *testing.T, s *steps.Scene, name string) []string {
	t.Helper()
	instance := instanceOf(s, name)
	set := s.Get(t, steps.StatefulSets, name+"-collector")
	out := append(steps.UIDs(s.List(t, steps.Pods, instance)), steps.UIDs(s.List(t, steps.ConfigMaps, instance))...)
	return append(out, string(set.GetUID()), fmt.Sprint(set.GetGeneration()))
}
