package render

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/otelier/otelier/crds"
)

// A port that a component listens on.
type port struct {
	name        string // at most 15 characters, as a container port's name must be (RFC 6335)
	number      int32
	protocol    corev1.Protocol
	appProtocol string
	hostPort    *int32
}

// portKey is what must be unique among the ports of a Service or a container.
type portKey struct {
	number   int32
	protocol corev1.Protocol
}

func (p port) key() portKey { return portKey{p.number, cmp.Or(p.protocol, corev1.ProtocolTCP)} }

// openPorts are the ports that a configuration opens, sorted by name.
type openPorts struct {
	service    []port // of receivers and exporters
	extensions []port
	metrics    int32 // of the collector's own metrics
	warnings   []string
}

// openPorts looks at the components that are in use: those that a pipeline or service.extensions names.
func (d *document) openPorts() openPorts {
	var out openPorts
	warn := func(path, detail string) { out.warnings = append(out.warnings, path+": "+detail) }
	for _, id := range d.used("receivers") {
		out.service = append(out.service, d.receiverPorts(id, warn)...)
	}
	for _, id := range d.used("exporters") {
		if componentType(id) == typeProm {
			path := componentPath("exporters", id)
			out.service = append(out.service, singlePort(id, path, endpoint{port: metricsPort}, d.section("exporters", id), warn)...)
		}
	}
	for _, id := range d.usedExtensions() {
		out.extensions = append(out.extensions, d.extensionPorts(id, warn)...)
	}
	out.service, out.extensions = unique(out.service), unique(out.extensions)
	out.metrics = d.metricsPort(warn)
	return out
}

func componentPath(section, id string) string { return configPath + "." + section + "." + id }

type warner func(path, detail string)

func (d *document) receiverPorts(id string, warn warner) []port {
	t, section, path := componentType(id), d.section("receivers", id), componentPath("receivers", id)
	if t == typeProm {
		api, _ := section["api_server"].(map[string]any)
		if on, _ := api["enabled"].(bool); !on {
			return nil
		}
		server, _ := api["server_config"].(map[string]any)
		return singlePort(id, path+".api_server.server_config", endpoint{}, server, warn)
	}
	endpoints, known := receiverEndpoints(t)
	if !known {
		endpoints = []endpoint{{}}
	}
	if len(endpoints) == 0 {
		return nil
	}
	if endpoints[0].protocol == "" {
		return singlePort(id, path, endpoints[0], section, warn)
	}
	protocols, _ := section["protocols"].(map[string]any)
	var out []port
	for _, e := range endpoints {
		v, on := protocols[e.protocol]
		if !on && len(protocols) > 0 {
			continue
		}
		settings, _ := v.(map[string]any)
		out = append(out, singlePort(id+"-"+e.protocol, path+".protocols."+e.protocol, e, settings, warn)...)
	}
	for _, p := range slices.Sorted(maps.Keys(protocols)) {
		if !slices.ContainsFunc(endpoints, func(e endpoint) bool { return e.protocol == p }) {
			warn(path+".protocols."+p, "not a protocol of this receiver")
		}
	}
	return out
}

func (d *document) extensionPorts(id string, warn warner) []port {
	section, path := d.section("extensions", id), componentPath("extensions", id)
	switch componentType(id) {
	case typeHealth:
		return singlePort(id, path, endpoint{port: healthPort}, section, warn)
	case typeJaegerUI:
		http, _ := section["http"].(map[string]any)
		out := singlePort(id, path+".http", endpoint{port: 16686}, http, warn)
		if grpc, ok := section["grpc"].(map[string]any); ok {
			out = append(out, singlePort(id+"-2", path+".grpc", endpoint{}, grpc, warn)...)
		}
		return out
	}
	return nil
}

// singlePort is the port that settings name in endpoint or listen_address, or else the default one; none without either.
func singlePort(name, path string, e endpoint, settings map[string]any, warn warner) []port {
	number := e.port
	for _, key := range []string{"endpoint", "listen_address"} {
		address, ok := settings[key].(string)
		if !ok || address == "" {
			continue
		}
		if n := endpointPort(address); n != 0 && !isURL(address) {
			number = n
		} else if e.port != 0 {
			warn(path+"."+key, fmt.Sprintf("has no port number that can be read, taking the default %d for the Service", e.port))
		}
		break
	}
	if number == 0 {
		return nil
	}
	p := port{name: portName(name, number), number: number, protocol: corev1.ProtocolTCP, appProtocol: e.appProtocol}
	if e.udp {
		p.protocol = corev1.ProtocolUDP
	}
	return []port{p}
}

// isURL tells an address to fetch from one to listen on.
func isURL(address string) bool {
	return strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://")
}

