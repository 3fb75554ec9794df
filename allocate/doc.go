// Package allocate will spread scrape targets over the members of a pool of collectors. There is nothing in it yet.
//
// It is a leaf, and its core is pure: an assignment follows from the targets and the members alone, without history, so that every
// replica of the operator gives the same answers and a restart moves nothing. See docs/adr/20261122-allocator-in-the-operator.md.
package allocate
