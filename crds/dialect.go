package crds

import "maps"

// normalise returns a copy of spec in which what v1alpha1 spells in its own way is spelt as in v1beta1. It does not go by the
// apiVersion: the API server serves what was stored through one version through the other as it is. The rules are those of the
// incumbent's conversion (its internal/webhook/collector_conversion.go).
func normalise(spec map[string]any) map[string]any {
	spec = maps.Clone(spec)
	if spec["minReplicas"] != nil || spec["maxReplicas"] != nil {
		autoscaler := cloneMap(spec["autoscaler"])
		for _, k := range []string{"minReplicas", "maxReplicas"} {
			if _, taken := autoscaler[k]; !taken && spec[k] != nil {
				autoscaler[k] = spec[k]
			}
		}
		spec["autoscaler"] = autoscaler
	}
	delete(spec, "minReplicas")
	delete(spec, "maxReplicas")
	rename(spec, "updateStrategy", "daemonSetUpdateStrategy")
	normaliseObservability(spec)
	if allocator, ok := spec["targetAllocator"].(map[string]any); ok {
		_, alpha := spec["config"].(string)
		spec["targetAllocator"] = normaliseAllocator(allocator, alpha)
	}
	return spec
}

// normaliseObservability changes the observability of a spec or of its target allocator; parent is a copy already.
func normaliseObservability(parent map[string]any) {
	observability, ok := parent["observability"].(map[string]any)
	if !ok {
		return
	}
	metrics, ok := observability["metrics"].(map[string]any)
	if !ok {
		return
	}
	observability, metrics = maps.Clone(observability), maps.Clone(metrics)
	rename(metrics, "DisablePrometheusAnnotations", "disablePrometheusAnnotations")
	observability["metrics"], parent["observability"] = metrics, observability
}

// normaliseAllocator makes label selectors of what v1alpha1 has as plain maps of labels. In its dialect, alpha, a selector of
// monitors that is absent means all of them; in v1beta1 it means none.
func normaliseAllocator(allocator map[string]any, alpha bool) map[string]any {
	allocator = maps.Clone(allocator)
	normaliseObservability(allocator)
	custom, ok := allocator["prometheusCR"].(map[string]any)
	if !ok {
		return allocator
	}
	custom = maps.Clone(custom)
	for _, k := range []string{"serviceMonitorSelector", "podMonitorSelector", "scrapeConfigSelector", "probeSelector"} {
		switch selector, ok := custom[k].(map[string]any); {
		case ok && isLabelMap(selector):
			custom[k] = map[string]any{"matchLabels": selector}
		case alpha && !ok && (k == "serviceMonitorSelector" || k == "podMonitorSelector"): // the only ones that v1alpha1 has
			custom[k] = map[string]any{}
		}
	}
	allocator["prometheusCR"] = custom
	return allocator
}

// isLabelMap tells a map of labels from a label selector. Values of labels are strings, so a label called matchLabels is
// one too.
func isLabelMap(selector map[string]any) bool {
	for _, v := range selector {
		if _, ok := v.(string); ok {
			return true
		}
	}
	return false
}

func rename(m map[string]any, from, to string) {
	if v, ok := m[from]; ok {
		delete(m, from)
		if _, taken := m[to]; !taken {
			m[to] = v
		}
	}
}

func cloneMap(v any) map[string]any {
	if m, ok := v.(map[string]any); ok {
		return maps.Clone(m)
	}
	return map[string]any{}
}
