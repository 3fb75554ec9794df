package reconcile

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestPodsThatLackAClaimAreMadeAnewOneByOne is about a StatefulSet that has got a template for a claim.
func TestPodsThatLackAClaimAreMadeAnewOneByOne(t *testing.T) {
	set := func(strategy string, replicas int) *unstructured.Unstructured {
		return objectFrom(t, fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"x","namespace":"ns","uid":"s","generation":1},
			"spec":{"replicas":%d,"updateStrategy":{"type":%q},"volumeClaimTemplates":[{"metadata":{"name":"data"},
			"spec":{"resources":{"requests":{"storage":"1Gi"}}}}]},"status":{"observedGeneration":1}}`, replicas, strategy))
	}
	pod := func(i int, owner, claim, ready, more string) *unstructured.Unstructured {
		return objectFrom(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x-%d","namespace":"ns"%s,
			"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"x","uid":%q,"controller":true}]},
			"spec":{"volumes":[{"persistentVolumeClaim":{"claimName":%q}}]},
			"status":{"phase":"Running","conditions":[{"type":"Ready","status":%q}]}}`, i, more, owner, claim, ready))
	}
	lack := func(i int) *unstructured.Unstructured { return pod(i, "s", "other", "True", "") }
	has := func(i int, ready string) *unstructured.Unstructured {
		return pod(i, "s", fmt.Sprintf("data-x-%d", i), ready, "")
	}
	going := pod(0, "s", "other", "True", `,"deletionTimestamp":"2026-01-01T00:00:00Z"`)
	for name, tt := range map[string]struct {
		set  *unstructured.Unstructured
		pods []*unstructured.Unstructured
		want string
	}{
		"the first goes first":                         {set("RollingUpdate", 3), []*unstructured.Unstructured{lack(2), lack(0), lack(1)}, "x-0"},
		"then the second":                              {set("RollingUpdate", 3), []*unstructured.Unstructured{has(0, "True"), lack(1), lack(2)}, "x-1"},
		"not before the first is ready":                {set("RollingUpdate", 3), []*unstructured.Unstructured{has(0, "False"), lack(1), lack(2)}, ""},
		"not before the first is there":                {set("RollingUpdate", 3), []*unstructured.Unstructured{lack(1), lack(2)}, ""},
		"not while one goes":                           {set("RollingUpdate", 3), []*unstructured.Unstructured{going, lack(1), lack(2)}, ""},
		"not before all are adopted":                   {set("RollingUpdate", 2), []*unstructured.Unstructured{pod(0, "former", "other", "True", ""), lack(1)}, ""},
		"none when they are replaced by hand":          {set("OnDelete", 1), []*unstructured.Unstructured{lack(0)}, ""},
		"none when none lacks any":                     {set("RollingUpdate", 1), []*unstructured.Unstructured{has(0, "True")}, ""},
		"one that lacks it may be not ready, or crash": {set("RollingUpdate", 1), []*unstructured.Unstructured{pod(0, "s", "other", "False", "")}, "x-0"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if u := lacking(&Change{Live: tt.set, Want: tt.set}, tt.pods); u != nil {
				got = u.GetName()
			}
			if got != tt.want {
				t.Errorf("%q goes, want %q", got, tt.want)
			}
		})
	}
}

func TestPodsOfACollectorThatIsGone(t *testing.T) {
	pod := func(name, instance, owner string) *unstructured.Unstructured {
		return objectFrom(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":"ns",
			"labels":{"app.kubernetes.io/instance":%q}%s}}`, name, instance, owner))
	}
	owned := `,"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"a-collector","uid":"s","controller":true}]`
	for name, tt := range map[string]struct {
		pod  *unstructured.Unstructured
		want bool
	}{
		"that nobody owns":        {pod("a-collector-0", "ns.a", ""), true},
		"that a StatefulSet owns": {pod("a-collector-0", "ns.a", owned), false},
		"of another name":         {pod("mine", "ns.a", ""), false},
		"of another instance":     {pod("a-collector-0", "ns.b", ""), false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, got := madeFor(tt.pod); got != tt.want {
				t.Errorf("left over: %v, want %v", got, tt.want)
			}
		})
	}
}
