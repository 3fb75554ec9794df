package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// ID names an object of one of crds.OwnedKinds. It is comparable.
type ID struct {
	Group, Kind, Namespace, Name string
}

// String is such as "statefulset/gateway-collector": the namespace is always the collector's.
func (id ID) String() string { return strings.ToLower(id.Kind) + "/" + id.Name }

func idOf(u *unstructured.Unstructured) ID {
	gvk := u.GroupVersionKind()
	return ID{gvk.Group, gvk.Kind, u.GetNamespace(), u.GetName()}
}

func kindOf(u *unstructured.Unstructured) (crds.OwnedKind, error) {
	gk := u.GroupVersionKind().GroupKind()
	k, ok := crds.KindOf(gk)
	if !ok {
		return k, fmt.Errorf("%s: not a kind that collectors own", gk)
	}
	return k, nil
}

// ownedBy returns u with c as its controller. blockOwnerDeletion stays unset: it would need rights on the finalizers of
// collectors, and nobody waits for our objects to go first.
func ownedBy(c *crds.Collector, u *unstructured.Unstructured) *unstructured.Unstructured {
	u.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: crds.Group + "/" + crds.VersionV1Beta1, Kind: crds.Kind, Name: c.Name, UID: c.UID, Controller: new(true),
	}})
	return u
}

// ownFields digests what the API server has recorded as ours in u: the paths that we applied and nobody has since changed.
func ownFields(u *unstructured.Unstructured) string {
	entries, _, _ := unstructured.NestedSlice(u.Object, "metadata", "managedFields")
	for _, e := range entries {
		if m, ok := e.(map[string]any); ok && isOurs(m) {
			return digest(m["fieldsV1"])
		}
	}
	return ""
}

// isOurs tells our own entry in managedFields from those of others and from the one of our status.
func isOurs(entry map[string]any) bool {
	sub, _ := entry["subresource"].(string)
	return entry["manager"] == crds.FieldManager && entry["operation"] == string(metav1.ManagedFieldsOperationApply) && sub == ""
}

// digest is a hash of v's JSON, whose keys are sorted.
func digest(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
