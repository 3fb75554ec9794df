package reconcile

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// TestPodsThatTheirStatefulSetWaitsForInVain is about a StatefulSet whose template was repaired after a bad rollout.
func TestPodsThatTheirStatefulSetWaitsForInVain(t *testing.T) {
	set := func(spec string) *unstructured.Unstructured {
		return fromYAML(t, `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: x, namespace: ns, uid: u, generation: 3}, spec: {replicas: 3, `+spec+`},
status: {observedGeneration: 3, currentRevision: x-1, updateRevision: x-3}}`)
	}
	const rolling = `updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}`
	const ready = `phase: Running, containerStatuses: [{name: otc-container, ready: true}]`
	unready := func(text string) string { return container(text) + `, conditions: [{type: Ready, status: "False"}]` }
	starting, crashing, young := unready(`state: {running: {}}`), unready(loop4), unready(strings.ReplaceAll(loop4, "4", "2"))
	beside := func(collector string) string {
		return `phase: Running, conditions: [{type: Ready, status: "False"}], containerStatuses: [{name: otc-container, ` + collector + `}, {name: side, ready: false, ` + loop4 + `}]`
	}
	const initialising = `phase: Pending, conditions: [{type: Ready, status: "False"}], initContainerStatuses: [{name: first, ready: false, ` + loop4 + `}],
		containerStatuses: [{name: otc-container, ready: false, state: {waiting: {reason: PodInitializing}}}]`
	pod := func(i int, revision, status string, change ...func(*unstructured.Unstructured)) *unstructured.Unstructured {
		p := podOf(t, fmt.Sprintf("x-%d", i), status)
		p.SetLabels(map[string]string{"controller-revision-hash": revision})
		for _, f := range change {
			f(p)
		}
		return p
	}
	going := func(p *unstructured.Unstructured) {
		p.Object["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
	}
	strangers := func(p *unstructured.Unstructured) { p.SetOwnerReferences(nil) }
	unseen := set(rolling)
	unseen.SetGeneration(4)
	old := []*unstructured.Unstructured{pod(0, "x-1", ready), pod(1, "x-1", ready)}
	with := func(more ...*unstructured.Unstructured) []*unstructured.Unstructured {
		return append(old[:2:2], more...)
	}
	for name, tt := range map[string]struct {
		set    *unstructured.Unstructured
		action Action
		pods   []*unstructured.Unstructured
		want   string
	}{
		"one that crashes":                                {set: set(rolling), pods: with(pod(2, "x-2", crashing)), want: "x-2"},
		"one whose image is not there":                    {set: set(rolling), pods: with(pod(2, "x-2", waitingFor("ImagePullBackOff", "no"))), want: "x-2"},
		"one that fits no node":                           {set: set(rolling), pods: with(pod(2, "x-2", unschedulable("0/2 nodes are available: 2 Insufficient cpu."))), want: "x-2"},
		"one that can't be created":                       {set: set(rolling), pods: with(pod(2, "x-2", waitingFor("CreateContainerConfigError", "no"))), want: "x-2"},
		"the very first, without which there are no more": {set: set(rolling), pods: []*unstructured.Unstructured{pod(0, "x-2", crashing)}, want: "x-0"},
		"the first of several":                            {set: set(rolling), pods: []*unstructured.Unstructured{pod(2, "x-2", crashing), pod(1, "x-2", crashing), old[0]}, want: "x-1"},
		"one of the canaries":                             {set: set(strings.ReplaceAll(rolling, "0", "2")), pods: with(pod(2, "x-2", crashing)), want: "x-2"},
		"one below the partition, of no revision that is": {set: set(strings.ReplaceAll(rolling, "0", "3")), pods: with(pod(2, "x-2", crashing)), want: "x-2"},
		"not one that would come back as it is":           {set: set(strings.ReplaceAll(rolling, "0", "3")), pods: with(pod(2, "x-1", crashing))},
		"not one that is of the newest revision":          {set: set(rolling), pods: with(pod(2, "x-3", crashing))},
		"not one that may come up yet":                    {set: set(rolling), pods: with(pod(2, "x-2", young))},
		"not one that starts":                             {set: set(rolling), pods: with(pod(2, "x-2", starting))},
		"not one that is ready":                           {set: set(rolling), pods: with(pod(2, "x-2", ready))},
		"not before the one that is waited for":           {set: set(rolling), pods: []*unstructured.Unstructured{old[0], pod(1, "x-3", starting), pod(2, "x-2", crashing)}},
		"not before the one that is made next":            {set: set(rolling), pods: []*unstructured.Unstructured{old[0], pod(2, "x-2", crashing)}},
		"not while another goes":                          {set: set(rolling), pods: []*unstructured.Unstructured{pod(0, "x-1", ready, going), old[1], pod(2, "x-2", crashing)}},
		"not one that is to go":                           {set: set(rolling), pods: with(pod(2, "x-1", ready), pod(3, "x-2", crashing))},
		"not one that is nobody's":                        {set: set(rolling), pods: with(pod(2, "x-2", crashing, strangers))},
		"not where they are replaced by hand":             {set: set(`updateStrategy: {type: OnDelete}`), pods: with(pod(2, "x-2", crashing))},
		"not where the controller does it":                {set: set(`podManagementPolicy: Parallel, ` + rolling), pods: with(pod(2, "x-2", crashing))},
		"where the controller counts those that crash":    {set: set(`podManagementPolicy: Parallel, updateStrategy: {rollingUpdate: {maxUnavailable: 1}}`), pods: with(pod(2, "x-2", crashing)), want: "x-2"},
		"not before the controller has seen the template": {set: unseen, pods: with(pod(2, "x-2", crashing))},
		"not one in which only another container crashes": {set: set(rolling), pods: with(pod(2, "x-2", beside(`ready: true`)))},
		"one in which all containers crash":               {set: set(rolling), pods: with(pod(2, "x-2", beside(`ready: false, `+loop4))), want: "x-2"},
		"one that an init container keeps from starting":  {set: set(rolling), pods: with(pod(2, "x-2", initialising)), want: "x-2"},
		"not while the template changes":                  {set: set(rolling), action: ActionUpdate, pods: with(pod(2, "x-2", crashing))},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			u, why := inTheWay(&Change{Action: cmp.Or(tt.action, ActionNone), Live: tt.set, Want: tt.set}, tt.pods)
			if u != nil {
				got = u.GetName()
			}
			if got != tt.want {
				t.Errorf("%q goes because it %s, want %q", got, why, tt.want)
			}
			if want := "waits for it in vain: "; u != nil && (!strings.Contains(why, want) || strings.HasSuffix(why, want)) {
				t.Errorf("it goes because it %s", why)
			}
		})
	}
}

