package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"sigs.k8s.io/yaml"
)

// compact is v as JSON on one line. What is redacted as a whole has no quotes.
func compact(v any) string {
	if s, ok := v.(string); ok && strings.HasPrefix(s, "‹redacted #") && strings.Index(s, "›") == len(s)-len("›") {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// block is v as lines: strings as they are, structures as YAML, nothing for nil.
func block(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case map[string]any, []any:
		data, err := yaml.Marshal(v)
		if err != nil {
			return compact(v)
		}
		return string(data)
	default:
		return compact(v)
	}
}

// clean makes what terminals would act upon visible: an annotation must not be able to hide what is printed after it.
func clean(s string) string {
	dangerous := func(r rune) bool {
		return unicode.IsControl(r) && r != '\t' || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
	}
	if !strings.ContainsFunc(s, dangerous) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if dangerous(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// style is how something is painted, as the parameters of the SGR sequence (ECMA-48, 8.3.117).
type style string

// The styles.
const (
	plain   style = ""
	bold    style = "1"
	dim     style = "2"
	red     style = "31"
	green   style = "32"
	yellow  style = "33"
	magenta style = "35"
	cyan    style = "36"
)

func (s style) paint(text string, color bool) string {
	if !color || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}
