package render

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/otelier/otelier/crds"
)

// document is a collector's configuration. It is read through values, and changed by edits that are made to the user's own
// text, so that its order and comments stay. The YAML library is the one that the collector itself reads it with.
type document struct {
	text     string
	isText   bool
	values   map[string]any
	edits    []edit
	warnings []string
}

// An edit sets the value at a path of keys; what is missing on the way is made.
type edit struct {
	path  []string
	value any
}

const configPath = "spec.config"

func parseConfig(c crds.Config) (*document, error) {
	d := &document{text: c.Text, isText: c.IsText, values: c.Tree}
	if c.IsText {
		var values any
		if err := yaml.Unmarshal([]byte(c.Text), &values); err != nil {
			return nil, &crds.FieldError{Path: configPath, Detail: "not YAML: " + yamlError(err)}
		}
		m, ok := values.(map[string]any)
		if !ok && values != nil {
			return nil, &crds.FieldError{Path: configPath, Detail: "want a mapping with receivers, exporters and service"}
		}
		d.values = m
		return d, nil
	}
	d.warnings = nullWarnings(configPath, c.Tree)
	text, err := encodeYAML(c.Tree)
	if err != nil {
		return nil, &crds.FieldError{Path: configPath, Detail: err.Error()}
	}
	d.text = text
	return d, nil
}

// yamlError is the library's message on one line, without its own name.
func yamlError(err error) string {
	s := strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", ";")
	return strings.Join(strings.Fields(s), " ")
}

func encodeYAML(v any) (string, error) {
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return out.String(), enc.Close()
}

// nullWarnings names the components that are null in a structured configuration. The API server keeps them, but kubectl
// drops them from what it sends unless it applies server-side (the incumbent's rule W1).
func nullWarnings(path string, v any) []string {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] == nil {
			out = append(out, fmt.Sprintf("%s.%s: null, which kubectl drops when it applies client-side; write {}", path, k))
		}
		out = append(out, nullWarnings(path+"."+k, m[k])...)
	}
	return out
}

// section is the mapping at a path of keys, nil when there is none.
func (d *document) section(path ...string) map[string]any {
	m := d.values
	for _, k := range path {
		m, _ = m[k].(map[string]any)
	}
	return m
}

// check finds what no collector would start with: a missing section, an empty pipeline, a component that is used but not
// configured (go.opentelemetry.io/collector/otelcol/config.go, Validate). What is filled in only inside the pod, by
// ${env:NAME} and its like, is taken for right.
func (d *document) check() error {
	for _, name := range []string{"receivers", "exporters", "service"} {
		switch v := d.values[name].(type) {
		case map[string]any:
		case string:
			if !expands(v) {
				return configError("want a mapping", name)
			}
		default:
			return configError("missing, a collector needs at least receivers, exporters and service.pipelines", name)
		}
	}
	pipelines, ok := d.section("service")["pipelines"].(map[string]any)
	if !ok || len(pipelines) == 0 {
		if s, _ := d.section("service")["pipelines"].(string); expands(s) || d.section("service") == nil {
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

func (d *document) checkPipeline(id string, v any) error {
	pipeline, ok := v.(map[string]any)
	if !ok {
		if s, _ := v.(string); expands(s) {
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
		if list, _ := pipeline[use.key].([]any); use.need && len(list) == 0 {
			if s, _ := pipeline[use.key].(string); expands(s) {
				continue
			}
			return configError("missing, want the names of at least one", path...)
		}
		if err := d.checkUsed(path, pipeline[use.key], use.in...); err != nil {
			return err
		}
	}
	return nil
}

// checkUsed finds a name in the list v that none of the sections has.
func (d *document) checkUsed(path []string, v any, sections ...string) error {
	list, _ := v.([]any)
	for _, item := range list {
		id, ok := item.(string)
		if !ok || expands(id) {
			continue
		}
		if !slices.ContainsFunc(sections, func(s string) bool {
			_, ok := d.section(s)[id]
			text, _ := d.values[s].(string)
			return ok || expands(text)
		}) {
			return configError(fmt.Sprintf("uses %q, which is not configured under %s", id, strings.Join(sections, " or ")), path...)
		}
	}
	return nil
}

func configError(detail string, path ...string) error {
	return &crds.FieldError{Path: strings.Join(append([]string{configPath}, path...), "."), Detail: detail}
}

// expands tells whether the collector replaces a part of s when it starts.
func expands(s string) bool { return strings.Contains(s, "${") }

func (d *document) set(value any, path ...string) { d.edits = append(d.edits, edit{path, value}) }

// print is the text of collector.yaml: the user's own when nothing has to be set.
func (d *document) print() (string, error) {
	if len(d.edits) == 0 {
		return d.text, nil
	}
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(d.text), &root); err != nil {
		return "", &crds.FieldError{Path: configPath, Detail: "not YAML: " + yamlError(err)}
	}
	top := root.Content[0]
	if hasAlias(top) {
		// An edit below an anchor would show wherever its alias stands, so aliases become what they stand for.
		expandAliases(top)
	}
	for _, e := range d.edits {
		if err := setNode(top, e.path, e.value); err != nil {
			return "", configError(err.Error(), e.path...)
		}
	}
	return encodeYAML(&root)
}

// endpointPort is the port number at the end of an endpoint: "0.0.0.0:4317", "[::]:4317", ":4317", "${env:IP}:4317" and
// "tcp://0.0.0.0:4317" have one; it is 0 where there is none or only the collector will know it.
func endpointPort(endpoint string) int32 {
	m := regexp.MustCompile(`:(\d{1,5})/?$`).FindStringSubmatch(endpoint)
	if m == nil {
		return 0
	}
	n := atoi(m[1])
	if n < 1 || n > 65535 {
		return 0
	}
	return n
}
