package discover

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"

	"github.com/otelier/otelier/allocate"
)

// target is what a job makes of one target of a group.
type target struct {
	// id and key are allocate.Entry's; sum is a hash of what is served.
	id, key, sum uint64
	// at is where its labels begin in the packed group.
	at uint32
}

// result is what a job makes of one version of a group.
type result struct {
	group   *packed
	targets []target
	// invalid is how many more there are that Prometheus would not accept.
	invalid int
}

// relabeler decides which targets of a group a job has. It is for one goroutine at a time.
type relabeler struct {
	job    *Job
	filter bool

	lb            *labels.Builder
	group, target model.LabelSet
	pairs         []pair
	params        []labels.Label
}

func newRelabeler(job *Job, filter bool) *relabeler {
	return &relabeler{
		job: job, filter: filter, lb: labels.NewBuilder(labels.EmptyLabels()),
		group: model.LabelSet{}, target: model.LabelSet{},
	}
}

// apply relabels every target of a group. failure is what is wrong with the last invalid one.
func (r *relabeler) apply(g *packed) (res result, failure error) {
	in := g.reader()
	in.text() // source
	fill(r.group, in.labels(r.pairs[:0]))
	// Mixed, because it matters whose a label is: a target's own wins.
	common := mix(labelSum(g.dict.seed, r.group))
	n := in.number()
	out := make([]target, 0, n)
	res.group = g
	for range n {
		at := in.at
		r.pairs = in.labels(r.pairs[:0])
		fill(r.target, r.pairs)
		id, key, keep, err := r.relabel()
		switch {
		case err != nil:
			res.invalid++
			failure = err
		case keep:
			out = append(out, target{id: id, key: key, sum: mix(common + labelSum(g.dict.seed, r.target)), at: uint32(at)})
		}
	}
	switch {
	case len(out) == 0:
	case len(out)*4 < cap(out)*3:
		res.targets = append(make([]target, 0, len(out)), out...)
	default:
		res.targets = out
	}
	return res, redact(failure)
}

func fill(set model.LabelSet, pairs []pair) {
	clear(set)
	for _, p := range pairs {
		set[model.LabelName(p.name)] = model.LabelValue(p.value)
	}
}

// droppedLabel is in the identity of targets that the collector will drop, and nowhere else.
const droppedLabel = "__otelier_dropped"

// relabel is Prometheus' own relabelling of the target at hand.
func (r *relabeler) relabel() (id, key uint64, keep bool, err error) {
	ls, err := scrape.PopulateLabels(r.lb, r.job.Config, r.target, r.group)
	if err != nil {
		return 0, 0, false, err
	}
	if ls.IsEmpty() {
		if r.filter {
			return 0, 0, false, nil
		}
		// The collector drops it; until then it is what it was, and never the same as one that is kept.
		scrape.PopulateDiscoveredLabels(r.lb, r.job.Config, r.target, r.group)
		ls = r.lb.Set(droppedLabel, "true").Labels()
	}
	name := r.job.Config.JobName
	r.params = r.params[:0]
	ls.Range(func(l labels.Label) {
		if p, ok := strings.CutPrefix(l.Name, model.ParamLabelPrefix); ok {
			r.params = append(r.params, labels.Label{Name: p, Value: l.Value})
		}
	})
	key = allocate.Key(name, ls.Get(model.SchemeLabel), ls.Get(model.AddressLabel), ls.Get(model.MetricsPathLabel), r.params)
	return allocate.Identity(name, ls), key, true, nil
}

// entry is the target as it is served.
func (r *relabeler) entry(g *packed, t target) allocate.Entry {
	in := g.reader()
	in.text() // source
	r.pairs = in.labels(r.pairs[:0])
	common := len(r.pairs)
	in.at = int(t.at)
	r.pairs = in.labels(r.pairs)

	place, weight := about(r.pairs[:common], r.pairs[common:])
	if weight == 0 {
		weight = r.job.Weight
	}
	return allocate.Entry{
		ID: t.id, Key: t.key, Place: place, Class: class(weight), Labels: merge(r.pairs[:common], r.pairs[common:]),
	}
}

// merge makes one set of labels of a group's and a target's, both sorted. A target's own label wins, even an empty one, which then is
// no label: so it is in Prometheus.
//
// What Prometheus adds on its own before relabelling (job, __scheme__, __metrics_path__, __scrape_interval__ and so on) is left to the
// collector's Prometheus, which adds the same from the configuration that it is served.
func merge(group, own []pair) labels.Labels {
	b := labels.NewScratchBuilder(len(group) + len(own) + 1)
	for len(group) > 0 || len(own) > 0 {
		var p pair
		switch {
		case len(own) == 0 || len(group) > 0 && group[0].name < own[0].name:
			p, group = group[0], group[1:]
		case len(group) > 0 && group[0].name == own[0].name:
			group = group[1:]
			fallthrough
		default:
			p, own = own[0], own[1:]
		}
		if p.value == "" {
			continue
		}
		b.Add(p.name, p.value)
		if p.name == metaURL {
			b.Add(urlLabel, p.value)
		}
	}
	b.Sort()
	return b.Labels()
}

// weightLabel is what the annotation otelier.io/target-weight of a pod becomes.
const weightLabel = "__meta_kubernetes_pod_annotation_otelier_io_target_weight"

const (
	nodeKind = "__meta_kubernetes_endpointslice_address_target_kind"
	nodeName = "__meta_kubernetes_endpointslice_address_target_name"
)

// about reads what placing needs from the labels of service discovery.
func about(group, own []pair) (allocate.Place, uint32) {
	var (
		node, zone [4]string
		kind, name string
		weight     uint32
	)
	for _, pairs := range [][]pair{group, own} {
		for _, p := range pairs {
			if !strings.HasPrefix(p.name, "__meta_kubernetes_") {
				continue
			}
			switch p.name[len("__meta_kubernetes_"):] {
			case "pod_node_name":
				node[0] = p.value
			case "node_name":
				node[1] = p.value
			case "endpoint_node_name":
				node[2] = p.value
			case "endpointslice_endpoint_node_name":
				node[3] = p.value
			case "endpointslice_endpoint_zone":
				zone[0] = p.value
			case "node_label_topology_kubernetes_io_zone":
				zone[1] = p.value
			case "pod_label_topology_kubernetes_io_zone":
				zone[2] = p.value
			case "endpointslice_endpoint_topology_topology_kubernetes_io_zone":
				zone[3] = p.value
			case nodeKind[len("__meta_kubernetes_"):]:
				kind = p.value
			case nodeName[len("__meta_kubernetes_"):]:
				name = p.value
			case weightLabel[len("__meta_kubernetes_"):]:
				if w, err := strconv.ParseUint(p.value, 10, 32); err == nil {
					weight = uint32(w)
				}
			}
		}
	}
	place := allocate.Place{Node: first(node[:]), Zone: first(zone[:])}
	if place.Node == "" && kind == "Node" {
		place.Node = name
	}
	return place, weight
}

func first(values []string) string {
	for _, v := range values {
		if v != "" {
			return strings.Clone(v)
		}
	}
	return ""
}

// class is the smallest power of two that is not below the weight, of 1 to 1024.
func class(weight uint32) uint8 {
	if weight <= 1 {
		return 0
	}
	return uint8(min(bits.Len32(weight-1), 10))
}
