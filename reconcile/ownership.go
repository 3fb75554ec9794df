package reconcile

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// ownedBy returns u as c's: with c as its controller, or, when it is cluster-scoped and can't have one, with c's UID as a label.
// blockOwnerDeletion stays unset: it would need rights on the finalizers of collectors, and nobody waits for our objects to go first.
func ownedBy(c *crds.Collector, u *unstructured.Unstructured) *unstructured.Unstructured {
	if k, err := kindOf(u); err == nil && k.ClusterScoped {
		labels := u.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[crds.LabelOwner] = string(c.UID)
		u.SetLabels(labels)
		return u
	}
	if c.UID == "" {
		return u // proposed, and not there yet
	}
	u.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: crds.Group + "/" + crds.VersionV1Beta1, Kind: crds.Kind, Name: c.Name, UID: c.UID, Controller: new(true),
	}})
	return u
}

// belongsTo tells whether u is c's by what u itself says: that is the truth, not what the inventory says.
func belongsTo(c *crds.Collector, u *unstructured.Unstructured) bool {
	if k, err := kindOf(u); err == nil && k.ClusterScoped {
		return u.GetLabels()[crds.LabelOwner] == string(c.UID)
	}
	owner := controllerOf(u)
	return owner != nil && owner.UID == c.UID
}

// mayTake refuses objects that are somebody else's: of another controller, or made by hand under the name that we need.
func mayTake(c *crds.Collector, u *unstructured.Unstructured) *Problem {
	if belongsTo(c, u) {
		return nil
	}
	id := idOf(u)
	owner := metav1.GetControllerOfNoCopy(u)
	switch {
	case owner == nil && u.GetLabels()[crds.LabelManagedBy] == crds.ManagedBy &&
		u.GetLabels()[crds.LabelInstance] == crds.Instance(c.Namespace, c.Name) && u.GetLabels()[crds.LabelOwner] == "":
		return nil // what an orphaning delete of this collector has left
	case owner == nil:
		return &Problem{Reason: crds.ReasonOwnershipConflict, Message: fmt.Sprintf(
			"%s: exists and was not made for this collector; delete it, or give the collector another name", id)}
	case owner.Kind == crds.Kind && owner.Name == c.Name:
		return &Problem{Reason: crds.ReasonRetrying, Transient: true, Message: fmt.Sprintf(
			"%s: still there from a deleted collector of the same name", id)}
	default:
		return &Problem{Reason: crds.ReasonOwnershipConflict, Message: fmt.Sprintf(
			"%s: belongs to %s %s; give the collector another name", id, owner.Kind, owner.Name)}
	}
}
