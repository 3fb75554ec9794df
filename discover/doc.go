// Package discover turns scrape configurations into targets: [NewJob] and [ParseJobs] make jobs, [Providers] runs their service
// discovery, and [Targets] relabels what that finds and publishes it, as jobs of package allocate.
//
// Discovery and relabelling are Prometheus' own code, so the labels are those that Prometheus would have. What is ours is around it:
// a discovery runs once for all jobs that want it, groups are kept packed, a change costs what has changed, and nothing is published
// before it is known whole. See docs/adr/20261122-allocator-in-the-operator.md.
//
// What is served of a target are its labels before relabelling, because the collector relabels again by the same rules. It imports
// allocate and, in its sub-packages, crds; nothing else of ours.
package discover
