package discover

import (
	"context"
	"log/slog"
	"regexp"
	"strings"
)

// hidden stands where something was.
const hidden = "…"

var (
	// quoted is a text in the quotes that %q writes, and the word before it.
	quoted = regexp.MustCompile(`(\b\w+ )?"(?:[^"\\]|\\.)*"`)
	// address is a URL in running text.
	address = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>` + "`" + `]*`)
	// login is a user with a password, without the scheme of a URL.
	login = regexp.MustCompile(`[^\s/"'@]+:[^\s/"'@][^\s"'@]*@`)
	// fragment is what net/url repeats of a URL that it could not read.
	fragment = regexp.MustCompile(`(invalid (?:port|URL escape) )"(?:[^"\\]|\\.)*"`)
	// scalar is what the parser of YAML repeats where it wanted a mapping.
	scalar = regexp.MustCompile("(cannot unmarshal !!\\w+ )`[^`]*`( into \\S*\\.)")
	// local is the own side of a connection, as net.OpError writes it.
	local = regexp.MustCompile(`(?:\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[\w.-]+):\d+->`)
)

// Redact makes the text of an error fit for conditions, events and logs. The userinfo and the query of whatever looks like a URL may
// be credentials, and become "…"; so do the pieces of it that net/url and the parser of YAML repeat. And the own address of a
// connection goes, because its port is another one each time: the same failure is the same text. It rather takes too much than too
// little. What it has made it leaves as it is.
func Redact(text string) string {
	text = fragment.ReplaceAllString(text, `${1}"`+hidden+`"`)
	text = scalar.ReplaceAllString(text, "${1}`"+hidden+"`${2}")
	text = quoted.ReplaceAllStringFunc(text, func(s string) string {
		before, inner, _ := strings.Cut(strings.TrimSuffix(s, `"`), `"`)
		switch {
		case strings.Contains(inner, "://"):
		case before == "parse ", before == "Get ", before == "Post ", before == "Head ":
		default:
			return s
		}
		return before + `"` + redactURL(inner) + `"`
	})
	text = address.ReplaceAllStringFunc(text, func(s string) string {
		url := strings.TrimRight(s, ":,;.)]")
		return redactURL(url) + s[len(url):]
	})
	text = login.ReplaceAllString(text, hidden+"@")
	return local.ReplaceAllString(text, "->")
}

// redactURL also works on what is none because a password has characters that it may not have: all is userinfo up to the last "@".
func redactURL(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if ok {
		scheme += "://"
	} else {
		scheme, rest = "", s
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = hidden + rest[i:]
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 && i+1 < len(rest) {
		rest = rest[:i+1] + hidden
	}
	return scheme + rest
}

// redacted is an error with another text.
type redacted struct {
	text  string
	cause error
}

func (r *redacted) Error() string { return r.text }

func (r *redacted) Unwrap() error { return r.cause }

// redact gives an error a text that may be shown; the same error when it has one.
func redact(err error) error {
	if err == nil {
		return nil
	}
	before := err.Error()
	text := Redact(before)
	if text == before {
		return err
	}
	return &redacted{text: text, cause: err}
}

// redactHandler redacts what is logged. Its messages and attributes are Prometheus' as well as ours.
type redactHandler struct{ slog.Handler }

func (h redactHandler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, Redact(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(redactAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, out)
}

func (h redactHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = redactAttr(a)
	}
	return redactHandler{h.Handler.WithAttrs(out)}
}

func (h redactHandler) WithGroup(name string) slog.Handler {
	return redactHandler{h.Handler.WithGroup(name)}
}

func redactAttr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, Redact(v.String()))
	case slog.KindAny:
		if err, ok := v.Any().(error); ok && err != nil {
			return slog.Any(a.Key, redact(err))
		}
		return slog.Attr{Key: a.Key, Value: v}
	case slog.KindGroup:
		var group []slog.Attr
		for _, g := range v.Group() {
			group = append(group, redactAttr(g))
		}
		return slog.Attr{Key: a.Key, Value: slog.GroupValue(group...)}
	default:
		return slog.Attr{Key: a.Key, Value: v}
	}
}
