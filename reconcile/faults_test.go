package reconcile

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
)

// faultKinds are those that can happen at the i-th call. What reads, and dry runs, can fail at in several ways that are answered alike:
// of these each call gets one, in turn.
func faultKinds(i int, c call) []faultKind {
	failed := []faultKind{faultError, faultInternal, faultConflict, faultTimeout, faultThrottled}
	late, closed := []faultKind{faultStale, faultStaleOwn, faultStaleRest}, []faultKind{faultClosed, faultClosedOwn}
	if c.write {
		return slices.Concat(failed, late, closed, []faultKind{faultKill, faultKillAfter})
	}
	return []faultKind{failed[i%len(failed)], late[i%len(late)], closed[i%len(closed)], faultKill}
}

// TestFaults lets every fault happen at every call of every scenario. Whatever happens, what comes of it is what comes without, at the
// cost of no more than the requests that the fault hit.
func TestFaults(t *testing.T) {
	// With the heap as small as it is here, collecting garbage would take most of the time.
	percent := debug.SetGCPercent(800)
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	planner := NewPlanner(renderForTests)
	var points atomic.Int64
	t.Run("scenarios", func(t *testing.T) {
		for _, s := range scenarios() {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				points.Add(int64(faultsOf(t, s, planner)))
			})
		}
	})
	fmt.Printf("faults: %d points covered\n", points.Load())
	if points.Load() < 1000 {
		t.Errorf("%d points are covered, want more than 1000", points.Load())
	}
}

// faultsOf runs a scenario once without a fault, and then with each. It returns how many there were.
func faultsOf(t *testing.T, s scenario, planner *Planner) int {
	base, err := s.begin(planner)
	mustDo(t, err)
	plain, err := base.run(fault{})
	mustDo(t, err)
	calls := slices.Clone(plain.calls)
	for _, p := range plain.check() {
		t.Errorf("without a fault: %s", p)
	}
	if t.Failed() {
		t.Fatalf("calls: %s", strings.Join(plain.names(), ", "))
	}
	points := 0
	for i, c := range calls {
		for _, kind := range faultKinds(i, c) {
			points++
			f := fault{kind, c.name, c.n}
			got, err := base.run(f)
			if err != nil {
				t.Errorf("%s: %v", f, err)
				continue
			}
			for _, p := range append(got.check(), got.costs(plain)...) {
				t.Errorf("%s: %s\ncalls: %s", f, p, strings.Join(got.names(), ", "))
			}
		}
	}
	return points
}

// mostMore is how many more requests may change something than without the fault: the status tells what is wrong, and then that it is over;
// and a pass that was cut off may come to write a status of its own between those that it writes anyhow.
const mostMore = 3

// costs are complaints about requests that were not needed.
func (r *outcome) costs(plain *outcome) []string {
	var out []string
	if more := r.writes() - plain.writes(); more > mostMore {
		out = append(out, fmt.Sprintf("%d writes, %d without the fault", r.writes(), plain.writes()))
	}
	idle := 0
	for _, c := range r.calls {
		if c.write && !c.moved {
			idle++
		}
	}
	allowed := 0
	if r.fault.kind == faultTimeout {
		allowed = 1 // what has been done without our hearing of it is done again
	}
	if idle > allowed {
		out = append(out, fmt.Sprintf("%d writes changed nothing", idle))
	}
	if !r.hit {
		out = append(out, "the fault was never hit")
	}
	return out
}

// outcome is a trial that has come to rest.
type outcome struct {
	*trial
	base *started
}

// started is a scenario up to where it begins to count.
type started struct {
	scenario
	world   *world
	slims   *slimmed
	planner *Planner
	engine  *engine
	pods    map[string]string // UIDs by name
	final   *world            // at the end of a run that was found right
}

