package allocate

// Strategy is how targets are spread over members. The values are those of spec.targetAllocator.allocationStrategy.
type Strategy string

const (
	// LeastWeighted is home-first bounded rendezvous: no member has more than its share, and a change moves as little as a rule without
	// history can. It is the default.
	LeastWeighted Strategy = "least-weighted"
	// ConsistentHashing is plain rendezvous: only what must move moves, and the shares differ as chance wants.
	ConsistentHashing Strategy = "consistent-hashing"
	// PerNode gives a target to a member on its node. Targets without a node, and those of nodes without a member, fall back to
	// LeastWeighted.
	PerNode Strategy = "per-node"
)

// Rules are what an assignment depends on besides targets and members.
type Rules struct {
	// Strategy; LeastWeighted when empty.
	Strategy Strategy
	// Tolerance is by how much a member may exceed its fair share, as a fraction: 0.05 is five percent. Targets move less with more of it.
	Tolerance float64
	// MaxTargets is how many targets a member gets at most; 0 for no limit. What does not fit is on nobody.
	MaxTargets int
	// Zones makes a target prefer members in its own zone.
	Zones bool
}

// Member is a collector of a pool, by an identity that outlives its pod.
type Member struct {
	// Name is what the collector asks with as collector_id: the name of its pod.
	Name string
	// Seed is what places targets: the pod's name, or for a DaemonSet the name of the node, so that a new pod gets what the old one had.
	Seed string
	// Node and Zone where it runs; empty while unknown.
	Node, Zone string
	// Capacity relative to the other members; 0 stands for 1.
	Capacity uint32
}

// Place is where a target runs; fields are empty where that is not known.
type Place struct {
	Node, Zone string
}

// Nobody is the owner of a target that no member may have.
const Nobody = -1

// Job is a scrape job and its targets. It is immutable: a job whose content has changed is another Job, and one that has not is the
// same pointer, which is how everything downstream knows that there is nothing to do.
type Job struct {
	// Name is the job_name, unique in a pool.
	Name string
	// Config is the scrape configuration as the collector reads it: one JSON object.
	Config []byte
	// Blocks are the targets, cut into pieces by identity so that a change makes few of them anew. Every ID is in one block at most.
	Blocks []*Block
	// Source says where the job is from, for people: "serviceMonitor/NAMESPACE/NAME" or "receivers.prometheus".
	Source string
	// Unknown says that it is not known yet which targets the job has: there are no blocks, which does not mean that there are no targets.
	// Such a job is served as a scrape configuration, and its targets are refused, which has collectors keep those that they have.
	Unknown bool
}
