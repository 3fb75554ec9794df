package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

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

// digest is a hash of v's JSON, whose keys are sorted.
func digest(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
