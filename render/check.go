package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const missingSection = "missing, a collector needs at least receivers, exporters and service.pipelines"

// check finds what no collector would start with: a missing section, an empty pipeline, a component that is used but not
// configured (go.opentelemetry.io/collector/otelcol/config.go, Validate). What is filled in only inside the pod, by
// ${env:NAME} and its like, is taken for right.
func (d *document) check() error {
	for _, name := range []string{"receivers", "exporters", "service"} {
		switch v := d.values[name].(type) {
		case map[string]any:
			if len(v) == 0 {
				return configError(missingSection, name)
			}
		case string:
			if !expands(v) {
				return configError("got a string, want a mapping", name)
			}
		case nil:
			return configError(missingSection, name)
		default:
			return configError("want a mapping with names as keys", name)
		}
	}
	pipelines, ok := d.section("service")["pipelines"].(map[string]any)
	if !ok || len(pipelines) == 0 {
		if isExpanded(d.section("service")["pipelines"]) || d.section("service") == nil {
			return nil
		}
		return configError("missing, want at least one pipeline, such as traces", "service", "pipelines")
	}
	for _, id := range slices.Sorted(maps.Keys(pipelines)) {
		if err := d.checkPipeline(id, pipelines[id]); err != nil {
			return err
		}
	}
	return d.checkUsed([]string{"service", "extensions"}, d.section("service")["extensions"], "extensions")
}

// unknownSections names top-level keys that no collector knows, as far as this version does.
func (d *document) unknownSections() []string {
	known := []string{"receivers", "processors", "exporters", "connectors", "extensions", "service"}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(d.values)) {
		if !slices.Contains(known, k) {
			out = append(out, fmt.Sprintf("%s.%s: not a section that collectors know, which are %s", configPath, k, strings.Join(known, ", ")))
		}
	}
	return out
}

func (d *document) checkPipeline(id string, v any) error {
	pipeline, ok := v.(map[string]any)
	if !ok {
		if isExpanded(v) {
			return nil
		}
		return configError("want a mapping with receivers and exporters", "service", "pipelines", id)
	}
	for _, use := range []struct {
		key  string
		in   []string
		need bool
	}{
		{"receivers", []string{"receivers", "connectors"}, true},
		{"processors", []string{"processors"}, false},
		{"exporters", []string{"exporters", "connectors"}, true},
	} {
		path := []string{"service", "pipelines", id, use.key}
		if list, _ := pipeline[use.key].([]any); use.need && len(list) == 0 && !isExpanded(pipeline[use.key]) {
			return configError("missing, want a list with at least one name", path...)
		}
		if err := d.checkUsed(path, pipeline[use.key], use.in...); err != nil {
			return err
		}
	}
	return nil
}

// checkUsed finds a name in the list v that none of the sections has.
func (d *document) checkUsed(path []string, v any, sections ...string) error {
	list, ok := v.([]any)
	if !ok && v != nil && !isExpanded(v) {
		return configError("want a list of names", path...)
	}
	for _, item := range list {
		id, ok := item.(string)
		if !ok {
			return configError("want a list of the names of components", path...)
		}
		if !expands(id) && !slices.ContainsFunc(sections, func(s string) bool { return d.has(s, id) || isExpanded(d.values[s]) }) {
			return configError(fmt.Sprintf("uses %q, which is not configured under %s", id, strings.Join(sections, " or ")), path...)
		}
	}
	return nil
}

// expands tells whether the collector replaces a part of s when it starts.
func expands(s string) bool { return strings.Contains(s, "${") }

func isExpanded(v any) bool {
	s, _ := v.(string)
	return expands(s)
}
