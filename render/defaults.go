package render

import "strings"

// applyDefaults sets what a collector needs in order to be reached from outside its pod, where the configuration leaves it
// open: since 0.104 a collector listens on localhost by default. The rules are the incumbent's, which writes them into the
// user's object; here they are made while rendering, and the object stays as it is.
func (d *document) applyDefaults() {
	for _, id := range d.used("receivers") {
		endpoints, _ := receiverEndpoints(componentType(id))
		protocols := d.section("receivers", id, "protocols")
		for _, e := range endpoints {
			if e.protocol == "" {
				d.defaultEndpoint(e.port, d.section("receivers", id), "receivers", id)
				continue
			}
			if _, on := protocols[e.protocol]; on || len(protocols) == 0 {
				d.defaultEndpoint(e.port, d.section("receivers", id, "protocols", e.protocol), "receivers", id, "protocols", e.protocol)
			}
		}
	}
	for _, id := range d.usedExtensions() {
		switch componentType(id) {
		case typeHealth:
			d.defaultEndpoint(healthPort, d.section("extensions", id), "extensions", id)
		case typeJaegerUI:
			d.defaultEndpoint(16686, d.section("extensions", id, "http"), "extensions", id, "http")
		}
	}
	d.defaultTelemetry()
}

// defaultEndpoint sets the endpoint of the component at path, or the host of one that only has a port. A component with a
// listen_address, or whose settings are only known inside the pod, is left alone.
func (d *document) defaultEndpoint(port int32, settings map[string]any, path ...string) {
	if port == 0 || d.opaque(path) {
		return
	}
	if _, ok := settings["listen_address"]; ok {
		return
	}
	switch address, isText := settings["endpoint"].(string); {
	case settings["endpoint"] == nil, isText && address == "":
		d.set(anyAddress+":"+itoa(port), append(path, "endpoint")...)
	case isText && strings.HasPrefix(address, ":") && endpointPort(address) != 0:
		d.set(anyAddress+address, append(path, "endpoint")...)
	}
}

// opaque tells whether something on the way to path is neither a mapping nor empty, such as ${file:NAME}.
func (d *document) opaque(path []string) bool {
	m := d.values
	for _, k := range path {
		v, ok := m[k]
		if !ok || v == nil {
			return false
		}
		if m, ok = v.(map[string]any); !ok {
			return true
		}
	}
	return false
}

// defaultTelemetry opens the collector's own metrics to the outside, unless the configuration says how they are read.
func (d *document) defaultTelemetry() {
	path := []string{"service", "telemetry", "metrics"}
	if d.opaque(path) {
		return
	}
	metrics := d.section(path...)
	if metrics["address"] != nil || metrics["readers"] != nil || metrics["level"] == "none" {
		return
	}
	d.set([]any{map[string]any{"pull": map[string]any{"exporter": map[string]any{"prometheus": map[string]any{
		"host": anyAddress, "port": metricsPort,
	}}}}}, append(path, "readers")...)
}
