// Package reconcile makes the cluster be what collectors ask for. It decides purely (health.go, status.go) and acts through a
// thin edge: cache.go reads, cluster.go writes, controller.go runs one pass for each collector that something happened to.
//
// A pass gathers from the cache, renders, applies stage by stage, prunes what is no longer rendered, judges the health of the
// live objects and writes the status if it changed. Nothing is polled: what a pass waits for comes as an event.
package reconcile
