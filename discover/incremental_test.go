package discover

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"pgregory.net/rapid"

	"github.com/otelier/otelier/allocate"
)

const mergingJob = `
scrape_configs:
- job_name: j
  relabel_configs:
  - {source_labels: [drop], regex: "yes", action: drop}
  - {regex: "tmp.*", action: labeldrop}
`

// bench is a job's state over discoveries that run nowhere.
type workbench struct {
	state *state
	subs  []*provider
}

func newWorkbench(t testing.TB, job Job, sds int) *workbench {
	t.Helper()
	ps, err := NewProviders(ProvidersOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range sds {
		job.Config.ServiceDiscoveryConfigs = append(job.Config.ServiceDiscoveryConfigs, newFakeSD(fmt.Sprint(i)))
	}
	w := &workbench{state: newState(ps, &job, true, func(*state) {}, ps.opts.Clock.Now())}
	for _, s := range w.state.subs {
		w.subs = append(w.subs, s.provider)
	}
	return w
}

// served is everything that comes out, one line for each target.
func (w *workbench) served() []string {
	w.state.update()
	var out []string
	job := w.state.build()
	for _, b := range job.Blocks {
		for i, id := range b.IDs() {
			out = append(out, fmt.Sprintf("%016x %016x %d %v %s", id, b.Keys()[i], b.Class(i), b.Place(i), b.AppendJSON(nil, i)))
		}
	}
	slices.Sort(out)
	return out
}

func groups() *rapid.Generator[*targetgroup.Group] {
	// Few values, so that targets are the same as others often.
	label := rapid.SampledFrom([]string{"drop", "tmp1", "tmp2", "x", "__meta_x", "__meta_kubernetes_pod_node_name", weightLabel})
	value := rapid.SampledFrom([]string{"", "yes", "no", "7"})
	set := func(t *rapid.T, what string) model.LabelSet {
		ls := model.LabelSet{}
		for n, v := range rapid.MapOfN(label, value, 0, 2).Draw(t, what) {
			ls[model.LabelName(n)] = model.LabelValue(v)
		}
		return ls
	}
	return rapid.Custom(func(t *rapid.T) *targetgroup.Group {
		g := &targetgroup.Group{Source: fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "source")), Labels: set(t, "group")}
		for range rapid.IntRange(0, 5).Draw(t, "targets") {
			ls := set(t, "target")
			ls[model.AddressLabel] = model.LabelValue(rapid.SampledFrom([]string{"a:1", "a:2", "a:3", "a:4", "", "bad/path"}).Draw(t, "address"))
			g.Targets = append(g.Targets, ls)
		}
		return g
	})
}

// TestStepsComeToWhatOneStepWould: however groups have come, what is served is what the same groups give at once, in another order.
func TestStepsComeToWhatOneStepWould(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		const sds = 2
		w := newWorkbench(t, jobs(t, mergingJob, "")[0], sds)
		last := [sds]map[string]*targetgroup.Group{{}, {}}
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			for range rapid.IntRange(1, 3).Draw(rt, "groups") {
				sd := rapid.IntRange(0, sds-1).Draw(rt, "sd")
				g := groups().Draw(rt, "group")
				w.subs[sd].accept([]*targetgroup.Group{g}, true)
				last[sd][g.Source] = g
			}
			before := w.state.made
			got := w.served()
			fresh := newWorkbench(t, jobs(t, mergingJob, "")[0], sds)
			for sd := range last {
				for _, g := range last[sd] { // in any order
					fresh.subs[sd].accept([]*targetgroup.Group{g}, true)
				}
			}
			if want := fresh.served(); !slices.Equal(got, want) {
				rt.Fatalf("in steps:\n%s\nat once:\n%s", got, want)
			}
			if again := w.state.build(); again != w.state.made {
				rt.Fatal("nothing has changed, and the job is another one")
			}
			if before != nil && !before.Unknown && before != w.state.made && slices.Equal(before.Blocks, w.state.made.Blocks) {
				rt.Fatal("the blocks are the same, and the job is another one")
			}
		}
	})
}

