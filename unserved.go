package main

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/render"
)

// unserved tells collectors that ask for allocation that nobody serves them: the operator was told not to, and not who does instead.
type unserved struct {
	rendering render.Options
	enqueue   func(types.NamespacedName)

	mu   sync.Mutex
	asks map[types.NamespacedName]bool // the collectors that were seen
}

func newUnserved(o render.Options) *unserved {
	return &unserved{rendering: o, asks: map[types.NamespacedName]bool{}}
}

// collectorChanged takes note of a collector as it is now, nil when it is gone. One that can't be read is as it was.
func (n *unserved) collectorChanged(key types.NamespacedName, u *unstructured.Unstructured) {
	asks := false
	if u != nil {
		collector, err := crds.Decode(u)
		if err != nil {
			return
		}
		want, err := collector.Allocation()
		if err != nil {
			return
		}
		if want != nil {
			pools, err := render.Pools(collector, n.rendering)
			if err != nil {
				return
			}
			asks = len(pools) > 0
		}
	}
	n.mu.Lock()
	before, known := n.asks[key]
	n.asks[key] = asks
	if u == nil {
		delete(n.asks, key)
	}
	n.mu.Unlock()
	if u != nil && (!known || before != asks) {
		n.enqueue(key)
	}
}

func (n *unserved) conditions(key types.NamespacedName) ([]metav1.Condition, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	asks, known := n.asks[key]
	if !asks {
		return nil, known
	}
	return conditionsOf([]problem{{
		crds.ConditionCollectorsNotPolling, crds.ReasonNotServed,
		"the operator serves no targets, as its --allocator-listen is empty: set that, or --allocator-url to where they are served",
	}}), true
}
