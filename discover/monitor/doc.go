// Package monitor makes scrape jobs of the custom resources of prometheus-operator: ServiceMonitors, PodMonitors and Probes
// (monitoring.coreos.com/v1) and ScrapeConfigs (v1alpha1).
//
// One Watcher serves every pool of the process. It watches each resource once, translates each object once per distinct set of
// settings, and translates again only what has changed: an object, or a Secret or ConfigMap that it refers to. Validation and translation
// are those of prometheus-operator's library, called for one object at a time, so that an invalid one is left out alone.
//
// What the library decides and what it means here: a nil selector selects nothing and an empty one everything; a nil namespace
// selector stands for the pool's own namespace and an empty one for all. An object that becomes invalid loses its jobs, as in
// prometheus-operator. An object that refers to a Secret that can't be read for the moment keeps those it had.
//
// A result is complete or not given: a first one waits until every kind that is selected from is listed, or certain not to be
// installed (three answers of 404, a second apart), or forbidden for 30 seconds; and until every Secret and ConfigMap that is referred to is
// read, or certain not to be there, or can't be read for a minute. Rules lists the rights that all this needs.
package monitor
