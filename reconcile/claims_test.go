package reconcile

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/otelier/otelier/crds"
)

func claimOf(t *testing.T, name, size, more string) *unstructured.Unstructured {
	t.Helper()
	return objectFrom(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":%q,"namespace":"ns"%s},
		"spec":{"storageClassName":"fast","resources":{"requests":{"storage":%q}}}}`, name, more, size))
}

func TestClaimsOfAnotherSizeThanTheirTemplate(t *testing.T) {
	set := objectFrom(t, `{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"x"},"spec":{"volumeClaimTemplates":[
		{"metadata":{"name":"data"},"spec":{"resources":{"requests":{"storage":"2Gi"}}}},
		{"metadata":{"name":"data-x"},"spec":{"resources":{"requests":{"storage":"1Gi"}}}}]}}`)
	var got []string
	for _, g := range growing(set, []*unstructured.Unstructured{
		claimOf(t, "data-x-0", "1Gi", ""),
		claimOf(t, "data-x-1", "2048Mi", ""), // the same size
		claimOf(t, "data-x-10", "3Gi", ""),
		claimOf(t, "data-x-2", "1Gi", `,"deletionTimestamp":"2026-01-01T00:00:00Z"`),
		claimOf(t, "data-x-y-0", "1Gi", ""), // of another StatefulSet
		claimOf(t, "data-x-", "1Gi", ""),
		claimOf(t, "data-x-x-0", "500Mi", ""), // of the other template
		claimOf(t, "other-x-0", "1Gi", ""),
	}) {
		got = append(got, fmt.Sprintf("%s %s %v", g.claim.GetName(), g.want.String(), g.shrinks))
	}
	if want := []string{"data-x-0 2Gi false", "data-x-10 2Gi true", "data-x-x-0 1Gi false"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPodsThatAnotherSelectorHasLeft(t *testing.T) {
	set := setOf(t, 2) // selects a=b
	pod := func(name, labels, more string) *unstructured.Unstructured {
		return objectFrom(t, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":"ns","uid":"u","labels":{%s}%s}}`, name, labels, more))
	}
	var got []string
	for _, u := range orphans(set, []*unstructured.Unstructured{
		pod("x-0", `"a":"old"`, ""),
		pod("x-1", `"a":"b"`, ""),
		pod("x-2", "", `,"ownerReferences":[{"apiVersion":"apps/v1","kind":"StatefulSet","name":"x","uid":"1","controller":true}]`),
		pod("x-3", "", `,"deletionTimestamp":"2026-01-01T00:00:00Z"`),
		pod("x-y-0", "", ""),
		pod("y-0", "", ""),
	}) {
		got = append(got, u.GetName())
	}
	if !slices.Equal(got, []string{"x-0"}) {
		t.Errorf("got %v, want x-0", got)
	}
	c := relabelled(set, pod("x-0", `"a":"old"`, ""))
	if c.Want.GetUID() != "u" || c.Want.GetLabels()["a"] != "b" || len(c.Fields) != 1 || c.Fields[0].Path != ".metadata.labels.a" {
		t.Errorf("it is relabelled by %s with %v", pretty(c.Want.Object), c.Fields)
	}
}

func TestImmutableFields(t *testing.T) {
	kind := func(group, name string) crds.OwnedKind {
		k, ok := crds.KindOf(schemaGroupKind(ID{Group: group, Kind: name}))
		if !ok {
			t.Fatalf("%s is not known", name)
		}
		return k
	}
	tests := []struct {
		kind crds.OwnedKind
		path fieldpath.Path
		want string
	}{
		{kind("apps", "Deployment"), fieldpath.MakePathOrDie("spec", "selector", "matchLabels"), ".spec.selector"},
		{kind("apps", "DaemonSet"), fieldpath.MakePathOrDie("spec", "selector"), ".spec.selector"},
		{kind("apps", "Deployment"), fieldpath.MakePathOrDie("spec", "template"), ""},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("spec", "selector"), ".spec.selector"},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("spec", "serviceName"), ".spec.serviceName"},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("spec", "volumeClaimTemplates"), ".spec.volumeClaimTemplates"},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("spec", "podManagementPolicy"), ".spec.podManagementPolicy"},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("spec", "replicas"), ""},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("spec", "ordinals", "start"), ""},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("spec", "template", "spec"), ""},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("spec", "updateStrategy", "type"), ""},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("spec", "revisionHistoryLimit"), ""},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("spec", "persistentVolumeClaimRetentionPolicy", "whenScaled"), ""},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("spec", "minReadySeconds"), ""},
		{kind("apps", "StatefulSet"), fieldpath.MakePathOrDie("metadata", "labels", "serviceName"), ""},
		{kind("rbac.authorization.k8s.io", "ClusterRoleBinding"), fieldpath.MakePathOrDie("roleRef", "name"), ".roleRef"},
		{kind("rbac.authorization.k8s.io", "ClusterRoleBinding"), fieldpath.MakePathOrDie("subjects"), ""},
		{kind("", "Service"), fieldpath.MakePathOrDie("spec", "selector"), ""},
	}
	for _, tt := range tests {
		if got := immutableRoot(tt.kind, tt.path); got != tt.want {
			t.Errorf("%s %s: got %q, want %q", tt.kind.GVK.Kind, tt.path, got, tt.want)
		}
	}
}

func TestInventory(t *testing.T) {
	c := &crds.Collector{Namespace: "ns", Name: "a", UID: "1"}
	mine := ownedBy(c, setOf(t, 1))
	mine.SetUID("2")
	other := ownedBy(&crds.Collector{Namespace: "ns", Name: "b", UID: "3"}, setOf(t, 1))
	other.SetName("other")
	has := owned(c, Objects{idOf(mine): mine, idOf(other): other})
	if len(has) != 1 || has[idOf(mine)].UID != "2" || has.clusterScoped() {
		t.Errorf("inventory is %v, want the one StatefulSet", has)
	}
	role := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}}
	role.SetName("r")
	plan := &Plan{Changes: []Change{
		{ID: idOf(mine), Action: ActionCreate, Want: mine},
		{ID: idOf(role), Action: ActionCreate, Want: role},
		{ID: idOf(other), Action: ActionUpdate, Want: other},
	}}
	ahead := has.ahead(plan)
	if len(ahead) != 2 || ahead[idOf(mine)].UID != "2" || ahead[idOf(role)].UID != "" || !ahead.clusterScoped() {
		t.Errorf("written ahead is %v", ahead)
	}
	if has.covers(ahead) || !ahead.covers(has) || len(has) != 1 {
		t.Errorf("%v and %v cover each other wrongly", has, ahead)
	}
	if back := inventoryOf(&crds.Collector{Namespace: "ns", Status: crds.Status{Inventory: ahead.entries()}}); digest(back.entries()) != digest(ahead.entries()) {
		t.Errorf("read back it is %v, want %v", back, ahead)
	}
	if u := ownedBy(c, role.DeepCopy()); !belongsTo(c, u) || len(u.GetOwnerReferences()) != 0 {
		t.Errorf("a cluster-scoped object is %s", pretty(u.Object))
	}
}

func TestFewPathsAreNamed(t *testing.T) {
	for want, paths := range map[string][]string{
		"a": {"a"}, "a, b, c": {"a", "b", "c"}, "a, b, c and 2 more": {"a", "b", "c", "d", "e"},
	} {
		if got := few(paths); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
