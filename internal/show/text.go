package show

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/reconcile"
)

// What a line may hold before the values of a field get lines of their own, in characters. Short values stay on the line of their
// path however long that is, so that a line has all that a search needs.
const (
	maxValue = 100
	maxLine  = 160 // with a list or an object
)

// printer writes text. Errors are those of the writer that it buffers for.
type printer struct {
	*bufio.Writer
	color bool
	now   time.Time

	// The longest of each.
	kinds, symbols int
}

// piece is a part of a line in one style.
type piece struct {
	style style
	text  string
}

func writeText(w io.Writer, doc *document, o Options) error {
	p := &printer{Writer: bufio.NewWriter(w), color: o.Color, now: o.Now}
	var shown []collector
	for _, c := range doc.Collectors {
		if c.shown(o.Unchanged, len(doc.Collectors) == 1) {
			shown = append(shown, c)
		}
		for _, ch := range c.Changes {
			symbol, _ := ch.symbol()
			p.kinds, p.symbols = max(p.kinds, len(ch.Kind)), max(p.symbols, utf8.RuneCountInString(symbol))
		}
	}
	for i, c := range shown {
		if i > 0 {
			p.line()
		}
		p.collector(c, len(shown) > 1)
	}
	p.line(piece{bold, doc.Summary.String()})
	return p.Flush()
}

// shown tells whether there is anything to say. What stays as it is for long, such as a warning, is not said of a collector that is as
// it should be: a fleet without changes is one line.
func (c collector) shown(unchanged, alone bool) bool {
	return len(c.Changes) > 0 || c.Problem != "" || c.Config != nil || c.Paused && alone ||
		unchanged && (c.Paused || len(c.Notes)+len(c.Warnings) > 0)
}

func (p *printer) line(pieces ...piece) {
	for _, x := range pieces {
		_, _ = p.WriteString(x.style.paint(clean(x.text), p.color)) // Flush returns the error
	}
	_ = p.WriteByte('\n')
}

func (p *printer) collector(c collector, heading bool) {
	if heading || c.Problem != "" || c.Predicted != "" || c.Paused {
		pieces := []piece{{bold, fmt.Sprintf("%s %s/%s", crds.Kind, c.Namespace, c.Name)}}
		if c.Paused {
			pieces = append(pieces, piece{plain, "   unmanaged: nothing would be changed"})
		}
		p.line(append(pieces, predicted(c.Predicted)...)...)
	}
	if c.Problem != "" {
		p.failure(c.Problem, "")
	}
	for _, w := range c.Warnings {
		p.line(piece{yellow, "warning: "}, piece{plain, w})
	}
	for _, n := range c.Notes {
		p.line(piece{cyan, "note: "}, piece{plain, n.String()})
	}
	config := c.Config
	for _, ch := range c.Changes {
		p.change(ch)
		if config != nil && ch.Kind == "ConfigMap" && ch.Name == config.NewName {
			p.line(piece{yellow, "    ~ "}, piece{plain, crds.ConfigFile + "   instead of that of " + config.OldName})
			p.hunks(hunks(config.old, config.new))
			config = nil
		}
	}
	if config != nil { // the ConfigMap is there already, from an earlier version
		p.line(piece{yellow, fmt.Sprintf("%-*s ", p.symbols, "~")}, piece{plain, fmt.Sprintf("%s   of ConfigMap %s instead of %s", crds.ConfigFile, config.NewName, config.OldName)})
		p.hunks(hunks(config.old, config.new))
	}
	if c.pending() {
		p.line(piece{red, "nothing of this is done until the error is resolved"})
	}
}

// pending tells whether there is something that is not done because of an error.
func (c collector) pending() bool {
	return c.Blocked && slices.ContainsFunc(c.Changes, func(c change) bool { return c.Error == "" && c.Action != reconcile.ActionNone })
}

// String is such as "persistentvolumeclaim/data-0: stays at 1Gi".
func (n note) String() string {
	if strings.HasPrefix(n.Message, n.Object+":") {
		return n.Message
	}
	return n.Object + ": " + n.Message
}

func predicted(why string) []piece {
	if why == "" {
		return nil
	}
	return []piece{{dim, "   ≈ predicted: " + why}}
}

func (p *printer) failure(message, indent string) {
	label := "error: "
	for line := range strings.Lines(message) {
		p.line(piece{plain, indent}, piece{red, label}, piece{plain, strings.TrimSpace(line)})
		label = "       "
	}
}

func (p *printer) change(c change) {
	symbol, s := c.symbol()
	name := c.Name
	if c.Namespace != "" {
		name = c.Namespace + "/" + name
	}
	pieces := []piece{{s, fmt.Sprintf("%-*s", p.symbols, symbol)}, {bold, fmt.Sprintf(" %-*s %s", p.kinds, c.Kind, name)}}
	if r := c.reason(); r != "" {
		pieces = append(pieces, piece{plain, "   " + r})
	}
	p.line(append(pieces, predicted(c.Predicted)...)...)
	if c.Error != "" {
		p.failure(c.Error, "    ")
	}
	for _, f := range c.Fields {
		p.field(f, c.Predicted != "")
	}
}

func (c change) symbol() (string, style) {
	if c.Error != "" {
		return "✗", red
	}
	switch c.Action {
	case reconcile.ActionCreate:
		return "+", green
	case reconcile.ActionUpdate:
		return "~", yellow
	case reconcile.ActionReplace:
		return "-/+", magenta
	case reconcile.ActionDelete:
		return "-", red
	default:
		return "=", dim
	}
}

