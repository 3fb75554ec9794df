// Package allocate spreads scrape targets over the members of a pool of collectors, and serves each of them its share over the HTTP
// API that the stock Prometheus receiver asks.
//
// It is a leaf, and its core is pure: an assignment follows from the targets, the members and the rules alone, without history, so that
// every replica of the operator gives the same answers and a restart moves nothing. See
// docs/adr/20261122-allocator-in-the-operator.md.
package allocate