func (s scenario) begin(planner *Planner) (*started, error) {
	w, err := begin()
	if err != nil {
		return nil, err
	}
	if s.before != nil {
		if err := s.before(w); err != nil {
			return nil, err
		}
	}
	t, err := newTrial(w, newSlimmed(), planner, fault{})
	if err != nil {
		return nil, err
	}
	if err := t.settle(); err != nil {
		return nil, fmt.Errorf("before: %w", err)
	}
	return &started{scenario: s, world: w, slims: t.slims, planner: planner, engine: t.engine, pods: podsOf(w)}, nil
}

func podsOf(w *world) map[string]string {
	out := map[string]string{}
	for _, u := range w.of("Pod") {
		out[u.GetName()] = string(u.GetUID())
	}
	return out
}

func (b *started) run(f fault) (*outcome, error) {
	t, err := newTrial(b.world.clone(), b.slims.clone(), b.planner, f)
	if err != nil {
		return nil, err
	}
	warm(b.engine, t.engine)
	t.take() // it has been looked at
	for i, act := range b.acts {
		if err := act(t.world); err != nil {
			return nil, fmt.Errorf("step %d: %w", i+1, err)
		}
		if err := t.settle(); err != nil {
			return nil, fmt.Errorf("after step %d: %w", i+1, err)
		}
	}
	return &outcome{t, b}, nil
}

// check are complaints about what has become of the world.
func (r *outcome) check() []string {
	var out []string
	complain := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	u := r.world.get(collectorID())
	if r.base.deletes {
		if u != nil {
			complain("the collector is still there, with finalizers %v", u.GetFinalizers())
		}
		return append(out, r.leaks(nil, nil)...)
	}
	if u == nil {
		return []string{"the collector is gone"}
	}
	c, err := crds.Decode(u)
	if err != nil {
		return []string{err.Error()}
	}
	out = append(out, r.conditions(c)...)
	if !r.base.paused {
		out = append(out, r.converged(c)...)
	}
	if r.base.keepsPods && fmt.Sprint(podsOf(r.world)) != fmt.Sprint(r.base.pods) {
		complain("pods were %v, and are %v", r.base.pods, podsOf(r.world))
	}
	if r.base.check != nil {
		if err := r.base.check(r); err != nil {
			complain("%v", err)
		}
	}
	deletes := map[string]int{}
	for _, c := range r.calls {
		if c.moved && strings.HasPrefix(c.name, "delete ") {
			deletes[c.name]++
		}
	}
	for name, n := range deletes {
		if want := r.base.remade[strings.TrimPrefix(name, "delete ")]; want != 0 && n != want {
			complain("%s: %d times, want %d", name, n, want)
		}
		if strings.HasPrefix(name, "delete statefulset") && r.base.remade[strings.TrimPrefix(name, "delete ")] == 0 {
			complain("%s, which is not needed", name)
		}
	}
	return append(out, r.rests()...)
}

// conditions are complaints about the status.
func (r *outcome) conditions(c *crds.Collector) []string {
	var out []string
	want := r.base.says
	if want == nil {
		want = []string{"Ready=True Available"}
	}
	var got []string
	for _, c := range c.Status.Conditions {
		got = append(got, c.Type+"="+string(c.Status)+" "+c.Reason)
	}
	if !slices.Equal(got, want) {
		out = append(out, fmt.Sprintf("conditions are %v, want %v: %s", got, want, pretty(c.Status.Conditions)))
	}
	return out
}

// converged are complaints about objects that are not as rendered, that are there too much, and about the inventory.
func (r *outcome) converged(c *crds.Collector) []string {
	var out []string
	rendered, err := renderForTests(c)
	if err != nil {
		return nil // nothing is wanted
	}
	if r.base.verified(r.world, rendered.Objects) {
		return r.leaks(c, rendered.Objects)
	}
	fresh, err := newFeed(r.world, r.slims, func(types.NamespacedName) {})
	if err != nil {
		return []string{err.Error()}
	}
	in, err := gather(r.edge.ctx, fresh, quiet{r.edge}, c, rendered.Objects, true)
	if err != nil {
		return []string{err.Error()}
	}
	plan, err := r.planner.Build(in)
	if err != nil {
		return []string{err.Error()}
	}
	for _, change := range plan.Changes {
		if change.Action != ActionNone && !r.base.differs {
			out = append(out, "planned: "+change.summary())
		}
		if change.Action == ActionNone && change.Want != nil {
			if _, moved, err := r.world.apply(change.Want, crds.FieldManager, "", true); err != nil || moved {
				out = append(out, fmt.Sprintf("applying %s once more would change it: %v", change.ID, err))
			}
		}
	}
	if len(out) == 0 {
		r.base.final = r.world
	}
	return append(out, r.leaks(c, rendered.Objects)...)
}

