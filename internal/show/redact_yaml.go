package show

import (
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// yaml redacts a text that is a collector's configuration, or some other YAML, and leaves everything else in it as it is. Of text
// that is not YAML it redacts what a line says by its key.
func (r *redactor) yaml(text string) string {
	if r.off || text == "" {
		return text
	}
	s := &scan{redactor: r, text: text, lines: lineStarts(text), seen: map[*yaml.Node]bool{}, inside: map[*yaml.Node]*yaml.Node{}}
	if err := s.read(); err != nil {
		text = r.byLines(text)
	} else {
		text = s.redact()
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		end := ""
		if strings.HasSuffix(line, "\n") {
			line, end = line[:len(line)-1], "\n"
		}
		line = r.outside(line, func(s string) string { return r.second(r.comment, s) })
		b.WriteString(line + end)
	}
	return r.inline(b.String())
}

// scan finds the secrets in one text.
type scan struct {
	*redactor
	text   string
	lines  []int // where each starts
	spans  []span
	seen   map[*yaml.Node]bool
	inside map[*yaml.Node]*yaml.Node // the collection that a node is in
}

// span is a secret in the text, as it is written there.
type span struct {
	from, to int
	secret   string
}

func lineStarts(text string) []int {
	out := []int{0}
	for i := range len(text) {
		if text[i] == '\n' {
			out = append(out, i+1)
		}
	}
	return out
}

func (s *scan) read() error {
	d := yaml.NewDecoder(strings.NewReader(s.text))
	for {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.nest(&doc)
		s.walk(&doc, nil, false)
	}
}

func (s *scan) nest(n *yaml.Node) {
	for _, child := range n.Content {
		s.inside[child] = n
		s.nest(child)
	}
}

// walk notes the scalars below n that are secret: all of them when hot.
func (s *scan) walk(n *yaml.Node, path []string, hot bool) {
	switch n.Kind {
	case yaml.DocumentNode, yaml.SequenceNode:
		for _, child := range n.Content {
			s.walk(child, path, hot)
		}
	case yaml.MappingNode:
		name := ""
		for i := 0; i+1 < len(n.Content); i += 2 {
			if k := n.Content[i].Value; k == "name" || k == "key" {
				name = n.Content[i+1].Value
			}
		}
		headers := len(path) > 0 && strings.HasSuffix(strings.ToLower(path[len(path)-1]), "headers")
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, child := n.Content[i].Value, n.Content[i+1]
			s.walk(child, append(slices.Clip(path), key), hot ||
				s.isKey(key) && !isComponent(path) ||
				key == "value" && s.isVariable(name) ||
				headers && child.Kind == yaml.ScalarNode)
		}
	case yaml.AliasNode:
		if hot && !s.seen[n.Alias] {
			s.seen[n.Alias] = true
			s.walk(n.Alias, nil, true)
		}
	case yaml.ScalarNode:
		if hot && n.Tag != "!!bool" && n.Tag != "!!null" && strings.TrimSpace(n.Value) != "" && !s.isReference(n.Value) {
			s.spans = append(s.spans, s.span(n))
		}
	}
}

// isComponent tells whether the keys at path are names that users give to parts of a collector, such as bearertokenauth/tenant.
func isComponent(path []string) bool {
	switch len(path) {
	case 1:
		return slices.Contains([]string{"receivers", "processors", "exporters", "connectors", "extensions"}, path[0])
	case 2:
		return path[0] == "service" && path[1] == "pipelines"
	default:
		return false
	}
}

// redact replaces the spans. Where two overlap, the longer one counts.
func (s *scan) redact() string {
	slices.SortFunc(s.spans, func(a, b span) int {
		if a.from != b.from {
			return a.from - b.from
		}
		return b.to - a.to
	})
	var b strings.Builder
	at := 0
	for _, x := range s.spans {
		if x.from < at {
			continue
		}
		b.WriteString(s.text[at:x.from])
		b.WriteString(s.written(x))
		at = x.to
	}
	b.WriteString(s.text[at:])
	return b.String()
}

