package member

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/otelier/otelier/allocate"
)

// world is a namespace with one StatefulSet, and its past.
type world struct {
	t       testing.TB
	now     time.Time
	tracker Tracker
	hidden  bool // the StatefulSet can't be read
	ordered bool
	size    int32
	pods    map[string]Pod
}

func newWorld(t testing.TB, size int32) *world {
	w := &world{t: t, now: time.Unix(1_700_000_000, 0), size: size, pods: map[string]Pod{}}
	for i := range size {
		w.ready(i)
	}
	return w
}

func (w *world) name(i int32) string { return fmt.Sprintf("c-%d", i) }

func (w *world) ready(i int32) {
	w.put(i, Pod{Ready: true, Node: fmt.Sprintf("n%d", i)})
}

func (w *world) unready(i int32) { w.put(i, Pod{Node: fmt.Sprintf("n%d", i)}) }
func (w *world) pending(i int32) { w.put(i, Pod{}) }
func (w *world) remove(i int32)  { delete(w.pods, w.name(i)) }

func (w *world) terminate(i int32) {
	p := w.pods[w.name(i)]
	p.Deleted = w.now
	w.pods[w.name(i)] = p
}

func (w *world) put(i int32, p Pod) {
	p.Name, p.OwnerKind, p.OwnerName, p.Created, p.Since = w.name(i), KindStatefulSet, "c", w.now, w.now
	w.pods[p.Name] = p
}

func (w *world) view() View {
	v := View{Sets: map[string]Range{}}
	if !w.hidden {
		v.Sets["c"] = Range{Replicas: w.size, Ordered: w.ordered}
	}
	for _, p := range w.pods {
		v.Pods = append(v.Pods, p)
	}
	return v
}

func (w *world) update() string {
	members, _ := w.tracker.Update(w.view(), w.now)
	return names(members)
}

func (w *world) after(d time.Duration) { w.now = w.now.Add(d) }

func (w *world) expect(when, want string) {
	w.t.Helper()
	if got := w.update(); got != want {
		w.t.Fatalf("%s: members are %q, want %q", when, got, want)
	}
}

func names(members []allocate.Member) string {
	var out []string
	for _, m := range members {
		out = append(out, strings.TrimPrefix(m.Name, "c-"))
	}
	return strings.Join(out, " ")
}

func TestRollingRestartMovesNothing(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		w := newWorld(t, 10)
		w.hidden = hidden
		before, _ := w.tracker.Update(w.view(), w.now)
		same := func(step string) {
			t.Helper()
			w.after(15 * time.Second)
			if now, _ := w.tracker.Update(w.view(), w.now); !slices.Equal(now, before) {
				t.Fatalf("hidden %v: %s: members are %v, want %v", hidden, step, now, before)
			}
		}
		for i := int32(9); i >= 0; i-- {
			w.terminate(i)
			same("terminating")
			w.remove(i)
			same("gone")
			w.pending(i)
			same("pending")
			w.unready(i)
			same("not ready")
			w.ready(i)
			same("ready")
		}
	}
}

func TestScaling(t *testing.T) {
	w := newWorld(t, 3)
	w.expect("from the start", "0 1 2")
	w.size = 5
	w.expect("two more are wanted", "0 1 2")
	w.pending(3)
	w.unready(4)
	w.expect("they are not ready", "0 1 2")
	if got := w.tracker.Expected(); !slices.Equal(got, []string{"c-3", "c-4"}) {
		t.Fatalf("expected are %v", got)
	}
	w.ready(3)
	w.expect("the first is ready", "0 1 2 3")
	if w.tracker.Polled("c-9") || !w.tracker.Polled("c-4") {
		t.Fatal("the one that asks is not known")
	}
	w.expect("the second has asked", "0 1 2 3 4")
	w.size = 3
	w.expect("two less are wanted while their pods run", "0 1 2")
	if w.tracker.Polled("c-4") {
		t.Fatal("one that has left came back by asking")
	}
	w.expect("one that has left asks", "0 1 2")
	w.size = 5
	w.expect("they are wanted again while the old pods run", "0 1 2 3")
	w.ready(4)
	w.expect("and the other one is ready", "0 1 2 3 4")
	w.size = 0
	w.expect("none is wanted", "")
	w.pods = map[string]Pod{}
	w.size = 2
	w.expect("from nothing all are members at once", "0 1")
}

func TestHoldDown(t *testing.T) {
	w := newWorld(t, 3)
	w.expect("from the start", "0 1 2")
	w.unready(1)
	_, again := w.tracker.Update(w.view(), w.now)
	if want := w.now.Add(DefaultHoldDown); !again.Equal(want) {
		t.Fatalf("asks to be called at %v, want %v", again, want)
	}
	w.after(DefaultHoldDown - time.Second)
	w.expect("before the hold-down is over", "0 1 2")
	w.after(time.Second)
	w.expect("not ready for too long", "0 2")
	if w.tracker.Polled("c-1") {
		t.Fatal("one that is not ready came back by asking")
	}
	w.remove(1)
	w.expect("replaced", "0 2")
	w.pending(1)
	w.expect("a new pod, not ready", "0 2")
	w.ready(1)
	w.expect("ready again", "0 1 2")
	w.remove(1)
	w.expect("missing", "0 1 2")
	w.after(DefaultHoldDown)
	w.expect("missing for too long", "0 2")
	w.unready(0)
	w.unready(2)
	w.after(DefaultHoldDown)
	w.expect("nobody is left to take over", "0 1 2")
	w.ready(2)
	w.expect("one is", "2")
	w.tracker.HoldDown = -1
	w.ready(0)
	w.ready(1)
	w.expect("all well", "0 1 2")
	w.remove(1)
	w.after(time.Hour)
	w.expect("held for ever", "0 1 2")
}

