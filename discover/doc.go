// Package discover will turn ServiceMonitors, PodMonitors, Probes and ScrapeConfigs into scrape targets, and workloads into members of
// a pool of collectors. There is nothing in it yet.
//
// It hands what it finds to allocate, the only package of ours besides crds that it may import. See
// docs/adr/20261122-allocator-in-the-operator.md.
package discover
