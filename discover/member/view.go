package member

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Kinds of what owns the pods of collectors. Any other owner, or none, makes each pod a member by its own name.
const (
	KindStatefulSet = "StatefulSet"
	KindDaemonSet   = "DaemonSet"
)

// View is what is known of a pool's workloads and pods at a time.
type View struct {
	// Sets are the StatefulSets whose spec is known, by name. The pods of another one speak for themselves.
	Sets map[string]Range
	// Pods in any order.
	Pods []Pod
	// Zones of nodes, by the node's name. It may be nil.
	Zones map[string]string
}

// Range is the ordinals of a StatefulSet: spec.ordinals.start and spec.replicas.
type Range struct {
	Start, Replicas int32
	// Ordered is that spec.podManagementPolicy is OrderedReady: a pod is made when all before it are ready.
	Ordered bool
}

// Pod is as much of a pod as membership depends on.
type Pod struct {
	Name string
	// Node that it is scheduled to; empty while it is not.
	Node string
	// OwnerKind and OwnerName are of its controller, such as "StatefulSet".
	OwnerKind, OwnerName string
	Created              time.Time
	// Ready is the status of its condition Ready, and Since when it became that: its creation when there is no such condition yet.
	Ready bool
	Since time.Time
	// Deleted is when its deletion was asked for; zero when it was not.
	Deleted time.Time
}

// up tells whether the pod serves, and if not since when.
func (p *Pod) up() (bool, time.Time) {
	switch {
	case p.Ready && p.Deleted.IsZero():
		return true, time.Time{}
	case p.Ready:
		return false, p.Deleted
	default:
		return false, p.Since
	}
}

// rivals orders pods of one identity: the one that stands for it comes first.
func rivals(a, b *Pod) int {
	return cmp.Or(
		after(!a.Deleted.IsZero(), !b.Deleted.IsZero()),
		after(!a.Ready, !b.Ready),
		b.Created.Compare(a.Created),
		cmp.Compare(a.Name, b.Name),
	)
}

// after puts what is true behind what is not.
func after(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

// identity of what a pod is one embodiment of, or a place that a StatefulSet has for one.
type identity struct {
	set  string // the StatefulSet whose place it is
	node string // the node, of a DaemonSet's
	pod  string // the name of its pod, where that does not change
}

func identityOf(p *Pod) (identity, bool) {
	switch p.OwnerKind {
	case KindStatefulSet:
		return identity{set: p.OwnerName, pod: p.Name}, true
	case KindDaemonSet:
		return identity{node: p.Node}, p.Node != ""
	default:
		return identity{pod: p.Name}, true
	}
}

// lasting tells whether another pod can take the place.
func (i identity) lasting() bool { return i.set != "" || i.node != "" }

// ordinals are the identities of a StatefulSet.
func ordinals(set string, r Range) []identity {
	out := make([]identity, 0, max(0, r.Replicas))
	for n := range max(0, r.Replicas) {
		out = append(out, identity{set: set, pod: fmt.Sprintf("%s-%d", set, r.Start+n)})
	}
	return out
}

// embodiments are the pods of each identity, the one that stands for it first.
func embodiments(pods []Pod) map[identity][]*Pod {
	out := map[identity][]*Pod{}
	for i := range pods {
		if id, ok := identityOf(&pods[i]); ok {
			out[id] = append(out[id], &pods[i])
		}
	}
	for _, list := range out {
		slices.SortFunc(list, rivals)
	}
	return out
}
