package reconcile

import (
	"maps"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/otelier/otelier/crds"
)

// staleLimit is how long a pass waits for the cache to show what we have written. It is only ever reached when resourceVersions go
// back, because etcd was restored from a backup.
const staleLimit = 15 * time.Second

// memory is what is remembered of one collector between passes.
type memory struct {
	uid      types.UID                              // of the collector
	written  map[schema.GroupVersionResource]string // newest resourceVersion that we made
	since    time.Time                              // since when the cache has not shown it; zero when it has
	settled  map[ID]settled
	attempts map[ID]attempts
	held     map[ID]string    // what was said of changes that are not made
	gone     map[ID]types.UID // deleted, and perhaps still in the cache
	replaced map[ID]int64     // generation of the collector for which it was last made anew
	carried  map[ID]*carried
	claims   map[ID]claimRefusal
	refused  *refusal
	status   time.Time // when the status was last written
	// progressWrites are how many times in a row that was for progress only.
	progressWrites int
	progress       *progress // nil before the first pass
	plan           string    // digest of the plan that was last told, when only observing
	planned        map[Action]int
}

// remember gives access to the memory of a collector.
func (e *engine) remember(key types.NamespacedName, use func(*memory)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.memory[key]
	if m == nil {
		m = &memory{
			written: map[schema.GroupVersionResource]string{}, settled: map[ID]settled{}, attempts: map[ID]attempts{}, held: map[ID]string{},
			gone: map[ID]types.UID{}, replaced: map[ID]int64{}, carried: map[ID]*carried{}, claims: map[ID]claimRefusal{},
		}
		e.memory[key] = m
	}
	use(m)
}

// forget drops what is remembered of a collector that is gone.
func (e *engine) forget(key types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m := e.memory[key]; m != nil {
		e.countPlanned(m, nil)
	}
	delete(e.memory, key)
}

// meet makes sure that what is remembered is of this collector, and not of a former one of its name.
func (e *engine) meet(key types.NamespacedName, uid types.UID) {
	former := false
	e.remember(key, func(m *memory) {
		former = m.uid != "" && m.uid != uid
		m.uid = uid
	})
	if former {
		e.forget(key)
		e.remember(key, func(m *memory) { m.uid = uid })
	}
}

// lock keeps collectors apart whose names come to the same names of objects: "a.b" and "a-b", or long ones that are cut. Only so
// does one of them see what the other has just made.
func (e *engine) lock(namespace, name string) (unlock func()) {
	key := types.NamespacedName{Namespace: namespace, Name: crds.WorkloadName(name)}
	e.mu.Lock()
	l := e.working[key]
	if l == nil {
		l = &workLock{}
		e.working[key] = l
	}
	l.users++
	e.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		e.mu.Lock()
		defer e.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(e.working, key)
		}
	}
}

// workLock is held by one pass; others may wait for it.
type workLock struct {
	sync.Mutex
	users int
}

func (e *engine) wrote(key types.NamespacedName, id ID, version string) {
	if k, ok := crds.KindOf(schemaGroupKind(id)); ok {
		e.wroteResource(key, k.GVR(), version)
	}
}

// wroteResource remembers the newest version that we have made of a resource: of objects that are sent at the same time the answers
// come in any order.
func (e *engine) wroteResource(key types.NamespacedName, resource schema.GroupVersionResource, version string) {
	e.remember(key, func(m *memory) {
		if newest, ok := m.written[resource]; ok {
			if order, err := resourceversion.CompareResourceVersion(version, newest); err == nil && order < 0 {
				return
			}
		}
		m.written[resource] = version
	})
}

// stale is how long to wait at most until the cache holds all that we have written for a collector, so that a pass does not act on
// what was; 0 when it does.
func (e *engine) stale(key types.NamespacedName) time.Duration {
	wait := time.Duration(0)
	e.remember(key, func(m *memory) {
		for resource, version := range m.written {
			if e.store.seen(resource, key.Namespace, version) {
				delete(m.written, resource)
			}
		}
		if len(m.written) == 0 {
			m.since = time.Time{}
			return
		}
		now := e.clock.Now()
		if m.since.IsZero() {
			m.since = now
		}
		if wait = m.since.Add(staleLimit).Sub(now); wait > 0 {
			return
		}
		e.log.Warn("the watches don't show what was written: going on without", "collector", key.String())
		clear(m.written)
		m.since, wait = time.Time{}, 0
	})
	return wait
}

