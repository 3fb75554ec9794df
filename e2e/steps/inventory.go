package steps

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Made are the resources of what the operator itself makes, in namespaces.
func Made() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{ServiceAccounts, ConfigMaps, Services, Deployments, DaemonSets, StatefulSets, Budgets}
}

// Inventory is what a collector's status says that belongs to it: UIDs by "Kind/name". A UID that is not known yet is empty.
func Inventory(u *unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	entries, _ := Field(u, "status", "inventory").([]any)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		uid, _ := entry["uid"].(string)
		out[fmt.Sprintf("%v/%v", entry["kind"], entry["name"])] = uid
	}
	return out
}

// WantNothingLeaked fails the test unless the inventories of the scene's collectors together are exactly what is there with the
// operator's labels.
func (s *Scene) WantNothingLeaked(t *testing.T) {
	t.Helper()
	there := map[string]string{}
	for _, r := range Made() {
		for _, u := range s.List(t, r, ManagedBy) {
			there[u.GetKind()+"/"+u.GetName()] = string(u.GetUID())
		}
	}
	leaked := maps.Clone(there)
	for _, u := range s.List(t, Collectors, "") {
		for object, uid := range Inventory(&u) {
			delete(leaked, object)
			if is, ok := there[object]; !ok || uid != "" && uid != is {
				t.Errorf("stale: %s with UID %q is in the inventory of %s; there it has UID %q", object, uid, u.GetName(), is)
			}
		}
	}
	if len(leaked) > 0 {
		t.Errorf("leaked: in no collector's inventory are %d of %d objects: %v", len(leaked), len(there), slices.Sorted(maps.Keys(leaked)))
	}
}