func TestHoldDownOutlivesARestart(t *testing.T) {
	w := newWorld(t, 3)
	w.unready(1)
	w.after(DefaultHoldDown + time.Second)
	w.pending(2)
	w.expect("first seen", "0 2")
}

// restart has another tracker take over, which remembers nothing.
func (w *world) restart() { w.tracker = Tracker{HoldDown: w.tracker.HoldDown} }

func TestRestartGivesNothingToPodsThatAreAbsent(t *testing.T) {
	w := newWorld(t, 5)
	w.ordered = true
	w.expect("from the start", "0 1 2 3 4")
	w.remove(3)
	w.remove(4)
	w.unready(2)
	w.expect("three are lost", "0 1 2 3 4")
	w.after(time.Hour)
	w.expect("an ordered pool that is stuck", "0 1")
	w.restart()
	w.expect("the same to somebody who starts", "0 1")
	if got := w.tracker.Expected(); !slices.Equal(got, []string{"c-3", "c-4"}) {
		t.Fatalf("expected are %v", got)
	}
	w.unready(2)
	w.restart()
	w.expect("stuck for a moment only", "0 1 2")

	w.ordered = false
	w.ready(2)
	w.restart()
	w.expect("all at once, and none can tell for how long", "0 1 2 3 4")
	_, again := w.tracker.Update(w.view(), w.now)
	if want := w.now.Add(startPatience); !again.Equal(want) {
		t.Fatalf("asks to be called at %v, want %v", again, want)
	}
	w.after(startPatience)
	w.expect("but it was no moment", "0 1 2")
	w.tracker.HoldDown = -1
	w.restart()
	w.expect("held for ever", "0 1 2 3 4")
	w.after(time.Hour)
	w.expect("for ever is not over", "0 1 2 3 4")
}

func TestRestartDuringARollingRestartMovesNothing(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		w := newWorld(t, 4)
		w.ordered = ordered
		const all = "0 1 2 3"
		for i := int32(3); i >= 0; i-- {
			w.terminate(i)
			w.restart()
			w.expect("terminating", all)
			w.remove(i)
			w.restart()
			w.expect("gone", all)
			w.after(2 * time.Second)
			w.pending(i)
			w.expect("pending", all)
			w.after(15 * time.Second)
			w.expect("pending for longer than it may be missing", all)
			w.ready(i)
			w.expect("ready", all)
		}
	}
}

func TestRestartOfAPoolThatIsStarting(t *testing.T) {
	w := newWorld(t, 3)
	w.ordered, w.pods = true, map[string]Pod{}
	w.expect("nothing is there", "0 1 2")
	w.pending(0)
	w.restart()
	w.expect("the first is pending", "0 1 2")
}

func TestReplacedStatefulSet(t *testing.T) {
	w := newWorld(t, 3)
	w.expect("from the start", "0 1 2")
	w.hidden = true
	w.expect("deleted without its pods", "0 1 2")
	w.terminate(1)
	w.remove(2)
	w.expect("and some of them go", "0 1 2")
	w.hidden = false
	w.expect("made anew", "0 1 2")
}

func TestDeletedStatefulSet(t *testing.T) {
	w := newWorld(t, 2)
	w.expect("from the start", "0 1")
	w.hidden, w.pods = true, nil
	_, again := w.tracker.Update(w.view(), w.now)
	if want := w.now.Add(DefaultHoldDown); !again.Equal(want) {
		t.Fatalf("asks to be called at %v, want %v", again, want)
	}
	w.after(DefaultHoldDown)
	w.expect("all is gone", "")
	if _, again := w.tracker.Update(w.view(), w.now); !again.IsZero() {
		t.Fatalf("asks to be called at %v although there is nothing", again)
	}
}

func TestOrdinalsStart(t *testing.T) {
	var tracker Tracker
	members, _ := tracker.Update(View{Sets: map[string]Range{"c": {Start: 5, Replicas: 2}}}, time.Now())
	if got := names(members); got != "5 6" {
		t.Fatalf("members are %q", got)
	}
}