// reason is why an object is replaced or deleted, and what else becomes of it.
func (c change) reason() string {
	switch {
	case c.Action == reconcile.ActionDelete:
		return cmp.Or(c.Because, "no longer rendered")
	case c.Action == reconcile.ActionUpdate:
		return c.Consequence
	case c.Action != reconcile.ActionReplace:
		return c.Because
	}
	reason := strings.Join(c.Immutable, ", ")
	if len(c.Immutable) == 1 {
		reason += " is immutable"
	} else {
		reason += " are immutable"
	}
	reason += ": deleted and made anew"
	if c.Consequence != "" {
		reason += ", " + c.Consequence
	}
	return reason
}

func (p *printer) field(f field, predicted bool) {
	symbol, s := f.symbol()
	remark := p.remark(f, predicted)
	values := f.values()
	const indent = "    "
	length := utf8.RuneCountInString(indent + symbol + f.Path + values + remark)
	if f.multiline() || length > maxLine && (structure(f.before()) || structure(f.after())) {
		p.line(piece{plain, indent}, piece{s, symbol}, piece{plain, " " + f.Path}, piece{dim, remark})
		p.hunks(hunks(block(f.before()), block(f.after())))
		return
	}
	p.line(piece{plain, indent}, piece{s, symbol}, piece{plain, " " + f.Path + values}, piece{dim, remark})
}

func (f field) symbol() (string, style) {
	switch {
	case len(f.TakenFrom) > 0 && f.Op != reconcile.FieldRelease:
		return "!", magenta
	case f.Op == reconcile.FieldOwn:
		return "=", dim
	case f.Op == reconcile.FieldRelease, f.Op == reconcile.FieldUnset && f.New == nil:
		return "-", red
	case f.Op == reconcile.FieldSet && f.Old == nil:
		return "+", green
	default:
		return "~", yellow
	}
}

// before and after are the values that matter: what is only owned or released stays.
func (f field) before() any {
	if f.Op == reconcile.FieldOwn || f.Op == reconcile.FieldRelease {
		return nil
	}
	return f.Old
}

func (f field) after() any {
	if f.Op == reconcile.FieldOwn || f.Op == reconcile.FieldRelease {
		return nil
	}
	return f.New
}

func (f field) multiline() bool {
	return slices.ContainsFunc([]any{f.before(), f.after()}, func(v any) bool {
		s := compact(v)
		return strings.Contains(s, `\n`) || utf8.RuneCountInString(s) > maxValue
	})
}

func structure(v any) bool {
	switch v.(type) {
	case map[string]any, []any:
		return true
	default:
		return false
	}
}

// values is such as `   "a" → "b"`.
func (f field) values() string {
	old, now := f.before(), f.after()
	switch {
	case old == nil && now == nil && f.Op == reconcile.FieldSet:
		return "   null"
	case old == nil && now == nil:
		return ""
	case old == nil:
		return "   " + compact(now)
	case now == nil:
		return "   " + compact(old)
	default:
		return "   " + compact(old) + " → " + compact(now)
	}
}

// remark is what is to be said about a field besides its values.
func (p *printer) remark(f field, predicted bool) string {
	from := make([]string, 0, len(f.TakenFrom))
	for _, o := range f.TakenFrom {
		from = append(from, o.String(p.now))
	}
	switch {
	case f.Op == reconcile.FieldRelease && len(from) > 0:
		managers := make([]string, 0, len(f.TakenFrom))
		for _, o := range f.TakenFrom {
			managers = append(managers, o.Manager)
		}
		return " (released to " + strings.Join(managers, ", ") + ")"
	case f.Op == reconcile.FieldRelease:
		return " (released; it keeps its value)"
	case f.Op == reconcile.FieldOwn && len(from) == 0:
		return " (already so; will be owned)"
	case len(from) > 0:
		return "   set by " + strings.Join(from, " and ") + "; will be taken back"
	case f.Op == reconcile.FieldReorder:
		return " (reordered)"
	case f.Op == reconcile.FieldUnset && f.New != nil:
		return " (reset to default)"
	case f.Op == reconcile.FieldUnset && predicted:
		return " (or reset to its default, if it has one)"
	default:
		return ""
	}
}

// String is such as "kubectl through scale", "kubectl-edit 2h ago" or "helm (server-side apply) 3d ago".
func (o owner) String(now time.Time) string {
	s := o.Manager
	if o.Operation == string(metav1.ManagedFieldsOperationApply) {
		s += " (server-side apply)"
	}
	if o.Subresource != "" {
		s += " through " + o.Subresource
	}
	if !o.Time.IsZero() {
		s += " " + age(now.Sub(o.Time)) + " ago"
	}
	return s
}

// age is d in its largest unit.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(0, d); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/day)
	}
}

// hunks prints a line diff below a field.
func (p *printer) hunks(hs []hunk) {
	const indent = "        "
	for _, h := range hs {
		if h.old > 1 || h.new > 1 || len(hs) > 1 {
			p.line(piece{dim, indent + h.header()})
		}
		for _, e := range h.edits {
			s := plain
			switch e.op {
			case '-':
				s = red
			case '+':
				s = green
			}
			if e.line == "" && e.op == ' ' {
				p.line()
				continue
			}
			p.line(piece{plain, indent}, piece{s, string(e.op) + " " + e.line})
		}
	}
}
