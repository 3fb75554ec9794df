package render

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxConfig is how many bytes a ConfigMap can hold (k8s.io/kubernetes/pkg/apis/core, MaxSecretSize).
const maxConfig = 1 << 20

// print is the text of collector.yaml: the user's own when nothing has to be set.
func (d *document) print() (string, error) {
	text := d.text
	if len(d.edits) > 0 {
		root, err := d.edited()
		if err != nil {
			return "", err
		}
		if text, err = encodeNode(root); err != nil {
			return "", configError(err.Error())
		}
	}
	if len(text) > maxConfig {
		return "", configError(fmt.Sprintf("collector.yaml takes %d bytes, a ConfigMap holds at most %d", len(text), maxConfig))
	}
	return text, nil
}

// edited is the document with its edits made.
func (d *document) edited() (*yaml.Node, error) {
	root := &yaml.Node{}
	if err := yaml.Unmarshal([]byte(d.text), root); err != nil {
		return nil, configError("not YAML: " + yamlError(err))
	}
	if root.IsZero() {
		root.Kind, root.Content = yaml.DocumentNode, []*yaml.Node{{Kind: yaml.MappingNode}}
	}
	top := root.Content[0]
	if isNull(top) {
		*top = yaml.Node{Kind: yaml.MappingNode, HeadComment: top.HeadComment, LineComment: top.LineComment, FootComment: top.FootComment}
	}
	if hasAlias(top) {
		// An edit below an anchor would show wherever its alias stands, so aliases become what they stand for.
		if expandedSize(top, maxConfig) > maxConfig {
			return nil, configError(fmt.Sprintf("takes more than %d bytes without its YAML aliases, a ConfigMap holds no more", maxConfig))
		}
		if err := expandAliases(top); err != nil {
			return nil, configError(err.Error())
		}
	}
	for _, e := range d.edits {
		if e.remove {
			removeNode(top, e.path)
		} else if err := setNode(top, e.path, e.value); err != nil {
			return nil, configError(err.Error(), e.path...)
		}
	}
	return root, nil
}

// encodeNode prints n so that reading the text gives n again. The library does not print every comment and every block
// scalar in a way that it reads back, so the text is compared; where it would say something else, comments go and strings
// are quoted.
func encodeNode(n *yaml.Node) (string, error) {
	text, err := encodeYAML(n)
	if err == nil && readsAs(text, n) {
		return text, nil
	}
	simplify(n)
	text, err = encodeYAML(n)
	if err == nil && !readsAs(text, n) {
		err = errors.New("can't be printed with the defaults that it leaves open; set endpoints and service.telemetry.metrics.readers")
	}
	return text, err
}

func readsAs(text string, want *yaml.Node) bool {
	var got yaml.Node
	return yaml.Unmarshal([]byte(text), &got) == nil && sameNode(&got, want)
}

// sameNode compares what nodes say, not how they are written.
func sameNode(a, b *yaml.Node) bool {
	return a.Kind == b.Kind && a.ShortTag() == b.ShortTag() && a.Value == b.Value && slices.EqualFunc(a.Content, b.Content, sameNode)
}

func simplify(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	n.Style &= yaml.TaggedStyle
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		n.Style |= yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		simplify(c)
	}
}

// encodeTree prints a structure of JSON types. The library prints some strings as block scalars that it can't read back: they
// are quoted.
func encodeTree(tree map[string]any) (string, error) {
	if tree == nil {
		tree = map[string]any{}
	}
	if !hasAwkwardKey(tree) {
		return encodeYAML(quoted(tree))
	}
	n, err := quotedNode(tree) // a Go map can't have a key with quotes
	if err != nil {
		return "", err
	}
	return encodeYAML(n)
}

// isAwkward tells whether s has several lines and begins with white space.
func isAwkward(s string) bool {
	return strings.Contains(s, "\n") && strings.ContainsAny(s[:1], " \t\n")
}

func hasAwkwardKey(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			if isAwkward(k) || hasAwkwardKey(item) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, hasAwkwardKey)
	}
	return false
}

// quoted is a copy of v with quotes around awkward strings.
func quoted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = quoted(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = quoted(item)
		}
		return out
	case string:
		if isAwkward(v) {
			return quotedString(v)
		}
	}
	return v
}

func quotedString(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: s}
}

// quotedNode is v with quotes around all strings.
func quotedNode(v any) (*yaml.Node, error) {
	n := &yaml.Node{}
	switch v := v.(type) {
	case map[string]any:
		n.Kind = yaml.MappingNode
		for _, k := range slices.Sorted(maps.Keys(v)) {
			item, err := quotedNode(v[k])
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, quotedString(k), item)
		}
	case []any:
		n.Kind = yaml.SequenceNode
		for _, value := range v {
			item, err := quotedNode(value)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, item)
		}
	case string:
		return quotedString(v), nil
	default:
		return n, n.Encode(v)
	}
	return n, nil
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