func TestDaemonSetIsNodes(t *testing.T) {
	var tracker Tracker
	now := time.Unix(1_700_000_000, 0)
	pod := func(name, node string, ready bool) Pod {
		return Pod{Name: name, Node: node, OwnerKind: KindDaemonSet, OwnerName: "c", Created: now, Since: now, Ready: ready}
	}
	update := func(pods ...Pod) []allocate.Member {
		out, _ := tracker.Update(View{Pods: pods, Zones: map[string]string{"n1": "z"}}, now)
		return out
	}
	expect := func(when string, got []allocate.Member, want ...allocate.Member) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Fatalf("%s: members are %v, want %v", when, got, want)
		}
	}
	a, b := allocate.Member{Name: "a", Seed: "n1", Node: "n1", Zone: "z"}, allocate.Member{Name: "b", Seed: "n2", Node: "n2"}
	expect("from the start", update(pod("a", "n1", true), pod("b", "n2", true)), a, b)
	gone := pod("a", "n1", true)
	gone.Deleted = now
	expect("one goes", update(gone, pod("b", "n2", true)), a, b)
	expect("it is gone", update(pod("b", "n2", true)), a, b)
	a.Name = "c"
	expect("another takes its place", update(pod("c", "n1", false), pod("b", "n2", true)), b, a)
	expect("with both there the living one counts", update(gone, pod("c", "n1", false), pod("b", "n2", true)), b, a)
	expect("a new node", update(pod("c", "n1", true), pod("b", "n2", true), pod("d", "n3", false), pod("e", "", false)), b, a)
	d := allocate.Member{Name: "d", Seed: "n3", Node: "n3"}
	expect("it is ready", update(pod("c", "n1", true), pod("b", "n2", true), pod("d", "n3", true)), b, a, d)
	expect("nodes are gone", update(pod("b", "n2", true)), b, a, d)
	now = now.Add(DefaultHoldDown)
	expect("for too long", update(pod("b", "n2", true)), b)
}

func TestOthersArePods(t *testing.T) {
	var tracker Tracker
	now := time.Unix(1_700_000_000, 0)
	pod := func(name string, ready bool) Pod {
		return Pod{Name: name, OwnerKind: "ReplicaSet", OwnerName: "c", Created: now, Since: now, Ready: ready}
	}
	update := func(pods ...Pod) string {
		out, _ := tracker.Update(View{Pods: pods}, now)
		return names(out)
	}
	for _, step := range []struct {
		pods []Pod
		want string
	}{
		{[]Pod{pod("a", true), pod("b", false)}, "a b"},
		{[]Pod{pod("a", true), pod("b", true), pod("d", false)}, "a b"},
		{[]Pod{pod("a", true), pod("d", true)}, "a d"},
		{nil, ""},
	} {
		if got := update(step.pods...); got != step.want {
			t.Fatalf("members are %q, want %q", got, step.want)
		}
	}
}

// Whatever happens in whatever order: once all is well, the members are those that the spec asks for, whoever has seen what; as
// long as there are places there are members, and nobody is one whom the spec does not ask for.
func TestEventOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rapid.Int32Range(0, 4).Draw(rt, "size"))
		w.hidden, w.ordered = rapid.Bool().Draw(rt, "hidden"), rapid.Bool().Draw(rt, "ordered")
		for range rapid.IntRange(0, 30).Draw(rt, "events") {
			i := rapid.Int32Range(0, 5).Draw(rt, "ordinal")
			switch rapid.IntRange(0, 8).Draw(rt, "event") {
			case 0:
				w.ready(i)
			case 1:
				w.unready(i)
			case 2:
				w.pending(i)
			case 3:
				w.remove(i)
			case 4:
				if _, ok := w.pods[w.name(i)]; ok {
					w.terminate(i)
				}
			case 5:
				w.size = i
			case 6:
				w.after(time.Duration(rapid.Int64Range(1, 90).Draw(rt, "seconds")) * time.Second)
			case 7:
				w.tracker.Polled(w.name(i))
			case 8:
				w.tracker = Tracker{} // a restart
			}
			members, again := w.tracker.Update(w.view(), w.now)
			if !again.IsZero() && !again.After(w.now) {
				rt.Fatalf("asks to be called at %v, which is not after %v", again, w.now)
			}
			if !w.hidden && len(members) == 0 != (w.size == 0) {
				rt.Fatalf("of %d places %d have a member", w.size, len(members))
			}
			for _, m := range members {
				if !w.hidden && !slices.Contains(allOf(w), m.Name) {
					rt.Fatalf("%s is a member, of %d", m.Name, w.size)
				}
			}
			other, _ := w.tracker.Update(w.view(), w.now)
			if !slices.Equal(members, other) {
				rt.Fatalf("asked twice: %v, then %v", members, other)
			}
		}
		w.hidden, w.pods = false, map[string]Pod{}
		for i := range w.size {
			w.ready(i)
		}
		var late Tracker
		fresh, _ := late.Update(w.view(), w.now)
		if members, _ := w.tracker.Update(w.view(), w.now); !slices.Equal(members, fresh) {
			rt.Fatalf("members are %v, to somebody who starts %v", members, fresh)
		}
		if len(fresh) != int(w.size) {
			rt.Fatalf("members are %v of %d", fresh, w.size)
		}
	})
}

func allOf(w *world) []string {
	var out []string
	for i := range w.size {
		out = append(out, w.name(i))
	}
	return out
}
