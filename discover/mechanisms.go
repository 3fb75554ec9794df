package discover

// The mechanisms of service discovery that this binary knows. Each registers itself with Prometheus' configuration, so that a
// configuration that names another one is an error of the job that names it.
//
// Here is what a ScrapeConfig can name and what needs no SDK of a cloud. Those of the clouds (EC2, GCE, Azure, OpenStack and others) would
// add 26 MB to the binary, and each can be had through an adapter that speaks HTTP.
import (
	// Static targets come with the package itself.
	_ "github.com/prometheus/prometheus/discovery"
	// Consul: where machines outside of the cluster are registered; 2 MB with its client.
	_ "github.com/prometheus/prometheus/discovery/consul"
	// DNS: records of names that are not in the cluster; a ScrapeConfig can name it; needs no SDK.
	_ "github.com/prometheus/prometheus/discovery/dns"
	// Eureka: the registry of Spring Cloud; plain HTTP, no client.
	_ "github.com/prometheus/prometheus/discovery/eureka"
	// File: how anything else hands targets to Prometheus; a ScrapeConfig can name it.
	_ "github.com/prometheus/prometheus/discovery/file"
	// HTTP: the same over the network, and what stands in for every cloud's own discovery.
	_ "github.com/prometheus/prometheus/discovery/http"
	// Kubernetes: what ServiceMonitors, PodMonitors and Probes become.
	_ "github.com/prometheus/prometheus/discovery/kubernetes"
	// Nomad: what runs beside Kubernetes where HashiCorp's tools are in use.
	_ "github.com/prometheus/prometheus/discovery/nomad"
	// PuppetDB: the machines that Puppet manages; plain HTTP, no client.
	_ "github.com/prometheus/prometheus/discovery/puppetdb"
	// Kuma: the data planes of a service mesh, over xDS.
	_ "github.com/prometheus/prometheus/discovery/xds"
)
