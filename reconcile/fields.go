package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// fields are the changes of a delta. What appears or goes as a whole is one change.
func (d *delta) fields(live *unstructured.Unstructured) []FieldChange {
	if d.empty() {
		return nil
	}
	out := changes(d.set, d.unset, live.Object, d.next.Object)
	values := d.set.Union(d.unset)
	for i := range out {
		for _, c := range d.conflicts {
			if within(spell(c.path), out[i].Path) && !slices.Contains(out[i].TakenFrom, c.from) {
				out[i].TakenFrom = append(out[i].TakenFrom, c.from)
			}
		}
		sortOwners(out[i].TakenFrom)
	}
	only := func(s *fieldpath.Set, op FieldOp) {
		s.Leaves().Difference(values).Iterate(func(p fieldpath.Path) {
			v, there := lookup(live.Object, p)
			if !there || covered(out, p) {
				return
			}
			c := FieldChange{Path: spell(p), Op: op, Old: v, New: v}
			if op == FieldRelease {
				c.TakenFrom = d.after.others(p)
			}
			out = append(out, c)
		})
	}
	only(d.owns, FieldOwn)
	only(d.disowns, FieldRelease)
	if d.reordered {
		out = append(out, reordered("", bare(live, d.next).Object, d.next.Object)...)
	}
	sortChanges(out)
	return out
}

func sortChanges(changes []FieldChange) {
	slices.SortFunc(changes, func(a, b FieldChange) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(string(a.Op), string(b.Op)))
	})
}

func covered(changes []FieldChange, p fieldpath.Path) bool {
	path := spell(p)
	return slices.ContainsFunc(changes, func(c FieldChange) bool { return c.Op != FieldOwn && c.Op != FieldRelease && within(path, c.Path) })
}

// within tells whether path is root or below it.
func within(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// changes turns sets of paths into changes between two trees, each at the highest path that only one of them has.
func changes(set, unset *fieldpath.Set, from, to map[string]any) []FieldChange {
	seen := map[string]FieldChange{}
	add := func(p fieldpath.Path) {
		p = p.Copy()
		n := highest(p, from, to)
		old, was := lookup(from, p[:n])
		now, is := lookup(to, p[:n])
		if was && is && (below(set, p) || below(unset, p)) {
			return // what changes is told by itself
		}
		if !was && !is {
			return
		}
		c := FieldChange{Path: spell(p[:n]), Op: FieldSet, Old: old, New: now}
		if !is {
			c.Op = FieldUnset
		}
		seen[c.Path] = c
	}
	set.Iterate(add)
	unset.Iterate(add)
	return slices.DeleteFunc(slices.Collect(maps.Values(seen)), func(c FieldChange) bool {
		for path := range seen {
			if path != c.Path && within(c.Path, path) {
				return true
			}
		}
		return false
	})
}

// highest is the length of the shortest prefix of p that is in one of the trees only; all of it when both have it.
func highest(p fieldpath.Path, from, to map[string]any) int {
	for n := 1; n < len(p); n++ {
		_, was := lookup(from, p[:n])
		_, is := lookup(to, p[:n])
		if was != is {
			return n
		}
	}
	return len(p)
}

// spell is a path as JSONPath and kubectl have it: names with dots or slashes, as those of labels, are in brackets.
func spell(p fieldpath.Path) string {
	var out strings.Builder
	for i, e := range p {
		if e.FieldName != nil && strings.ContainsAny(*e.FieldName, "./ ") {
			fmt.Fprintf(&out, "[%q]", *e.FieldName)
		} else {
			out.WriteString(p[i : i+1].String())
		}
	}
	return out.String()
}

// below tells whether a set has paths below p.
func below(set *fieldpath.Set, p fieldpath.Path) bool {
	for _, e := range p {
		set = set.WithPrefix(e)
	}
	return !set.Empty()
}

// lookup finds what a path leads to. Elements of associative lists are found by their keys; a key field that an element lacks has
// its default, and matches.
func lookup(root any, path fieldpath.Path) (any, bool) {
	at := root
	for _, e := range path {
		var ok bool
		if at, ok = step(at, e); !ok {
			return nil, false
		}
	}
	return at, true
}

func step(at any, e fieldpath.PathElement) (any, bool) {
	switch {
	case e.FieldName != nil:
		m, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		v, ok := m[*e.FieldName]
		return v, ok
	case e.Index != nil:
		list, ok := at.([]any)
		if !ok || *e.Index >= len(list) {
			return nil, false
		}
		return list[*e.Index], true
	}
	list, ok := at.([]any)
	if !ok {
		return nil, false
	}
	for _, item := range list {
		if e.Value != nil && value.Equals(*e.Value, value.NewValueInterface(item)) {
			return item, true
		}
		if e.Key != nil && hasKey(item, *e.Key) {
			return item, true
		}
	}
	return nil, false
}

func hasKey(item any, key value.FieldList) bool {
	m, ok := item.(map[string]any)
	if !ok {
		return false
	}
	for _, f := range key {
		if v, there := m[f.Name]; there && !value.Equals(f.Value, value.NewValueInterface(v)) {
			return false
		}
	}
	return true
}

// reordered are the lists that have the same elements in another order.
func reordered(path string, from, to any) []FieldChange {
	var out []FieldChange
	switch a := from.(type) {
	case map[string]any:
		b, _ := to.(map[string]any)
		for k, v := range a {
			out = append(out, reordered(path+"."+k, v, b[k])...)
		}
	case []any:
		if digest(from) != digest(to) {
			out = append(out, FieldChange{Path: path, Op: FieldReorder, Old: from, New: to})
		}
	}
	return out
}