// verified tells whether what is wanted is what it was at the end of another run, for which it was found right: up to what every run
// numbers and stamps anew.
func (b *started) verified(w *world, want []*unstructured.Unstructured) bool {
	if b.final == nil {
		return false
	}
	numbered := map[string]bool{"uid": true, "resourceVersion": true, "generation": true, "creationTimestamp": true, "observedGeneration": true}
	for _, u := range want {
		was, is := b.final.get(idOf(u)), w.get(idOf(u))
		if was == nil || is == nil || !equalTrees(was.Object, is.Object, numbered) {
			return false
		}
	}
	return true
}

// leaks are complaints about what is there and should not, and about what the inventory says of it.
func (r *outcome) leaks(c *crds.Collector, want []*unstructured.Unstructured) []string {
	var out []string
	wanted, history, owns := map[ID]bool{}, 0, inventory{}
	for _, u := range want {
		wanted[idOf(u)] = true
	}
	for _, u := range r.world.all() {
		id := idOf(u)
		if id.Kind != crds.Kind && len(u.GetFinalizers()) > 0 {
			out = append(out, fmt.Sprintf("%s has finalizers %v", id, u.GetFinalizers()))
		}
		if u.GetLabels()[crds.LabelManagedBy] == "" || id.Kind == "Pod" && c != nil || id.Kind == "PersistentVolumeClaim" {
			continue
		}
		switch {
		case wanted[id]:
			delete(wanted, id)
		case id.Kind == "ConfigMap" && c != nil:
			history++
		default:
			out = append(out, fmt.Sprintf("%s is left over", id))
		}
		if c != nil {
			owns[id] = owned(c, Objects{id: u})[id]
		}
	}
	for id := range wanted {
		if !r.base.differs {
			out = append(out, fmt.Sprintf("%s is missing", id))
		}
	}
	if c == nil {
		return out
	}
	if keep := configVersions(c); history > keep {
		out = append(out, fmt.Sprintf("%d old ConfigMaps, want at most %d", history, keep))
	}
	if digest(owns.entries()) != digest(c.Status.Inventory) && !r.base.differs {
		out = append(out, fmt.Sprintf("the inventory is %v, want %v", c.Status.Inventory, owns.entries()))
	}
	if slices.Contains(c.Finalizers, crds.Finalizer) != owns.clusterScoped() {
		out = append(out, fmt.Sprintf("finalizers are %v", c.Finalizers))
	}
	return out
}

// rests are complaints about one more pass: it writes nothing, and reads nothing but what is not watched.
func (r *outcome) rests() []string {
	before := len(r.calls)
	r.enqueue(r.key)
	if err := r.settle(); err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, c := range r.calls[before:] {
		if !strings.HasPrefix(c.name, "get clusterrole") && !strings.HasPrefix(c.name, "get storageclass") && (c.write || !r.base.differs) {
			out = append(out, "one more pass: "+c.name)
		}
	}
	return out
}

// quiet is a Cluster whose calls are not counted.
type quiet struct{ *edge }

func (q quiet) Get(_ context.Context, id ID) (*unstructured.Unstructured, error) {
	if u := q.world.get(id); u != nil {
		return u.DeepCopy(), nil
	}
	return nil, apierrors.NewNotFound(resourceOf(id), id.Name)
}