// written is the placeholder, as a string where the secret was quoted, so that JSON remains JSON.
func (s *scan) written(x span) string {
	hidden := s.hide(x.secret)
	if c := s.text[x.from]; c == '"' || c == '\'' {
		return string(c) + hidden + string(c)
	}
	if strings.HasPrefix(strings.TrimSpace(s.text), "{") {
		return `"` + hidden + `"`
	}
	return hidden
}

// span finds where a scalar begins and ends.
func (s *scan) span(n *yaml.Node) span {
	from := s.lines[n.Line-1]
	for range n.Column - 1 { // columns count characters
		_, size := utf8.DecodeRuneInString(s.text[from:])
		from += size
	}
	for from < len(s.text) && (s.text[from] == '&' || s.text[from] == '!') { // an anchor or a tag
		for from < len(s.text) && !isSpace(s.text[from]) {
			from++
		}
		for from < len(s.text) && isSpace(s.text[from]) {
			from++
		}
	}
	var to int
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		to = s.indented(n, from)
	case n.Style&yaml.DoubleQuotedStyle != 0:
		to = quotedEnd(s.text, from, '"')
	case n.Style&yaml.SingleQuotedStyle != 0:
		to = quotedEnd(s.text, from, '\'')
	default:
		to = plainEnd(s.text, from, n.Value)
	}
	if to < 0 {
		to = s.indented(n, from)
	}
	return span{from, to, n.Value}
}

// indented is the end of the line at from and of the lines after it that are indented more than the collection that n is in.
func (s *scan) indented(n *yaml.Node, from int) int {
	indent := 0
	if in := s.inside[n]; in != nil && in.Kind != yaml.DocumentNode {
		indent = in.Column
	}
	return indentedEnd(s.text, from, indent)
}

// indentedEnd is the end of the line at from and of the lines after it that are indented by at least indent; empty ones at the end
// are left out.
func indentedEnd(text string, from, indent int) int {
	lineEnd := func(at int) int {
		if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
			return at + i
		}
		return len(text)
	}
	end := lineEnd(from)
	for at := end + 1; at < len(text); {
		next := lineEnd(at)
		line := text[at:next]
		if strings.TrimSpace(line) != "" {
			if len(line)-len(strings.TrimLeft(line, " ")) < indent {
				break
			}
			end = next
		}
		at = next + 1
	}
	return end
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// quotedEnd is after the closing quote, or -1.
func quotedEnd(text string, from int, quote byte) int {
	if from >= len(text) || text[from] != quote {
		return -1
	}
	for i := from + 1; i < len(text); i++ {
		switch {
		case quote == '"' && text[i] == '\\':
			i++
		case text[i] != quote:
		case quote == '\'' && i+1 < len(text) && text[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return -1
}

// plainEnd is after the words of value, which may be on several lines, or -1.
func plainEnd(text string, from int, value string) int {
	at := from
	for word := range strings.FieldsSeq(value) {
		for at < len(text) && isSpace(text[at]) {
			at++
		}
		if !strings.HasPrefix(text[at:], word) {
			return -1
		}
		at += len(word)
	}
	return at
}

// byLines redacts text that is not YAML: what follows a secret's key, and the lines below it that are indented more.
func (r *redactor) byLines(text string) string {
	var b strings.Builder
	for at := 0; at < len(text); {
		end := len(text)
		if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i
		}
		if m := r.lineKey.FindStringSubmatchIndex(text[at:end]); m != nil {
			b.WriteString(text[at : at+m[5]])
			end = indentedEnd(text, at, m[3]-m[2]+1)
			if value := text[at+m[1] : end]; strings.TrimSpace(value) != "" {
				b.WriteString(" " + r.hide(value))
			}
		} else {
			b.WriteString(text[at:end])
		}
		if end < len(text) {
			b.WriteByte('\n')
		}
		at = end + 1
	}
	return b.String()
}
