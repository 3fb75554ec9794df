package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/merge"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/otelier/otelier/crds"
)

// delta is what server-side apply of an intent over a live object would do, by the API server's own algorithm.
type delta struct {
	set, unset    *fieldpath.Set // values that appear or change; values that go
	owns, disowns *fieldpath.Set // what we come to own, and what we give up
	conflicts     []conflict     // what is taken from others
	reordered     bool           // only the order of elements changes
	next          *unstructured.Unstructured
	after         ownership // of next
}

type conflict struct {
	path fieldpath.Path
	from Owner
}

// empty tells that applying would change nothing, not even who owns what.
func (d *delta) empty() bool {
	return d.next == nil
}

// differ computes deltas. The schemas are those of the built-in kinds; an object of another kind is an error.
type differ struct {
	parser   *typed.Parser
	updater  *merge.Updater
	stripped *fieldpath.Set
}

func newDiffer() *differ {
	parser, err := typed.NewParser(typed.YAMLObject(schemaYAML))
	if err != nil {
		panic(fmt.Sprintf("schema.yaml: %v", err)) // it is part of the program, and tested
	}
	stripped := fieldpath.NewSet(fieldpath.MakePathOrDie("apiVersion"), fieldpath.MakePathOrDie("kind"), fieldpath.MakePathOrDie("metadata"))
	// What the API server leaves out of managedFields (k8s.io/apimachinery/pkg/util/managedfields/internal/stripmeta.go).
	for _, name := range []string{
		"name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields", "resourceVersion",
	} {
		stripped.Insert(fieldpath.MakePathOrDie("metadata", name))
	}
	return &differ{
		parser:   parser,
		updater:  (&merge.UpdaterBuilder{Converter: oneVersion{}}).BuildUpdater(),
		stripped: stripped,
	}
}

// oneVersion converts nothing: objects are read and applied at one version.
type oneVersion struct{}

func (oneVersion) Convert(v *typed.TypedValue, _ fieldpath.APIVersion) (*typed.TypedValue, error) {
	return v, nil
}
func (oneVersion) IsMissingVersionError(error) bool { return false }

// delta says what applying want over live would do. Admission and the defaults of fields that appear are not in it.
func (d *differ) delta(live, want *unstructured.Unstructured) (delta, error) {
	l, err := d.typed(bare(live, want), typed.AllowDuplicates)
	if err != nil {
		return delta{}, fmt.Errorf("%s: live: %w", idOf(live), err)
	}
	w, err := d.typed(want)
	if err != nil {
		return delta{}, fmt.Errorf("%s: %w", idOf(want), err)
	}
	owners, err := ownersOf(live)
	if err != nil {
		return delta{}, err
	}
	version := fieldpath.APIVersion(want.GetAPIVersion())
	if len(owners.sets) == 0 {
		if err := d.beforeFirstApply(live, l, version, &owners); err != nil {
			return delta{}, err
		}
	}
	if d.same(l, w, owners) {
		return delta{}, nil
	}
	return d.apply(l, w, version, owners)
}

// same is a cheaper exact test of whether nothing changes: it holds for all but the objects that were changed.
func (d *differ) same(l, w *typed.TypedValue, owners ownership) bool {
	wants, err := w.ToFieldSet()
	if err != nil || !owners.of(us()).Difference(d.stripped).Equals(wants.Difference(d.stripped)) {
		return false
	}
	merged, err := l.Merge(w)
	return err == nil && value.EqualsUsing(value.NewFreelistAllocator(), l.AsValue(), merged.AsValue())
}

func (d *differ) apply(l, w *typed.TypedValue, version fieldpath.APIVersion, owners ownership) (delta, error) {
	next, after, err := d.updater.Apply(l, w, version, owners.sets.Copy(), us().key(), false)
	var conflicts merge.Conflicts
	if errors.As(err, &conflicts) {
		next, after, err = d.updater.Apply(l, w, version, owners.sets.Copy(), us().key(), true)
	}
	if err != nil {
		return delta{}, err
	}
	unchanged := next == nil
	if unchanged {
		next = l
	}
	c, err := l.Compare(next)
	if err != nil {
		return delta{}, err
	}
	before, now := owners.of(us()).Difference(d.stripped), ownership{sets: after}.of(us()).Difference(d.stripped)
	out := delta{
		set: c.Modified.Union(c.Added), unset: c.Removed, owns: now.Difference(before), disowns: before.Difference(now),
		reordered: !unchanged && c.IsSame(),
	}
	if out.set.Empty() && out.unset.Empty() && out.owns.Empty() && out.disowns.Empty() && !out.reordered {
		return delta{}, nil
	}
	for _, c := range conflicts {
		out.conflicts = append(out.conflicts, conflict{c.Path, owners.who[c.Manager]})
	}
	u, err := untyped(next)
	if err != nil {
		return delta{}, fmt.Errorf("merged: %w", err)
	}
	out.next, out.after = u, ownership{after, owners.who}
	return out, nil
}

// beforeFirstApply is who the API server says owns an object whose managedFields were reset
// (k8s.io/apimachinery/pkg/util/managedfields/internal/skipnonapplied.go and fieldmanager.go).
func (d *differ) beforeFirstApply(live *unstructured.Unstructured, l *typed.TypedValue, version fieldpath.APIVersion, into *ownership) error {
	nothing, err := d.typed(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": live.GetAPIVersion(), "kind": live.GetKind(),
	}})
	if err != nil {
		return err
	}
	first := Owner{Manager: "before-first-apply", Operation: "Update", APIVersion: live.GetAPIVersion()}
	_, sets, err := d.updater.Update(nothing, l, version, into.sets, first.key())
	if err != nil {
		return err
	}
	if s, ok := sets[first.key()]; ok {
		sets[first.key()] = fieldpath.NewVersionedSet(s.Set().Difference(d.stripped), version, false)
	}
	into.sets, into.who = sets, map[string]Owner{first.key(): first}
	return nil
}

// bare is live without what is not compared. Of kinds that are cached without their content it is taken to be what is wanted: they
// are immutable, and named by it; what managedFields say of it still counts.
func bare(live, want *unstructured.Unstructured) *unstructured.Unstructured {
	out := make(map[string]any, len(live.Object))
	for k, v := range live.Object {
		if k != "status" {
			out[k] = v
		}
	}
	if k, err := kindOf(live); err == nil && k.MetadataOnly {
		for _, field := range []string{"data", "binaryData", "immutable"} {
			if v, ok := want.Object[field]; ok {
				out[field] = v
			} else {
				delete(out, field)
			}
		}
	}
	if m, ok := live.Object["metadata"].(map[string]any); ok {
		metadata := make(map[string]any, len(m))
		for k, v := range m {
			if k != "managedFields" {
				metadata[k] = v
			}
		}
		out["metadata"] = metadata
	}
	return &unstructured.Unstructured{Object: out}
}

func sortOwners(owners []Owner) {
	slices.SortFunc(owners, func(a, b Owner) int { return strings.Compare(a.key(), b.key()) })
}

// immutablePaths are the paths of a delta that can't be changed in place.
func (d *delta) immutablePaths(k crds.OwnedKind) []string {
	if d.empty() {
		return nil
	}
	var out []string
	add := func(p fieldpath.Path) {
		if root := immutableRoot(k, p); root != "" && !slices.Contains(out, root) {
			out = append(out, root)
		}
	}
	d.set.Iterate(add)
	d.unset.Iterate(add)
	slices.Sort(out)
	return out
}
