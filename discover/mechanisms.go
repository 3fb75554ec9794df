package discover

// The mechanisms of service discovery that this binary knows. Each registers itself with Prometheus' configuration, so that a
// configuration that names another one is an error of the job that names it.
//
// DNS, files and HTTP cost 1 MB together. The other ones that a ScrapeConfig can name are not here: with the SDKs of their clouds they
// would add 31 MB (Consul, Eureka, Kuma, Nomad and PuppetDB alone 5 MB), and each can be had through an adapter that speaks HTTP.
import (
	// Static targets come with the package itself.
	_ "github.com/prometheus/prometheus/discovery"
	// DNS: records of names that are not in the cluster; a ScrapeConfig can name it; needs no SDK.
	_ "github.com/prometheus/prometheus/discovery/dns"
	// File: how anything else hands targets to Prometheus; a ScrapeConfig can name it.
	_ "github.com/prometheus/prometheus/discovery/file"
	// HTTP: the same over the network, and what stands in for every cloud's own discovery.
	_ "github.com/prometheus/prometheus/discovery/http"
	// Kubernetes: what ServiceMonitors, PodMonitors and Probes become.
	_ "github.com/prometheus/prometheus/discovery/kubernetes"
)
