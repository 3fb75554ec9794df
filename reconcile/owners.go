package reconcile

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/otelier/otelier/crds"
)

// key identifies an entry of managedFields as the API server does: those of appliers without their version
// (k8s.io/apimachinery/pkg/util/managedfields/internal/managedfields.go, BuildManagerIdentifier).
func (o Owner) key() string {
	version := o.APIVersion
	if o.Operation == "Apply" {
		version = ""
	}
	return strings.Join([]string{o.Manager, o.Operation, o.Subresource, version}, "\x00")
}

// String is such as "kubectl (scale)".
func (o Owner) String() string {
	if o.Subresource != "" {
		return fmt.Sprintf("%s (%s)", o.Manager, o.Subresource)
	}
	return o.Manager
}

// us is the owner of what we apply.
func us() Owner {
	return Owner{Manager: crds.FieldManager, Operation: "Apply"}
}

// ownership is who owns what in an object.
type ownership struct {
	sets fieldpath.ManagedFields
	who  map[string]Owner // by the keys of sets
}

// ownersOf reads all of an object's managedFields, also those of its subresources: the API server does so too.
func ownersOf(u *unstructured.Unstructured) (ownership, error) {
	out := ownership{fieldpath.ManagedFields{}, map[string]Owner{}}
	metadata, _ := u.Object["metadata"].(map[string]any)
	entries, _ := metadata["managedFields"].([]any)
	for _, e := range entries {
		m, ok := e.(map[string]any)
		if !ok {
			continue
		}
		o := Owner{Manager: text(m, "manager"), Operation: text(m, "operation"), Subresource: text(m, "subresource"), APIVersion: text(m, "apiVersion")}
		if t, err := time.Parse(time.RFC3339, text(m, "time")); err == nil {
			o.Time = t
		}
		set, err := decodeFields(m["fieldsV1"])
		if err != nil {
			return out, fmt.Errorf("%s: managedFields of %s: %w", idOf(u), o.Manager, err)
		}
		out.sets[o.key()] = fieldpath.NewVersionedSet(set, fieldpath.APIVersion(o.APIVersion), o.Operation == "Apply")
		out.who[o.key()] = o
	}
	return out, nil
}

func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// decodeFields reads fieldsV1 as the API server sends it, or as slim has packed it.
func decodeFields(v any) (*fieldpath.Set, error) {
	packed, ok := v.(string)
	if !ok {
		data, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		packed = string(data)
	}
	set := &fieldpath.Set{}
	if packed == "" || packed == "null" {
		return set, nil
	}
	return set, set.FromJSON(strings.NewReader(packed))
}

// packFields turns each fieldsV1 of u into a string. As a tree of maps they would nearly double the memory that an object takes.
func packFields(u *unstructured.Unstructured) {
	metadata, _ := u.Object["metadata"].(map[string]any)
	entries, _ := metadata["managedFields"].([]any)
	for _, e := range entries {
		m, ok := e.(map[string]any)
		if !ok {
			continue
		}
		if _, packed := m["fieldsV1"].(string); packed {
			continue
		}
		if data, err := json.Marshal(m["fieldsV1"]); err == nil {
			m["fieldsV1"] = string(data)
		}
	}
}

// of is what o owns.
func (w ownership) of(o Owner) *fieldpath.Set {
	if s, ok := w.sets[o.key()]; ok {
		return s.Set()
	}
	return fieldpath.NewSet()
}

// others are the owners of path but us, in the order of their keys.
func (w ownership) others(path fieldpath.Path) []Owner {
	var out []Owner
	for key, set := range w.sets {
		if key != us().key() && set.Set().Has(path) {
			out = append(out, w.who[key])
		}
	}
	sortOwners(out)
	return out
}
