package reconcile

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"

	"github.com/otelier/otelier/crds"
)

func TestRefusalsHoldForTheSameIntentOnTheSameObjectsAndForAWhile(t *testing.T) {
	now := testclock.NewFakeClock(at(0))
	e := &engine{clock: now, memory: map[types.NamespacedName]*memory{}}
	key := types.NamespacedName{Namespace: "ns", Name: "a"}
	u := statefulSet(3)
	u.SetUID("1")
	want, live := []*unstructured.Unstructured{statefulSet(3)}, Objects{idOf(u): u}
	refused := &Problem{Reason: crds.ReasonInvalidSpec}

	e.noteRefusal(key, intentOf(want, live), refused)
	if e.refusedBefore(key, want, live) != refused {
		t.Error("the same is asked again at once")
	}
	if e.refusedBefore(key, []*unstructured.Unstructured{statefulSet(2)}, live) != nil {
		t.Error("another intent is not asked")
	}
	if e.refusedBefore(key, want, nil) != nil {
		t.Error("what was refused because of an object is not asked when that is gone")
	}
	now.Step(refusedRetry)
	if e.refusedBefore(key, want, live) != nil {
		t.Error("it is never asked again")
	}
	e.noteRefusal(key, intentOf(want, live), &Problem{Transient: true})
	if e.memory[key].refused != nil {
		t.Error("what passes by itself is remembered")
	}
}

func TestPruneKeepsTheNewestUnusedConfigMaps(t *testing.T) {
	c := &crds.Collector{Namespace: "ns", Name: "a", UID: "1"}
	c.Spec.ConfigVersions = new(int32(2))
	live := Objects{}
	add := func(kind, apiVersion, name string, minute int) {
		u := ownedBy(c, &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}})
		u.SetName(name)
		u.SetNamespace("ns")
		u.SetCreationTimestamp(metav1.NewTime(at(minute)))
		live[idOf(u)] = u
	}
	for i, name := range []string{"c0", "c1", "c2", "c3"} {
		add("ConfigMap", "v1", name, i)
	}
	add("Service", "v1", "s", 0)
	add("PodDisruptionBudget", "policy/v1", "p", 0)
	add("StatefulSet", "apps/v1", "wanted", 0)
	wanted := map[ID]bool{{"", "ConfigMap", "ns", "c0"}: true, {"apps", "StatefulSet", "ns", "wanted"}: true}

	stale, err := staleObjects(Input{Collector: c, Live: live}, wanted)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range stale {
		got = append(got, c.ID.String())
	}
	// In the reverse of the order in which they are applied; c0 is in use, c3 and c2 are the newest others.
	if want := []string{"poddisruptionbudget/p", "service/s", "configmap/c1"}; !slices.Equal(got, want) {
		t.Errorf("stale are %v, want %v", got, want)
	}
}