// portName is a component's ID where that can be a port's name, and port-NUMBER where not.
func portName(id string, number int32) string {
	name := strings.NewReplacer("/", "-", "_", "-").Replace(id)
	if len(validation.IsValidPortName(name)) > 0 {
		return "port-" + itoa(number)
	}
	return name
}

// unique sorts ports by name and drops those whose number and protocol another has. Names are made unique.
func unique(ports []port) []port { return mergePorts(nil, ports) }

// mergePorts adds to ports those of inferred whose number and protocol they lack. Of two with the same name, the inferred one
// is renamed.
func mergePorts(ports, inferred []port) []port {
	numbers, names := map[portKey]bool{}, map[string]bool{}
	out := slices.Clone(ports)
	for _, p := range out {
		numbers[p.key()], names[p.name] = true, true
	}
	for _, p := range slices.SortedStableFunc(slices.Values(inferred), func(a, b port) int { return cmp.Compare(a.name, b.name) }) {
		if numbers[p.key()] {
			continue
		}
		if names[p.name] {
			p.name = freeName(names, p)
		}
		numbers[p.key()], names[p.name] = true, true
		out = append(out, p)
	}
	return out
}

// used are the IDs of the components of a section that pipelines name, sorted.
func (d *document) used(section string) []string {
	ids := map[string]bool{}
	for _, p := range d.section("service", "pipelines") {
		pipeline, _ := p.(map[string]any)
		list, _ := pipeline[section].([]any)
		for _, item := range list {
			if id, ok := item.(string); ok && d.has(section, id) {
				ids[id] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(ids))
}

// usedExtensions are the IDs that service.extensions names, in its order.
func (d *document) usedExtensions() []string {
	var out []string
	list, _ := d.section("service")["extensions"].([]any)
	for _, item := range list {
		if id, ok := item.(string); ok && d.has("extensions", id) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

func (d *document) has(section, id string) bool {
	_, ok := d.section(section)[id]
	return ok
}

// metricsPort is where the collector serves its own metrics: service.telemetry.metrics.address of old collectors, or the
// first reader that a Prometheus pulls from.
func (d *document) metricsPort(warn warner) int32 {
	path := configPath + ".service.telemetry.metrics"
	metrics := d.section("service", "telemetry", "metrics")
	readers, _ := metrics["readers"].([]any)
	if address, _ := metrics["address"].(string); address != "" && len(readers) == 0 {
		if n := endpointPort(address); n != 0 {
			return n
		}
		warn(path+".address", fmt.Sprintf("has no port number that can be read, taking %d for the Service", metricsPort))
		return metricsPort
	}
	for i, r := range readers {
		prometheus := dig(r, "pull", "exporter", "prometheus")
		if prometheus == nil {
			continue
		}
		if prometheus["port"] == nil {
			return metricsPort
		}
		if n := portNumber(prometheus["port"]); n != 0 {
			return n
		}
		warn(fmt.Sprintf("%s.readers[%d].pull.exporter.prometheus.port", path, i),
			fmt.Sprintf("not a port number, taking %d for the Service", metricsPort))
		return metricsPort
	}
	return metricsPort
}

// portNumber is v where that is a whole number that a port can have, and 0 where not.
func portNumber(v any) int32 {
	switch n := v.(type) {
	case int:
		return inPortRange(int64(n))
	case int64:
		return inPortRange(n)
	case float64:
		if n == math.Trunc(n) {
			return inPortRange(int64(n))
		}
	}
	return 0
}

func inPortRange(n int64) int32 {
	if n < 1 || n > 65535 {
		return 0
	}
	return int32(n)
}

// dig follows keys through mappings; nil where one is missing.
func dig(v any, keys ...string) map[string]any {
	m, _ := v.(map[string]any)
	for _, k := range keys {
		m, _ = m[k].(map[string]any)
	}
	return m
}

// userPorts are the ports of the spec. One without a name gets one.
func userPorts(ports []crds.Port) []port {
	var out []port
	names := map[string]bool{}
	for _, p := range ports {
		names[deref(p.Name)] = true
	}
	for _, p := range ports {
		q := port{name: deref(p.Name), hostPort: p.HostPort, number: deref(p.Port), protocol: cmp.Or(deref(p.Protocol), corev1.ProtocolTCP)}
		if q.name == "" {
			q.name = freeName(names, q)
			names[q.name] = true
		}
		out = append(out, q)
	}
	return out
}

// freeName is a name for a port whose own is taken, or that has none.
func freeName(taken map[string]bool, p port) string {
	name := "port-" + itoa(p.number)
	for i := 2; taken[name]; i++ {
		prefix := strings.ToLower(string(p.protocol))
		if i > 2 {
			prefix += itoa(int32(i))
		}
		name = prefix + "-" + itoa(p.number)
	}
	return name
}
