package reconcile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// carried is what others have set in an object that is made anew. It is put back in the very request that makes the new one: an
// annotation that `kubectl rollout restart` has left in the template must not come later, or all pods would be replaced for its lack.
type carried struct {
	fields *unstructured.Unstructured // the fields of others, and nothing else
	owners map[string]*fieldpath.Set  // by the keys of who
	who    map[string]Owner
}

// carry is what others own in the object of a delta, nil when that is nothing.
func (d *differ) carry(c *delta) (*carried, error) {
	out := &carried{owners: map[string]*fieldpath.Set{}, who: map[string]Owner{}}
	all := fieldpath.NewSet()
	for key, set := range c.after.sets {
		o := c.after.who[key]
		if key == us().key() || o.Subresource == "status" {
			continue
		}
		rest := set.Set().Difference(d.stripped)
		if rest.Empty() {
			continue
		}
		out.owners[key], out.who[key] = rest, o
		all = all.Union(rest)
	}
	if all.Empty() {
		return nil, nil //nolint:nilnil // nothing to carry is no error
	}
	next, err := d.typed(c.next, typed.AllowDuplicates)
	if err != nil {
		return nil, err
	}
	if out.fields, err = untyped(next.ExtractItems(all.Leaves(), typed.WithAppendKeyFields())); err != nil {
		return nil, fmt.Errorf("%s: fields of others: %w", idOf(c.next), err)
	}
	out.fields.SetGroupVersionKind(c.next.GroupVersionKind())
	return out, nil
}

// ownersOf are those of a path; of nothing carried there are none.
func (c *carried) ownersOf(path fieldpath.Path) []Owner {
	if c == nil {
		return nil
	}
	var out []Owner
	for key, set := range c.owners {
		if set.Has(path) {
			out = append(out, c.who[key])
		}
	}
	sortOwners(out)
	return out
}

// with is want with the fields of others. Where both say something, want counts.
func (d *differ) with(want *unstructured.Unstructured, c *carried) (*unstructured.Unstructured, error) {
	theirs, err := d.typed(c.fields, typed.AllowDuplicates)
	if err != nil {
		return nil, err
	}
	ours, err := d.typed(want)
	if err != nil {
		return nil, err
	}
	merged, err := theirs.Merge(ours)
	if err != nil {
		return nil, err
	}
	u, err := untyped(merged)
	if err != nil {
		return nil, err
	}
	return u.DeepCopy(), nil
}

// ownersWith are the managedFields of an object that was made of want and of what was carried: everybody owns what they owned.
func (d *differ) ownersWith(want *unstructured.Unstructured, c *carried, now time.Time) ([]metav1.ManagedFieldsEntry, error) {
	w, err := d.typed(want)
	if err != nil {
		return nil, err
	}
	ours, err := w.ToFieldSet()
	if err != nil {
		return nil, err
	}
	ours = ours.Difference(d.stripped)
	me := us()
	me.APIVersion, me.Time = want.GetAPIVersion(), now
	first, err := entryOf(me, ours)
	if err != nil {
		return nil, err
	}
	out := []metav1.ManagedFieldsEntry{first}
	for _, key := range slices.Sorted(maps.Keys(c.owners)) {
		e, err := entryOf(c.who[key], c.owners[key])
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func entryOf(o Owner, set *fieldpath.Set) (metav1.ManagedFieldsEntry, error) {
	data, err := set.ToJSON()
	if err != nil {
		return metav1.ManagedFieldsEntry{}, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, data); err != nil {
		return metav1.ManagedFieldsEntry{}, err
	}
	e := metav1.ManagedFieldsEntry{
		Manager: o.Manager, Operation: metav1.ManagedFieldsOperationType(o.Operation), APIVersion: o.APIVersion, Subresource: o.Subresource,
		FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(compact.String()),
	}
	if !o.Time.IsZero() {
		e.Time = &metav1.Time{Time: o.Time}
	}
	return e, nil
}
