package crds

import "maps"

// normalise returns a copy of spec in which what v1alpha1 spells in its own way is spelt as in v1beta1. It does not go by the
// apiVersion: the API server serves what was stored through one version through the other as it is. The rules are those of the
// incumbent's conversion (its internal/webhook/collector_conversion.go).
//
// Errors are *FieldError: a selector that is in use and can't be understood.
func normalise(spec map[string]any) (map[string]any, error) {
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
	var err error
	if allocator, ok := spec["targetAllocator"].(map[string]any); ok {
		_, alpha := spec["config"].(string)
		spec["targetAllocator"], err = normaliseAllocator(allocator, alpha)
	}
	return spec, err
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
// monitors that is absent means all of them; in v1beta1 it means none. Where monitors are not used, a selector that can't be
// understood is left out.
func normaliseAllocator(allocator map[string]any, alpha bool) (map[string]any, error) {
	allocator = maps.Clone(allocator)
	normaliseObservability(allocator)
	custom, ok := allocator["prometheusCR"].(map[string]any)
	if !ok {
		return allocator, nil
	}
	custom = maps.Clone(custom)
	allocator["prometheusCR"] = custom
	inUse := allocator["enabled"] == true && custom["enabled"] == true
	for _, monitor := range []string{"serviceMonitor", "podMonitor", "scrapeConfig", "probe"} {
		objects, namespaces := monitor+"Selector", monitor+"NamespaceSelector"
		if alpha && custom[objects] == nil && (monitor == "serviceMonitor" || monitor == "podMonitor") { // the only ones that v1alpha1 has
			custom[objects] = map[string]any{}
		}
		for _, field := range []string{objects, namespaces} {
			selector, ok := custom[field].(map[string]any)
			if !ok {
				continue
			}
			respelt, err := labelSelector(selector, prometheusPath+"."+field, field == objects)
			switch {
			case err == nil:
				custom[field] = respelt
			case inUse:
				return nil, err
			default:
				delete(custom, field)
			}
		}
	}
	return allocator, nil
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
