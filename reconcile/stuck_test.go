package reconcile

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
