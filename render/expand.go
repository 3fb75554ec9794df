package render

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// environment is what is known of the variables that a collector's process has.
type environment struct {
	values  map[string]string
	unknown map[string]bool // set, to what is only known in the pod
	open    bool            // there are variables whose names are not known either
	links   bool            // there are those of the namespace's Services
}

// environment of the collector's container.
func (in *input) environment() environment {
	out := environment{
		values: map[string]string{}, unknown: map[string]bool{}, open: len(in.Spec.EnvFrom) > 0,
		links: in.Spec.EnableServiceLinks == nil || *in.Spec.EnableServiceLinks,
	}
	for _, e := range in.env() {
		value, ok := "", e.ValueFrom == nil
		if ok {
			value, ok = out.interpolate(deref(e.Value))
		}
		if name := deref(e.Name); ok {
			out.values[name] = value
		} else {
			out.unknown[name] = true
		}
	}
	return out
}

// interpolate replaces $(NAME) by variables before this one, as the kubelet does, and $$ by $
// (k8s.io/kubernetes/third_party/forked/golang/expansion). It fails for a NAME that is not known.
func (e environment) interpolate(s string) (string, bool) {
	var out strings.Builder
	for s != "" {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			break
		}
		out.WriteString(s[:i])
		switch end := strings.IndexByte(s[i:], ')'); {
		case s[i+1] == '$':
			out.WriteByte('$')
			s = s[i+2:]
		case s[i+1] == '(' && end > 0:
			value, ok := e.values[s[i+2:i+end]]
			if !ok {
				return "", false
			}
			out.WriteString(value)
			s = s[i+end+1:]
		default:
			out.WriteByte('$')
			s = s[i+1:]
		}
	}
	return out.String() + s, true
}

// lookup is the value of a variable; the error says why it is not known.
func (e environment) lookup(name string, fallback *string) (string, error) {
	value, ok := e.values[name]
	switch {
	case ok:
		return value, nil
	case e.unknown[name]:
		return "", fmt.Errorf("spec.env sets %s to what is only known in the pod", name)
	case e.open:
		return "", fmt.Errorf("%s may come from spec.envFrom, which is only known in the pod", name)
	case e.links && (strings.Contains(name, "_SERVICE_") || strings.Contains(name, "_PORT")):
		return "", fmt.Errorf("%s may be that of a Service, which is only known in the pod", name)
	case fallback == nil:
		return "", fmt.Errorf("spec.env does not set %s", name)
	default:
		return *fallback, nil
	}
}

const (
	maxExpansions = 1000    // within each other, as the collector has it
	maxExpanded   = 1 << 20 // bytes that the references of one value stand for, as many as a ConfigMap holds
)

// expand is v as a collector reads it: references replaced by what they stand for, then $$ by $. Keys stay as they are
// (go.opentelemetry.io/collector/confmap: expand.go, and escapeDollarSigns in resolver.go). v is not modified. The error is about a
// reference that can't be resolved here, and does not show any value.
func (e environment) expand(v any) (any, error) {
	x := expansion{e, maxExpanded}
	return x.value(v, 0)
}

// expansion is one value being expanded.
type expansion struct {
	environment
	left int // bytes that may still come
}

func (x *expansion) value(v any, depth int) (any, error) {
	var err error
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) { // in order, so that of several errors it is always the same
			if out[k], err = x.value(v[k], depth); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			if out[i], err = x.value(item, depth); err != nil {
				return nil, err
			}
		}
		return out, nil
	case string:
		return x.text(v, depth)
	default:
		return v, nil
	}
}

// text goes on until there is no reference left, because what one stands for may hold others.
func (x *expansion) text(s string, depth int) (any, error) {
	for ; depth < maxExpansions; depth++ {
		reference := findReference(s)
		if reference == "" {
			return strings.ReplaceAll(s, "$$", "$"), nil
		}
		text, err := x.resolve(reference)
		if err != nil {
			return nil, err
		}
		if x.left -= len(text) * strings.Count(s, reference); x.left < 0 {
			return nil, fmt.Errorf("references stand for more than %d bytes", maxExpanded)
		}
		if reference != s {
			s = strings.ReplaceAll(s, reference, text)
		} else if value, isText := asYAML(text); isText || x.isEmptyDefault(reference) {
			s = text
		} else {
			return x.value(value, depth+1)
		}
	}
	return nil, fmt.Errorf("more than %d references within each other", maxExpansions)
}

// findReference is the first reference in s that a collector would expand: the innermost that ends first, and is not escaped by an odd
// number of $ before it.
func findReference(s string) string {
	for {
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return ""
		}
		begin := strings.LastIndex(s[:end+1], "${")
		if begin >= 0 && (begin-len(strings.TrimRight(s[:begin], "$")))%2 == 0 {
			return s[begin : end+1]
		}
		s = s[end+1:]
	}
}

// resolve is what ${env:NAME}, ${NAME} or ${env:NAME:-DEFAULT} stands for.
func (e environment) resolve(reference string) (string, error) {
	uri := reference[2 : len(reference)-1]
	scheme, name, ok := strings.Cut(uri, ":")
	if !ok {
		scheme, name = "env", uri
	}
	switch scheme {
	case "env":
	case "file", "http", "https", "yaml":
		return "", fmt.Errorf("${%s:...} is only known in the pod", scheme)
	default:
		return "", errors.New("a reference ${...} is only known in the pod")
	}
	name, fallback, hasFallback := strings.Cut(name, ":-")
	if !isVariable(name) || strings.Contains(uri, "$") {
		return "", errors.New("${env:...} without the name of a variable")
	}
	if !hasFallback {
		return e.lookup(name, nil)
	}
	return e.lookup(name, &fallback)
}

// isEmptyDefault tells whether a reference is ${env:NAME:-} for a NAME that is not set. That is an empty text, unlike a variable that is
// empty, which is nothing.
func (e environment) isEmptyDefault(reference string) bool {
	name, ok := strings.CutSuffix(strings.TrimPrefix(reference, "${env:"), ":-}")
	_, set := e.values[name]
	return ok && !set
}

// isVariable tells whether collectors take name for that of a variable.
func isVariable(name string) bool {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// asYAML is what a variable stands for where it is a whole value. Text, and what is no YAML, is taken as it is.
func asYAML(text string) (value any, isText bool) {
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		return nil, true
	}
	_, isText = value.(string)
	return value, isText
}