// recall adds to a plan's input what is remembered. What was deleted counts as being deleted, also as long as the cache does not
// know.
func (p *pass) recall(in *Input) {
	now := p.clock.Now()
	p.remember(p.key(), func(m *memory) {
		in.Settled, in.Refused, in.Carried = maps.Clone(m.settled), map[ID]string{}, maps.Clone(m.carried)
		for id, r := range m.claims {
			if now.Before(r.due) && r.generation == in.Collector.Generation {
				in.Refused[id] = r.why
			}
		}
		there := map[ID]bool{}
		going := func(u *unstructured.Unstructured) *unstructured.Unstructured {
			uid, ok := m.gone[idOf(u)]
			if !ok || u.GetUID() != uid {
				return u
			}
			there[idOf(u)] = true
			if u.GetDeletionTimestamp() == nil {
				u = u.DeepCopy()
				u.SetDeletionTimestamp(&metav1.Time{Time: now})
			}
			return u
		}
		for id, u := range in.Live {
			in.Live[id] = going(u)
		}
		for i, u := range in.Pods {
			in.Pods[i] = going(u)
		}
		maps.DeleteFunc(m.gone, func(id ID, _ types.UID) bool { return !there[id] })
	})
}

// deleted remembers what we have deleted.
func (e *engine) deleted(key types.NamespacedName, id ID, uid types.UID) {
	e.remember(key, func(m *memory) {
		m.gone[id] = uid
		delete(m.settled, id)
	})
}

// settle remembers which objects need nothing.
func (p *pass) settle(plan *Plan) {
	p.remember(p.key(), func(m *memory) {
		clear(m.settled)
		planned := map[ID]bool{}
		for i := range plan.Changes {
			c := &plan.Changes[i]
			planned[c.ID] = true
			if c.Action != ActionNone || c.Live == nil || c.Want == nil || c.Because != "" {
				continue
			}
			m.settled[c.ID] = settled{c.Live.GetResourceVersion(), digest(c.Want.Object)}
			if a := m.attempts[c.ID]; a.intent != m.settled[c.ID].intent || a.uid != c.Live.GetUID() {
				m.attempts[c.ID] = attempts{uid: c.Live.GetUID(), intent: m.settled[c.ID].intent}
			}
		}
		maps.DeleteFunc(m.held, func(id ID, _ string) bool { return m.settled[id] != settled{} })
		maps.DeleteFunc(m.attempts, func(id ID, _ attempts) bool { return !planned[id] })
		maps.DeleteFunc(m.claims, func(_ ID, r claimRefusal) bool { return !p.clock.Now().Before(r.due) })
	})
}

func (p *pass) replaced(c *Change, theirs *carried) {
	p.remember(p.key(), func(m *memory) {
		m.replaced[c.ID] = p.collector.Generation
		if delete(m.carried, c.ID); theirs != nil {
			m.carried[c.ID] = theirs
		}
	})
}

func (p *pass) replacedBefore(c *Change) (before bool) {
	p.remember(p.key(), func(m *memory) {
		generation, ok := m.replaced[c.ID]
		before = ok && generation == p.collector.Generation
	})
	return before
}

// claimRefusal is why a claim can't grow, and when that is looked at again.
type claimRefusal struct {
	why        string
	due        time.Time
	generation int64 // of the collector
}

// claimsDue is when to try again to let claims grow, 0 for never.
func (p *pass) claimsDue() time.Duration {
	var waits []time.Duration
	p.remember(p.key(), func(m *memory) {
		for _, r := range m.claims {
			waits = append(waits, r.due.Sub(p.clock.Now())+time.Second)
		}
	})
	return soonest(waits...)
}

func (p *pass) refusedClaim(c *Change, problem *Problem) {
	why, _, _ := strings.Cut(problem.Message, "\n") // the API server adds a comparison of the whole spec
	p.remember(p.key(), func(m *memory) {
		m.claims[c.ID] = claimRefusal{why, p.clock.Now().Add(refusedRetry), p.collector.Generation}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.observed.notes = append(p.observed.notes, Note{Kind: NoteClaimsNotExpanded, Reason: crds.ReasonClaimRefused, ID: c.ID, Message: why})
}
