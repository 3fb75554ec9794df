// Package samples reads who has sent which target's samples, and when: from what collectors have exported to a sink (workbench sink), not
// from what anybody says that they should.
//
// Times are those of the scrapes, by the clock of the pod that has scraped. A target is known by the name that it gives itself in its
// counter (workbench exporter), whatever the labels of its job.
package samples
