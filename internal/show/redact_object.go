package show

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/otelier/otelier/crds"
)

// object returns a copy of an object of the kind, redacted.
func (r *redactor) object(kind string, o map[string]any) map[string]any {
	if r.off {
		return o
	}
	out := make(map[string]any, len(o))
	for _, k := range slices.Sorted(maps.Keys(o)) {
		switch {
		case kind == "Secret" && (k == "data" || k == "stringData"):
			out[k] = r.secrets(o[k], k == "data")
		default:
			out[k] = r.value(k, o[k])
		}
	}
	return out
}

// field returns a value at a path of an object of the kind, redacted.
func (r *redactor) field(kind, path string, v any) any {
	if r.off || v == nil {
		return v
	}
	return r.mentions(r.fieldValue(kind, path, v))
}

func (r *redactor) fieldValue(kind, path string, v any) any {
	if kind == "Secret" && (within(path, ".data") || within(path, ".stringData")) {
		return r.secrets(v, within(path, ".data"))
	}
	if m := r.keyed.FindStringSubmatch(path); m != nil {
		key := m[1]
		if unquoted, err := strconv.Unquote(m[2]); err == nil {
			key = unquoted
		}
		return r.named(key, v)
	}
	if name, ok := r.variable(path); ok {
		if r.isVariable(name) {
			return r.all(v)
		}
		return r.value("value", v)
	}
	if m := r.element.FindStringSubmatch(path); m != nil { // of a list or a map
		if s, ok := v.(string); ok && isCommand(m[1]) {
			return r.arg(s, "")
		}
		return r.value("", v)
	}
	return r.value(path[strings.LastIndex(path, ".")+1:], v)
}

func within(path, root string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// variable is the name of the environment variable whose value is at path.
func (r *redactor) variable(path string) (string, bool) {
	m := r.envPath.FindStringSubmatch(path)
	if m == nil {
		return "", false
	}
	name, err := strconv.Unquote(m[1])
	return name, err == nil
}

func isCommand(field string) bool { return field == "args" || field == "command" }

// value redacts what the field called name holds.
func (r *redactor) value(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		return r.mapping(name, v)
	case []any:
		if isCommand(name) {
			return r.args(v)
		}
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = r.value("", item)
		}
		return out
	case string:
		return r.text(v)
	default:
		return v
	}
}

func (r *redactor) mapping(name string, m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	variable, _ := m["name"].(string)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		switch {
		case name == "annotations" || name == "data" || name == "args": // spec.args of a collector is a map
			out[k] = r.named(k, m[k])
		case k == "value" && r.isVariable(variable):
			out[k] = r.all(m[k])
		case k == "config":
			out[k] = r.config(m[k])
		default:
			out[k] = r.value(k, m[k])
		}
	}
	return out
}

// named redacts the value of a key that users choose.
func (r *redactor) named(key string, v any) any {
	if key == crds.AnnotationLastApplied || r.isKey(key) {
		return r.all(v)
	}
	return r.value("", v)
}

// config redacts a configuration that is a structure as if it were text.
func (r *redactor) config(v any) any {
	if _, ok := v.(map[string]any); !ok {
		return r.value("", v)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return r.all(v)
	}
	var out any
	if err := json.Unmarshal([]byte(r.yaml(string(data))), &out); err != nil {
		return r.hide(string(data))
	}
	return out
}

// all redacts every leaf that can be a secret.
func (r *redactor) all(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out[k] = r.all(v[k])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = r.all(item)
		}
		return out
	case nil, bool:
		return v
	default:
		return r.hide(fmt.Sprint(v))
	}
}

// secrets redacts the content of a Secret.
func (r *redactor) secrets(v any, encoded bool) any {
	if m, ok := v.(map[string]any); ok && encoded {
		for _, item := range m {
			s, _ := item.(string)
			r.knowEncoded(s)
		}
	}
	if s, ok := v.(string); ok && encoded {
		r.knowEncoded(s)
	}
	return r.all(v)
}

// args redacts the words of a command line, each of which may name what the next one holds.
func (r *redactor) args(list []any) []any {
	out, before := make([]any, len(list)), ""
	for i, item := range list {
		s, ok := item.(string)
		if !ok {
			out[i] = item
			continue
		}
		out[i] = r.arg(s, before)
		before = s
	}
	return out
}

// arg redacts --password=…, --set=exporters.otlp.headers.token=…, --header=Authorization: …, --config=yaml:…, the word after
// --password, and what a script has of these.
func (r *redactor) arg(s, before string) string {
	if strings.HasPrefix(before, "-") && !strings.Contains(before, "=") && r.isKey(before) {
		return r.hide(s)
	}
	if slices.Contains([]string{"-u", "--user", "--proxy-user"}, before) {
		if name, password, ok := strings.Cut(s, ":"); ok {
			return name + ":" + r.hide(password)
		}
	}
	name, rest, ok := strings.Cut(s, "=")
	switch {
	case strings.HasPrefix(s, "yaml:"):
		name, rest = "", s
	case !ok || strings.ContainsAny(name, " \n") || name[:min(1, len(name))] != "-" && strings.Contains(rest, " "):
		return r.script(s)
	case r.isKey(name):
		return name + "=" + r.hide(rest)
	default:
		name += "="
	}
	if inline, ok := strings.CutPrefix(rest, "yaml:"); ok {
		if key, value, ok := strings.Cut(inline, ": "); ok && r.isKey(key) {
			return name + "yaml:" + key + ": " + r.hide(value)
		}
		return name + "yaml:" + r.yaml(inline)
	}
	if key, value, ok := strings.Cut(rest, "="); ok && r.isKey(key) && !strings.ContainsAny(key, " ?&\n") {
		return name + key + "=" + r.hide(value)
	}
	return name + r.script(rest)
}

// script redacts a header, or what may be a command line of its own.
func (r *redactor) script(s string) string {
	s = r.second(r.headerArg, s)
	for _, re := range r.words() {
		s = r.second(re, s)
	}
	return r.text(s)
}

// text redacts a string that may hold YAML or JSON.
func (r *redactor) text(s string) string {
	if strings.Contains(s, "\n") || strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
		return r.yaml(s)
	}
	return r.inline(s)
}

// mentions replaces known secrets in all strings.
func (r *redactor) mentions(v any) any {
	switch v := v.(type) {
	case string:
		return r.mention(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out[k] = r.mentions(v[k])
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = r.mentions(item)
		}
		return out
	default:
		return v
	}
}
