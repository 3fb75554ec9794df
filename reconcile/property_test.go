package reconcile

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/otelier/otelier/crds"
)

// TestProperties checks what holds whatever is wanted and whatever others have done.
func TestProperties(t *testing.T) {
	f := &fixture{NewPlanner(renderForTests), newFieldManagers()}
	for name, property := range map[string]func(*rapid.T, *fixture){
		"delta is what apply does":              deltaIsWhatApplyDoes,
		"fields are what changes":               fieldsAreWhatChanges,
		"packed fields give the same delta":     packedFieldsGiveTheSameDelta,
		"plans depend on nothing but the input": plansDependOnInputAlone,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) { property(t, f) })
		})
	}
}

// deltaIsWhatApplyDoes compares the delta with the API server's answer to the very apply: what changes, who owns what
// then, and what was taken from whom. It also holds that nothing is left to do afterwards, and that what others own stays.
func deltaIsWhatApplyDoes(t *rapid.T, f *fixture) {
	h := f.drawHistory(t)
	want := drawKind(t, h.id.Kind)
	live := h.live().DeepCopy()
	d, err := f.planner.delta(live, want)
	if err != nil {
		t.Fatalf("delta: %v", err)
	}
	got, moved, err := h.world.apply(want, crds.FieldManager, "", false)
	h.refused(t, err)
	if moved == d.empty() {
		t.Fatalf("delta is empty: %v, and the API server changed the object: %v\nlive %s\nwant %s\ngot %s", d.empty(), moved, pretty(live), pretty(want), pretty(got))
	}
	if !d.empty() {
		h.compare(t, d, live, got)
	}
	again, err := f.planner.delta(got, want)
	if err != nil || !again.empty() {
		t.Fatalf("applied, and still differs (%v): %v\nwant %s\ngot %s", err, again.fields(got), pretty(want), pretty(got))
	}
}

// compare tells where a delta is not what has happened.
func (h *history) compare(t *rapid.T, d delta, live, got *unstructured.Unstructured) {
	before, after := h.typed(t, live), h.typed(t, got)
	c, err := before.Compare(after)
	if err != nil {
		t.Fatal(err)
	}
	defaulted := h.defaulted(t, d.next, got)
	if set := c.Modified.Union(c.Added); !set.Difference(defaulted).Equals(d.set.Difference(defaulted)) {
		t.Fatalf("set: predicted %s, was %s, but for defaults %s", d.set, set, defaulted)
	}
	if !c.Removed.Difference(defaulted).Equals(d.unset.Difference(defaulted)) {
		t.Fatalf("unset: predicted %s, was %s", d.unset, c.Removed)
	}
	was, is := h.owned(t, live), h.owned(t, got)
	if len(live.GetManagedFields()) == 0 {
		was = fieldpath.NewSet()
	}
	if owns := is.Difference(was); !owns.Equals(d.owns) {
		t.Fatalf("owns: predicted %s, was %s", d.owns, owns)
	}
	if disowns := was.Difference(is); !disowns.Equals(d.disowns) {
		t.Fatalf("disowns: predicted %s, was %s", d.disowns, disowns)
	}
	h.compareOwners(t, d, live, got)
}

// compareOwners checks that what is said to be taken from others is what they have lost, and that nothing else is.
func (h *history) compareOwners(t *rapid.T, d delta, live, got *unstructured.Unstructured) {
	was, err := ownersOf(live)
	if err != nil {
		t.Fatal(err)
	}
	is, err := ownersOf(got)
	if err != nil {
		t.Fatal(err)
	}
	taken := map[string]*fieldpath.Set{}
	for _, c := range d.conflicts {
		key := c.from.key()
		if taken[key] == nil {
			taken[key] = fieldpath.NewSet()
		}
		taken[key].Insert(c.path)
	}
	for key, set := range was.sets {
		if key == us().key() {
			continue
		}
		now := fieldpath.NewSet()
		if s, ok := is.sets[key]; ok {
			now = s.Set()
		}
		lost := set.Set().Difference(now)
		said := taken[key]
		if said == nil {
			said = fieldpath.NewSet()
		}
		if missing := said.Difference(lost); !missing.Empty() {
			t.Fatalf("%q is said to lose %s, and does not", key, missing)
		}
		if unsaid := lost.Leaves().Difference(said).Difference(d.unset); !unsaid.Empty() {
			t.Fatalf("%q loses %s, which nobody says", key, unsaid)
		}
		set.Set().Difference(said).Difference(d.unset).Leaves().Iterate(func(p fieldpath.Path) {
			old, there := lookup(live.Object, p)
			if there && scalar(old) && !d.set.Has(p) {
				if now, _ := lookup(got.Object, p); now != old {
					t.Fatalf("%q owned %s, which was %v, and is %v", key, p, old, now)
				}
			}
		})
	}
}

