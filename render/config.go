package render

import (
	"errors"
	"fmt"
	"io"
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
	values   map[string]any
	edits    []edit
	warnings []string
}

// An edit sets the value at a path of keys, and makes what is missing on the way, or removes what is there.
type edit struct {
	path   []string
	value  any
	remove bool
}

const configPath = "spec.config"

func parseConfig(c crds.Config) (*document, error) {
	if !c.IsText {
		text, err := encodeTree(c.Tree)
		if err != nil {
			return nil, configError(err.Error())
		}
		return &document{text: text, values: c.Tree, warnings: nullWarnings(configPath, c.Tree)}, nil
	}
	d := &document{text: c.Text}
	decoder := yaml.NewDecoder(strings.NewReader(c.Text))
	var values any
	switch err := decoder.Decode(&values); {
	case errors.Is(err, io.EOF): // empty, or comments only
		return d, nil
	case err != nil:
		return nil, configError("not YAML: " + yamlError(err))
	}
	var ok bool
	if d.values, ok = values.(map[string]any); !ok && values != nil {
		return nil, configError("want a mapping with receivers, exporters and service")
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		d.warnings = append(d.warnings, configPath+": more than one YAML document, a collector reads the first one only")
	}
	return d, nil
}

// yamlError is the library's message on one line, without its own name. Values are left out, they may be secret: of text that
// it could not decode, and of what looks like a reference, as an unquoted password that begins with an asterisk
// does, or like a key that is no text, as a template that was not filled in.
func yamlError(err error) string {
	s := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n")
	s = regexp.MustCompile("(?s) `.*`|(anchor) '.*'|(invalid map key).*").ReplaceAllString(s, "$1$2")
	return strings.Join(strings.Fields(strings.ReplaceAll(s, "\n", ";")), " ")
}

// nullWarnings names the components that are null in a structured configuration. The API server keeps them, but kubectl
// drops them from what it sends unless it applies server-side.
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

// configError is about the value at a path of keys in the configuration.
func configError(detail string, path ...string) error {
	return &crds.FieldError{Path: strings.Join(append([]string{configPath}, path...), "."), Detail: detail}
}

func (d *document) set(value any, path ...string) {
	d.edits = append(d.edits, edit{path: path, value: value})
}

func (d *document) remove(path ...string) {
	d.edits = append(d.edits, edit{path: path, remove: true})
}

// endpointPort is the port number at the end of an endpoint: "0.0.0.0:4317", "[::]:4317", ":4317", "${env:IP}:4317" and
// "tcp://0.0.0.0:4317" have one; it is 0 where there is none or only the collector will know it.
func endpointPort(endpoint string) int32 {
	m := regexp.MustCompile(`:(\d{1,5})/?$`).FindStringSubmatch(endpoint)
	if m == nil {
		return 0
	}
	return inPortRange(int64(atoi(m[1])))
}
