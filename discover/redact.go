package discover

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strings"

	yamlv2 "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"
)

// minVerbatim is how long a value of a document must be, in bytes, to be found in a message wherever it is. Shorter ones are words of
// messages by chance, and are found in quotes only.
const minVerbatim = 8

// WithoutValues is a message about YAML without the values that it quotes: one may be a password at the wrong place.
func WithoutValues(message string) string {
	lines := strings.Split(message, "\n")
	for i, line := range lines {
		lines[i] = regexp.MustCompile("`.*`").ReplaceAllString(line, "`…`")
	}
	return strings.Join(lines, "\n")
}

// rejection is what Prometheus says of a scrape config, on one line, without the values in it and without the numbers of lines, which
// are those of a document that nobody has seen.
func rejection(err error, nodes ...*yaml.Node) error {
	messages := []string{err.Error()}
	// What a value is wrong for is said in one message each, so that the value's own quotes don't matter.
	if e, ok := errors.AsType[*yamlv2.TypeError](err); ok {
		messages = slices.Clone(e.Errors)
	}
	var values, keys []string
	for _, n := range nodes {
		values, keys = scalars(n, values, keys)
	}
	// The longest first: one may be a part of another.
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
	for i, m := range messages {
		m = regexp.MustCompile(`(?s)`+"`.*`").ReplaceAllString(m, "`…`")
		m = regexp.MustCompile(`\bline \d+: `).ReplaceAllString(m, "")
		m = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`).ReplaceAllStringFunc(m, func(quoted string) string {
			if slices.Contains(keys, strings.Trim(quoted, `"`)) {
				return quoted
			}
			return `"…"`
		})
		for _, v := range values {
			if len(v) >= minVerbatim {
				m = strings.ReplaceAll(m, v, "…")
			}
		}
		messages[i] = strings.Join(strings.Fields(m), " ")
	}
	return errors.New(strings.Join(messages, "; "))
}

// scalars collects the values of a document, and its keys.
func scalars(n *yaml.Node, values, keys []string) (allValues, allKeys []string) {
	switch {
	case n == nil:
	case n.Kind == yaml.ScalarNode:
		values = append(values, n.Value)
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			keys = append(keys, n.Content[i].Value)
			values, keys = scalars(n.Content[i+1], values, keys)
		}
	default:
		for _, c := range n.Content {
			values, keys = scalars(c, values, keys)
		}
	}
	return values, keys
}
