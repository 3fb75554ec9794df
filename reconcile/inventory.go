package reconcile

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/crds"
)

// inventory is what belongs to a collector, by ID.
type inventory map[ID]crds.InventoryEntry

// inventoryOf reads the inventory in a collector's status. Whoever may write that must not be able to have us look at, or delete, what no
// collector owns: kinds of other versions of the operator are left out, too.
func inventoryOf(c *crds.Collector) inventory {
	out := inventory{}
	for _, e := range c.Status.Inventory {
		id := ID{e.Group, e.Kind, e.Namespace, e.Name}
		if mayOwn(c, id) {
			out[id] = e
		}
	}
	return out
}

func mayOwn(c *crds.Collector, id ID) bool {
	if id.Name == "" || len(content.IsPathSegmentName(id.Name)) > 0 {
		return false
	}
	for _, k := range append(crds.OwnedKinds(), crds.ClusterKinds()...) {
		if k.GVK.GroupKind() == schemaGroupKind(id) {
			return k.ClusterScoped && id.Namespace == "" || !k.ClusterScoped && id.Namespace == c.Namespace
		}
	}
	return false
}

// owned is the inventory of what is live and c's.
func owned(c *crds.Collector, live Objects) inventory {
	out := inventory{}
	for id, u := range live {
		if belongsTo(c, u) {
			out[id] = crds.InventoryEntry{
				Group: id.Group, Version: u.GroupVersionKind().Version, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name, UID: u.GetUID(),
			}
		}
	}
	return out
}

// ahead is i with all that a plan creates: it is written before anything is created, so that nothing that was created can be
// forgotten.
func (i inventory) ahead(plan *Plan) inventory {
	out := maps.Clone(i)
	for _, c := range plan.Changes {
		if _, there := out[c.ID]; !there && c.Action == ActionCreate {
			gvk := c.Want.GroupVersionKind()
			out[c.ID] = crds.InventoryEntry{Group: gvk.Group, Version: gvk.Version, Kind: gvk.Kind, Namespace: c.ID.Namespace, Name: c.ID.Name}
		}
	}
	return out
}

// clusterScoped tells whether something in i has to be deleted by us, because the garbage collector does not.
func (i inventory) clusterScoped() bool {
	for id := range i {
		if id.Namespace == "" {
			return true
		}
	}
	return false
}

// covers tells whether all of other is in i, whatever the UIDs.
func (i inventory) covers(other inventory) bool {
	for id := range other {
		if _, ok := i[id]; !ok {
			return false
		}
	}
	return true
}

// entries are i in order, as the status has them.
func (i inventory) entries() []crds.InventoryEntry {
	return slices.SortedFunc(maps.Values(i), func(a, b crds.InventoryEntry) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

func schemaGroupKind(id ID) schema.GroupKind { return schema.GroupKind{Group: id.Group, Kind: id.Kind} }
