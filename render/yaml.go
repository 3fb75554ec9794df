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
		m.Content = append(m.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: path[0]}, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"})
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
	if isNull(old) {
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

// removeNode removes the key at path below the mapping m, and its value. Without such a key there is nothing to remove.
func removeNode(m *yaml.Node, path []string) {
	for ; len(path) > 1; path = path[1:] {
		i := keyIndex(m, path[0])
		if i < 0 {
			return
		}
		m = m.Content[i]
	}
	i := keyIndex(m, path[0])
	if i < 0 {
		return
	}
	m.Content = slices.Delete(m.Content, i-1, i+1)
	if len(m.Content) == 0 {
		m.Style |= yaml.FlowStyle // {}
	}
}

// keyIndex is the index in m.Content of the value of a key, -1 without one.
func keyIndex(m *yaml.Node, key string) int {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if k := m.Content[i]; k.Kind == yaml.ScalarNode && k.Value == key && k.ShortTag() == "!!str" {
			return i + 1
		}
	}
	return -1
}

// isNull tells whether n is null, or nothing at all.
func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// hasAlias tells whether n holds something that stands for something else: an alias or a merge key.
func hasAlias(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || isMergeKey(n) || slices.ContainsFunc(n.Content, hasAlias)
}

func isMergeKey(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!merge" }

// expandedSize is about how many bytes n takes when its aliases are replaced by what they stand for; it stops counting beyond
// limit.
func expandedSize(n *yaml.Node, limit int) int {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	size := len(n.Value) + 1
	for _, c := range n.Content {
		if size > limit {
			break
		}
		size += expandedSize(c, limit-size)
	}
	return size
}

// expandAliases replaces aliases and merge keys below n by copies of what they stand for.
func expandAliases(n *yaml.Node) error {
	for i, c := range n.Content {
		if c.Kind == yaml.AliasNode {
			n.Content[i] = copyNode(c.Alias)
		}
		if err := expandAliases(n.Content[i]); err != nil {
			return err
		}
		n.Content[i].Anchor = ""
	}
	n.Anchor = ""
	if n.Kind == yaml.MappingNode {
		return mergeKeys(n)
	}
	return nil
}

// mergeKeys puts what "<<" brings in where the mapping has no such key itself. Of several sources the first wins.
func mergeKeys(m *yaml.Node) error {
	var own, sources []*yaml.Node
	for i := 0; i+1 < len(m.Content); i += 2 {
		k, v := m.Content[i], m.Content[i+1]
		switch {
		case !isMergeKey(k):
			own = append(own, k, v)
		case v.Kind == yaml.SequenceNode:
			sources = append(sources, v.Content...)
		default:
			sources = append(sources, v)
		}
	}
	if len(sources) == 0 {
		return nil
	}
	m.Content = own
	taken := map[any]bool{}
	for i := 0; i+1 < len(own); i += 2 {
		if _, err := take(taken, own[i]); err != nil {
			return err
		}
	}
	for _, s := range sources {
		for i := 0; i+1 < len(s.Content); i += 2 {
			isNew, err := take(taken, s.Content[i])
			if err != nil {
				return err
			}
			if isNew {
				m.Content = append(m.Content, copyNode(s.Content[i]), copyNode(s.Content[i+1]))
			}
		}
	}
	return nil
}

// take adds a key, by its value and not by how it is written, and tells whether it is new.
func take(taken map[any]bool, key *yaml.Node) (isNew bool, err error) {
	var v any
	if err := key.Decode(&v); err != nil {
		return false, err
	}
	if key.Kind != yaml.ScalarNode {
		return false, errors.New("want a scalar as key")
	}
	isNew = !taken[v]
	taken[v] = true
	return isNew, nil
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
