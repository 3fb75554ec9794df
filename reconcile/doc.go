// Package reconcile makes the cluster be what collectors ask for. It decides purely and acts through a thin edge.
//
// Pure are the plan (build.go, delta.go, fields.go, handover.go, claims.go), the inventory, the health and the status. The edge is
// cache.go, which watches, gather.go, which collects what a plan depends on, cluster.go, which writes, and controller.go, which has the
// queue. engine.go makes the passes, execute.go and replace.go carry out plans. What memory.go remembers between passes may be lost:
// that costs requests, and changes no outcome but for what others had set in a StatefulSet that is being made anew (carry.go).
//
// A pass gathers, renders, plans, and, where there is anything to do, tries it with dry runs, writes the inventory ahead, applies stage
// by stage and prunes. Then it judges the health of the live objects and writes the status if that changed. Nothing is polled: what a
// pass waits for comes as an event, or is due at a time.
//
// The same plan, with dry runs instead of writes, is Planner.Preview (preview.go) over a Snapshot (reader.go).
package reconcile
