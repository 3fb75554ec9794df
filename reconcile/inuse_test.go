package reconcile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// inUse is a collector that has gone through config-0 to config-4, and keeps one former version: config-3.
func inUse(t *testing.T, workload string) Input {
	t.Helper()
	owned := `namespace: ns, ownerReferences: [{apiVersion: opentelemetry.io/v1beta1, kind: OpenTelemetryCollector, name: a, uid: c, controller: true}]`
	in := Input{Collector: &crds.Collector{Namespace: "ns", Name: "a", UID: "c"}, Live: Objects{}}
	in.Collector.Spec.ConfigVersions = new(int32(1))
	for i := range 5 {
		u := fromYAML(t, fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: config-%d, uid: "%d", creationTimestamp: "2026-01-01T00:00:0%dZ", %s}}`, i, i, i, owned))
		in.Live[idOf(u)] = u
	}
	if workload != "" {
		u := fromYAML(t, `{apiVersion: apps/v1, `+strings.Replace(workload, "metadata: {", "metadata: {name: x, uid: u, generation: 5, "+owned+", ", 1)+`}`)
		in.Live[idOf(u)] = u
	}
	return in
}

// TestConfigurationsInUseStay is about former ConfigMaps, of which pods may read one for long, or be made anew with one: below a
// partition, or while none of the newer ones works.
func TestConfigurationsInUseStay(t *testing.T) {
	const (
		template = `template: {spec: {volumes: [{name: otc-internal, configMap: {name: config-4}}]}}`
		rolling  = `updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 0}}`
		canary   = `updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}`
		byHand   = `updateStrategy: {type: OnDelete}`
		going    = `deletionTimestamp: "2026-01-01T00:01:00Z"`
	)
	set := func(spec, status string) string {
		return fmt.Sprintf(`kind: StatefulSet, metadata: {}, spec: {%s, %s}, status: {observedGeneration: 5, %s}`, template, spec, status)
	}
	deployment := func(spec, status string) string {
		return fmt.Sprintf(`kind: Deployment, metadata: {}, spec: {%s, %s}, status: {observedGeneration: 5, %s}`, template, spec, status)
	}
	daemons := func(status string) string {
		return fmt.Sprintf(`kind: DaemonSet, metadata: {}, spec: {%s, updateStrategy: {type: OnDelete}}, status: {observedGeneration: 5, %s}`, template, status)
	}
	pod := func(name string, config int, revision string, more ...string) *unstructured.Unstructured {
		phase := "Running"
		if i := slices.Index(more, "ended"); i >= 0 {
			phase, more = "Failed", slices.Delete(more, i, i+1)
		}
		return slimPod(fromYAML(t, fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: ns, labels: {controller-revision-hash: %q},
			ownerReferences: [{apiVersion: apps/v1, kind: Any, name: x, uid: u, controller: true}], %s}, status: {phase: %s}, spec: {volumes: [
			{name: other, configMap: {name: config-3}}, {name: otc-internal, configMap: {name: config-%d}}]}}`, name, revision, strings.Join(more, ", "), phase, config)))
	}
	type pods = []*unstructured.Unstructured
	const differ, same = `replicas: 2, currentRevision: r0, updateRevision: r4`, `replicas: 2, currentRevision: r4, updateRevision: r4`
	const complete = `replicas: 2, updatedReplicas: 2, availableReplicas: 2`
	for name, tt := range map[string]struct {
		workload string
		pods     pods
		want     string // what goes of config-0 to config-2
	}{
		"of pods alone": {"", pods{pod("a", 0, ""), pod("b", 1, "", going)}, "2"},
		"not that of a pod that has ended": {
			"", pods{pod("a", 0, "", "ended"), pod("b", 1, "")}, "0 2",
		},
		"none after a rollout":                        {set("replicas: 2, "+rolling, same), pods{pod("x-0", 4, "r4"), pod("x-1", 4, "r4")}, "0 1 2"},
		"of a pod that a rollout has not come to":     {set("replicas: 2, "+rolling, differ), pods{pod("x-0", 0, "r0"), pod("x-1", 4, "r4")}, "1 2"},
		"of one below the partition":                  {set("replicas: 2, "+canary, differ), pods{pod("x-0", 0, "r0"), pod("x-1", 4, "r4")}, "1 2"},
		"of one below the partition that goes":        {set("replicas: 2, "+canary, differ), pods{pod("x-0", 0, "r0", going), pod("x-1", 4, "r4")}, "1 2"},
		"all while none is below the partition":       {set("replicas: 2, "+canary, strings.ReplaceAll(differ, "s: 2", "s: 1")), pods{pod("x-1", 4, "r4")}, ""},
		"all while that has ended":                    {set("replicas: 2, "+canary, differ), pods{pod("x-0", 0, "r0", "ended"), pod("x-1", 4, "r4")}, ""},
		"all while it is of a revision in between":    {set("replicas: 2, "+canary, differ), pods{pod("x-0", 1, "r1"), pod("x-1", 4, "r4")}, ""},
		"all while a partition could bring them back": {set("replicas: 2, "+rolling, differ), pods{pod("x-0", 4, "r4"), pod("x-1", 4, "r4")}, ""},
		"all while pods have been counted that are not known": {
			set("replicas: 2, "+rolling, same), pods{pod("x-0", 4, "r4")}, "",
		},
		"none of a pod made anew of the newest": {
			set("replicas: 2, "+rolling, strings.ReplaceAll(same, "s: 2", "s: 1")), pods{pod("x-0", 4, "r4")}, "0 1 2",
		},
		"all of what its controller has not seen": {
			strings.Replace(set("replicas: 2, "+rolling, same), "observedGeneration: 5", "observedGeneration: 4", 1), pods{pod("x-0", 4, "r4"), pod("x-1", 4, "r4")}, "",
		},
		"all of what goes itself": {
			strings.Replace(set("replicas: 2, "+rolling, same), "metadata: {", "metadata: {"+going, 1), pods{pod("x-0", 4, "r4"), pod("x-1", 4, "r4")}, "",
		},
		"that of the template, which is changed next":        {strings.Replace(set("replicas: 0, "+rolling, `currentRevision: r0, updateRevision: r0`), "config-4", "config-0", 1), nil, "1 2"},
		"none of a StatefulSet scaled to zero":               {set("replicas: 0, "+rolling, `currentRevision: r4, updateRevision: r4`), nil, "0 1 2"},
		"all of one scaled to zero in between":               {set("replicas: 0, "+rolling, `currentRevision: r0, updateRevision: r4`), nil, ""},
		"of pods that are replaced by hand, by the newest":   {set("replicas: 2, "+byHand, differ), pods{pod("x-0", 1, "r1"), pod("x-1", 4, "r4")}, "0 2"},
		"none when a Deployment is rolled out":               {deployment("replicas: 2", complete), pods{pod("x-a", 4, ""), pod("x-b", 4, "")}, "0 1 2"},
		"of its pods that go":                                {deployment("replicas: 2", complete), pods{pod("x-a", 4, ""), pod("x-b", 4, ""), pod("x-c", 0, "", going)}, "1 2"},
		"all while it rolls out":                             {deployment("replicas: 2", `replicas: 3, updatedReplicas: 1, availableReplicas: 2`), pods{pod("x-a", 1, ""), pod("x-b", 1, ""), pod("x-c", 4, "")}, ""},
		"all while it does not come up, and a former is out": {deployment("replicas: 1", `replicas: 1, updatedReplicas: 1`), pods{pod("x-a", 4, "")}, ""},
		"none when it has no pods meanwhile":                 {deployment("replicas: 1, strategy: {type: Recreate}", `replicas: 1, updatedReplicas: 1`), pods{pod("x-a", 4, "")}, "0 1 2"},
		"none of a Deployment scaled to zero":                {deployment("replicas: 0", `replicas: 0`), nil, "0 1 2"},
		"of daemons, which are made of the newest":           {daemons(`currentNumberScheduled: 2, desiredNumberScheduled: 3`), pods{pod("x-a", 1, "r1"), pod("x-b", 0, "r0", going)}, "2"},
		"all of daemons that are not known":                  {daemons(`currentNumberScheduled: 2`), pods{pod("x-a", 1, "r1")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := inUse(t, tt.workload)
			in.Pods = tt.pods
			wanted := map[ID]bool{{Kind: "ConfigMap", Namespace: "ns", Name: "config-4"}: true}
			for id := range in.Live {
				wanted[id] = wanted[id] || id.Group == "apps"
			}
			stale, err := staleObjects(in, wanted)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range stale {
				got = append(got, strings.TrimPrefix(c.ID.Name, "config-"))
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%v go, want %q", got, tt.want)
			}
		})
	}
}
