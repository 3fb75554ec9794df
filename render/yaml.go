package render

import (
	"errors"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// setNode sets the value at path below the mapping m, and makes what is missing on the way.
func setNode(m *yaml.Node, path []string, value any) error {
	if m.Kind != yaml.MappingNode {
		return errors.New("want a mapping")
	}
	i := keyIndex(m, path[0])
	if i < 0 {
		m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path[0]}, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"})
		i = len(m.Content) - 1
	}
	old := m.Content[i]
	if len(path) == 1 {
		var n yaml.Node
		if err := n.Encode(value); err != nil {
			return err
		}
		n.HeadComment, n.LineComment, n.FootComment = old.HeadComment, old.LineComment, old.FootComment
		m.Content[i] = &n
		return nil
	}
	if old.Kind == yaml.ScalarNode && old.Tag == "!!null" {
		m.Content[i] = &yaml.Node{
			Kind: yaml.MappingNode, Tag: "!!map",
			HeadComment: old.HeadComment, LineComment: old.LineComment, FootComment: old.FootComment,
		}
	}
	if len(m.Content[i].Content) == 0 {
		m.Content[i].Style = 0 // a block even where it was {}
	}
	return setNode(m.Content[i], path[1:], value)
}

// keyIndex is the index in m.Content of the value of a key, -1 without one.
func keyIndex(m *yaml.Node, key string) int {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return i + 1
		}
	}
	return -1
}

func hasAlias(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, hasAlias)
}

// expandAliases replaces aliases and merge keys below n by copies of what they stand for. The library has refused documents
// that would grow out of measure when it decoded their values.
func expandAliases(n *yaml.Node) {
	for i, c := range n.Content {
		if c.Kind == yaml.AliasNode {
			n.Content[i] = copyNode(c.Alias)
		}
		expandAliases(n.Content[i])
		n.Content[i].Anchor = ""
	}
	n.Anchor = ""
	if n.Kind == yaml.MappingNode {
		mergeKeys(n)
	}
}

// mergeKeys puts what "<<" brings in where the mapping has no such key itself. Of several sources the first wins.
func mergeKeys(m *yaml.Node) {
	var own, sources []*yaml.Node
	for i := 0; i+1 < len(m.Content); i += 2 {
		k, v := m.Content[i], m.Content[i+1]
		switch {
		case k.Tag != "!!merge":
			own = append(own, k, v)
		case v.Kind == yaml.SequenceNode:
			sources = append(sources, v.Content...)
		default:
			sources = append(sources, v)
		}
	}
	if len(sources) == 0 {
		return
	}
	m.Content = own
	for _, s := range sources {
		for i := 0; i+1 < len(s.Content); i += 2 {
			if keyIndex(m, s.Content[i].Value) < 0 {
				m.Content = append(m.Content, s.Content[i], copyNode(s.Content[i+1]))
			}
		}
	}
}

func copyNode(n *yaml.Node) *yaml.Node {
	out := *n
	out.Anchor = ""
	out.Content = make([]*yaml.Node, len(n.Content))
	for i, c := range n.Content {
		out.Content[i] = copyNode(c)
	}
	return &out
}

func itoa(n int32) string { return strconv.FormatInt(int64(n), 10) }

// atoi is n, or 0 for what is no number.
func atoi(s string) int32 {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}