// TestOneTargetChangesOneBlock: of a large job, the blocks that do not hold the target stay, while it grows and shrinks.
func TestOneTargetChangesOneBlock(t *testing.T) {
	t.Parallel()
	w := newWorkbench(t, jobs(t, mergingJob, "")[0], 1)
	many := func(n int) *targetgroup.Group {
		g := &targetgroup.Group{Source: "many"}
		for i := range n {
			g.Targets = append(g.Targets, model.LabelSet{model.AddressLabel: model.LabelValue(fmt.Sprintf("a%d:1", i))})
		}
		return g
	}
	step := func(g *targetgroup.Group) []*allocate.Block {
		w.subs[0].accept([]*targetgroup.Group{g}, true)
		w.state.update()
		return w.state.build().Blocks
	}
	before := step(many(10_000))
	if len(before) != 8 {
		t.Fatalf("%d blocks", len(before))
	}
	after := step(many(9_999))
	if n := different(before, after); n != 1 {
		t.Errorf("%d blocks are other ones", n)
	}
	// Around a limit nothing is cut anew.
	if got := step(many(16_400)); len(got) != 16 {
		t.Errorf("%d blocks of 16400", len(got))
	}
	if got := step(many(16_300)); len(got) != 16 {
		t.Errorf("%d blocks of 16300", len(got))
	}
	if got := step(many(5_000)); len(got) != 8 {
		t.Errorf("%d blocks of 5000", len(got))
	}
	if got := step(many(0)); len(got) != 0 {
		t.Errorf("%d blocks of nothing", len(got))
	}
}

func different(a, b []*allocate.Block) int {
	n := 0
	for _, x := range a {
		if !slices.Contains(b, x) {
			n++
		}
	}
	return n
}

func TestPlaceAndWeight(t *testing.T) {
	t.Parallel()
	const meta = "__meta_kubernetes_"
	for _, c := range []struct {
		name   string
		labels model.LabelSet
		place  allocate.Place
		weight uint32
		class  uint8
	}{
		{"nothing", model.LabelSet{"x": "y"}, allocate.Place{}, 0, 0},
		{"pod", model.LabelSet{meta + "pod_node_name": "n1", meta + "pod_label_topology_kubernetes_io_zone": "z"}, allocate.Place{Node: "n1", Zone: "z"}, 0, 0},
		{"node", model.LabelSet{meta + "node_name": "n2", meta + "node_label_topology_kubernetes_io_zone": "z"}, allocate.Place{Node: "n2", Zone: "z"}, 0, 0},
		{"endpoint", model.LabelSet{meta + "endpoint_node_name": "n3"}, allocate.Place{Node: "n3"}, 0, 0},
		{"slice", model.LabelSet{meta + "endpointslice_endpoint_node_name": "n4", meta + "endpointslice_endpoint_zone": "z"}, allocate.Place{Node: "n4", Zone: "z"}, 0, 0},
		{"slice of a node", model.LabelSet{nodeKind: "Node", nodeName: "n5"}, allocate.Place{Node: "n5"}, 0, 0},
		{"slice of a pod", model.LabelSet{nodeKind: "Pod", nodeName: "p"}, allocate.Place{}, 0, 0},
		{"weight", model.LabelSet{weightLabel: "100"}, allocate.Place{}, 100, 7},
		{"great weight", model.LabelSet{weightLabel: "100000"}, allocate.Place{}, 100000, 10},
		{"no weight", model.LabelSet{weightLabel: "heavy"}, allocate.Place{}, 0, 0},
	} {
		var own []pair
		for n, v := range c.labels {
			own = append(own, pair{string(n), string(v)})
		}
		place, weight := about(nil, own)
		if place != c.place || weight != c.weight || class(weight) != c.class {
			t.Errorf("%s: %+v %d class %d", c.name, place, weight, class(weight))
		}
	}
	for weight, want := range map[uint32]uint8{0: 0, 1: 0, 2: 1, 3: 2, 4: 2, 5: 3, 1024: 10, 1025: 10} {
		if got := class(weight); got != want {
			t.Errorf("weight %d is of class %d, want %d", weight, got, want)
		}
	}
}