func scalar(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

func (h *history) typed(t *rapid.T, u *unstructured.Unstructured) *typed.TypedValue {
	v, err := h.managers.types.ObjectToTyped(stored(u, u), typed.AllowDuplicates)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (h *history) owned(t *rapid.T, u *unstructured.Unstructured) *fieldpath.Set {
	owners, err := ownersOf(u)
	if err != nil {
		t.Fatal(err)
	}
	return owners.of(us()).Difference(h.planner.stripped)
}

// defaulted is what the API server has set by itself: a delta can't know of that.
func (h *history) defaulted(t *rapid.T, next, got *unstructured.Unstructured) *fieldpath.Set {
	c, err := h.typed(t, next).Compare(h.typed(t, got))
	if err != nil {
		t.Fatal(err)
	}
	return c.Added.Union(c.Modified).Union(c.Removed)
}

// fieldsAreWhatChanges holds that the changes that are shown, and nothing else, make of what is live what comes of it.
func fieldsAreWhatChanges(t *rapid.T, f *fixture) {
	h := f.drawHistory(t)
	want := drawKind(t, h.id.Kind)
	live := h.live().DeepCopy()
	c := Change{ID: h.id, Action: ActionUpdate, Live: live, Want: want}
	var err error
	if c.delta, err = f.planner.delta(live, want); err != nil {
		t.Fatal(err)
	}
	c.Fields = c.delta.fields(live)
	if (len(c.Fields) == 0) != c.delta.empty() {
		t.Fatalf("the delta is empty: %v, and says %v", c.delta.empty(), c.Fields)
	}
	if c.delta.empty() {
		return
	}
	h.shown(t, live, c.delta.next, c.Fields)
	got, _, err := h.world.apply(want, crds.FieldManager, "", true)
	h.refused(t, err)
	shown, err := f.planner.differences(&c, got)
	if err != nil {
		t.Fatal(err)
	}
	h.shown(t, live, got, shown)
}

// shown checks changes against two objects: each is at a path whose value differs, or goes as a whole, and there is no other difference.
func (h *history) shown(t *rapid.T, from, to *unstructured.Unstructured, changes []FieldChange) {
	c, err := h.typed(t, from).Compare(h.typed(t, to))
	if err != nil {
		t.Fatal(err)
	}
	differs := c.Modified.Union(c.Added).Union(c.Removed)
	differs.Leaves().Iterate(func(p fieldpath.Path) {
		if !slices.ContainsFunc(changes, func(f FieldChange) bool {
			return (f.Op == FieldSet || f.Op == FieldUnset) && within(p.String(), f.Path)
		}) {
			t.Fatalf("%s differs, and is not among %v", p, changes)
		}
	})
	for i, f := range changes {
		if f.Op != FieldSet && f.Op != FieldUnset {
			continue
		}
		if digest(f.Old) == digest(f.New) {
			t.Fatalf("%s is said to change from %v to the same", f.Path, f.Old)
		}
		below := false
		differs.Iterate(func(p fieldpath.Path) { below = below || within(p.String(), f.Path) })
		if !below {
			t.Fatalf("%s is said to change, and does not", f.Path)
		}
		for j, g := range changes {
			if i != j && (g.Op == FieldSet || g.Op == FieldUnset) && within(g.Path, f.Path) {
				t.Fatalf("%s and %s are both said to change", f.Path, g.Path)
			}
		}
	}
}

// packedFieldsGiveTheSameDelta holds for what the cache makes of managedFields.
func packedFieldsGiveTheSameDelta(t *rapid.T, f *fixture) {
	h := f.drawHistory(t)
	want, packed := drawKind(t, h.id.Kind), h.live().DeepCopy()
	packFields(packed)
	a, err := f.planner.delta(h.live().DeepCopy(), want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.planner.delta(packed, want)
	if err != nil {
		t.Fatal(err)
	}
	if digest(a.fields(h.live())) != digest(b.fields(packed)) || a.empty() != b.empty() {
		t.Fatalf("%v, packed %v", a.fields(h.live()), b.fields(packed))
	}
}

// plansDependOnInputAlone holds that the order of what is wanted does not matter to what is done, and that making a plan changes
// nothing.
func plansDependOnInputAlone(t *rapid.T, f *fixture) {
	var want []*unstructured.Unstructured
	in := Input{Live: Objects{}}
	c, err := crds.Decode(f.world().get(collectorID()))
	if err != nil {
		t.Fatal(err)
	}
	in.Collector = c
	for i, kind := range []string{"Service", "ConfigMap", "Deployment", "ServiceAccount"} {
		h := &history{f, f.world(), ID{}}
		u := drawKind(t, kind)
		u.SetName("x" + string(rune('0'+i)))
		h.id = idOf(u)
		_, _, err := h.world.apply(ownedBy(c, u.DeepCopy()), crds.FieldManager, "", false)
		h.refused(t, err)
		if chance(t, "live") {
			in.Live[h.id] = h.live().DeepCopy()
		}
		if next := drawKind(t, kind); chance(t, "wanted") {
			next.SetName(u.GetName())
			want = append(want, next)
		}
	}
	in.Want = want
	before := digest(inputTrees(in))
	first, err := f.planner.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	in.Want = rapid.Permutation(want).Draw(t, "order")
	second, err := f.planner.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	in.Want = want
	if digest(inputTrees(in)) != before {
		t.Fatal("making a plan has changed what it was made of")
	}
	if a, b := told(first), told(second); !slices.Equal(a, b) {
		t.Fatalf("%v, in another order %v", a, b)
	}
}

func inputTrees(in Input) any {
	var out []any
	for _, u := range in.Want {
		out = append(out, u.Object)
	}
	for _, id := range slices.SortedFunc(maps.Keys(in.Live), func(a, b ID) int { return strings.Compare(a.String(), b.String()) }) {
		out = append(out, in.Live[id].Object)
	}
	return out
}

func told(p *Plan) []string {
	var out []string
	for i := range p.Changes {
		out = append(out, p.Changes[i].summary()+digest(p.Changes[i].Fields))
	}
	return out
}
