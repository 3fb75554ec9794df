package reconcile

import (
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/otelier/otelier/crds"
)

func (c *Controller) remember(key types.NamespacedName, id ID, a applied) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last[key] == nil {
		c.last[key] = map[ID]applied{}
	}
	c.last[key][id] = a
}

func (c *Controller) remembered(key types.NamespacedName, id ID) (applied, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.last[key][id]
	return a, ok
}

func (p *pass) forgetObject(id ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last[p.key()], id)
}

// lock keeps collectors apart whose names come to the same names of objects: "a.b" and "a-b", or long ones that are cut. Only so
// does one of them see what the other has just made.
func (c *Controller) lock(namespace, name string) (unlock func()) {
	key := types.NamespacedName{Namespace: namespace, Name: crds.WorkloadName(name)}
	c.mu.Lock()
	if c.working[key] == nil {
		c.working[key] = &sync.Mutex{}
	}
	mu := c.working[key]
	c.mu.Unlock()
	mu.Lock()
	return mu.Unlock
}

func (c *Controller) wrote(key types.NamespacedName, id ID, version string) {
	if k, ok := crds.KindOf(schemaGroupKind(id)); ok {
		c.wroteResource(key, k.GVR(), version)
	}
}

// wroteResource remembers the newest version that we have made of a resource: of objects that are sent at the same time the answers
// come in any order.
func (c *Controller) wroteResource(key types.NamespacedName, resource schema.GroupVersionResource, version string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.written[key] == nil {
		c.written[key] = map[schema.GroupVersionResource]string{}
	}
	if newest, ok := c.written[key][resource]; ok {
		if order, err := resourceversion.CompareResourceVersion(version, newest); err == nil && order < 0 {
			return
		}
	}
	c.written[key][resource] = version
}

// fresh tells whether the cache holds all that we have written for a collector, so that a pass does not act on what was.
func (c *Controller) fresh(key types.NamespacedName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for resource, version := range c.written[key] {
		if !c.cache.seen(resource, key.Namespace, version) {
			return false
		}
		delete(c.written[key], resource)
	}
	return true
}

// forget drops what is remembered of a collector that is gone.
func (c *Controller) forget(key types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.written, key)
	delete(c.refused, key)
	delete(c.last, key)
}