// TestPlansTellOfThePodThatTheRepairDeletes is about the preview of a change that repairs a bad rollout, or is another bad one.
func TestPlansTellOfThePodThatTheRepairDeletes(t *testing.T) {
	set := func(partition string) *unstructured.Unstructured {
		return fromYAML(t, `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: x, namespace: ns, uid: u, generation: 3},
spec: {replicas: 2, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: `+partition+`}}}, status: {observedGeneration: 3, currentRevision: x-1, updateRevision: x-2}}`)
	}
	pod := func(i int, revision, status string) *unstructured.Unstructured {
		p := podOf(t, fmt.Sprintf("x-%d", i), status)
		p.SetLabels(map[string]string{"controller-revision-hash": revision})
		return p
	}
	const ready = `phase: Running, containerStatuses: [{name: otc-container, ready: true}]`
	crashing := container(loop4) + `, conditions: [{type: Ready, status: "False"}]`
	repair, scale := []FieldChange{{Path: ".spec.template.spec.containers", Op: FieldSet}}, []FieldChange{{Path: ".spec.replicas", Op: FieldSet}}
	for name, tt := range map[string]struct {
		set    *unstructured.Unstructured
		action Action
		fields []FieldChange
		pods   []*unstructured.Unstructured
		want   string
	}{
		"a repair":                          {set("0"), ActionUpdate, repair, []*unstructured.Unstructured{pod(0, "x-1", ready), pod(1, "x-2", crashing)}, "x-1"},
		"a repair that makes it anew":       {set("0"), ActionReplace, repair, []*unstructured.Unstructured{pod(0, "x-1", ready), pod(1, "x-2", crashing)}, "x-1"},
		"nothing of pods":                   {set("0"), ActionUpdate, scale, []*unstructured.Unstructured{pod(0, "x-1", ready), pod(1, "x-2", crashing)}, ""},
		"one that would come back as it is": {set("1"), ActionUpdate, repair, []*unstructured.Unstructured{pod(0, "x-1", crashing), pod(1, "x-2", ready)}, ""},
		"pods that are well":                {set("0"), ActionUpdate, repair, []*unstructured.Unstructured{pod(0, "x-1", ready), pod(1, "x-2", ready)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := Change{Action: tt.action, Live: tt.set, Want: tt.set, Fields: tt.fields}
			got := ""
			if p := stuckThen(&c, tt.pods); p != nil {
				got = p.GetName()
			}
			if got != tt.want {
				t.Errorf("%q will be deleted, want %q", got, tt.want)
			}
			c.stuck = got
			if says := strings.Contains(c.Consequence(), "pod x-1, which does not come up"); says != (tt.want != "") {
				t.Errorf("consequence %q", c.Consequence())
			}
		})
	}
}

func TestRepairIsPlannedWithThePodThatItDeletes(t *testing.T) {
	set := func(image string) *unstructured.Unstructured {
		return fromYAML(t, `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: x, namespace: ns}, spec: {replicas: 1, serviceName: x, selector: {matchLabels: {a: b}},
updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: otc-container, image: `+image+`}]}}}}`)
	}
	f := &fixture{NewPlanner(renderForTests), newFieldManagers()}
	w, collector := f.world(), &crds.Collector{Namespace: "ns", Name: "x", UID: "c"}
	_, _, err := w.apply(ownedBy(collector, set("bad")), crds.FieldManager, "", false)
	mustDo(t, err)
	id := idOf(set("bad"))
	live := w.get(id)
	live.Object["status"] = map[string]any{"observedGeneration": live.GetGeneration(), "currentRevision": "x-2", "updateRevision": "x-2"}
	pod := podOf(t, "x-0", container(loop4)+`, conditions: [{type: Ready, status: "False"}]`)
	pod.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "x", UID: live.GetUID(), Controller: new(true)}})
	for image, want := range map[string]bool{"good": true, "bad": false} {
		plan, err := f.planner.Build(Input{Collector: collector, Want: []*unstructured.Unstructured{set(image)}, Live: Objects{id: live}, Pods: []*unstructured.Unstructured{pod}})
		mustDo(t, err)
		if c := plan.Changes[0]; len(plan.Changes) != 1 || strings.Contains(c.Consequence(), "pod x-0") != want {
			t.Errorf("%s: %d changes, the first %s with the consequence %q", image, len(plan.Changes), c.Action, c.Consequence())
		}
	}
}
