// Package show prints what would be changed: for people, for programs, and as what the API server would be sent.
package show

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/reconcile"
)

// Format is how plans are printed.
type Format string

// The formats.
const (
	Text  Format = "text"
	JSON  Format = "json"
	YAML  Format = "yaml"
	Name  Format = "name"  // what would be changed, an object a line, such as statefulset.apps/gateway-collector
	Patch Format = "patch" // what would be applied, as YAML
)

// Collector is a collector and what would be done for it.
type Collector struct {
	reconcile.Preview
	// Source is the collector as it was read, or proposed; errors may quote it, and what is secret in it is not printed. May be nil.
	Source *unstructured.Unstructured
	// Predicted is why the API server was not asked what it would make of the proposed collector; empty when it was.
	Predicted string
}

// Options say how to print.
type Options struct {
	Format Format
	// Quiet prints the counts and nothing else, as text.
	Quiet bool
	// Unchanged lists also what would not be changed.
	Unchanged bool
	// ShowSecrets prints secrets, instead of ‹redacted #3› where the same number is the same secret.
	ShowSecrets bool
	// Color paints the text. Nothing is said by colours alone.
	Color bool
	// Now is the time that ages are relative to.
	Now time.Time
	// Errors is where errors are written that the format has no place for: those of Name, Patch and Quiet.
	Errors io.Writer
}

// Summary counts objects, and for those that would be changed in place their fields.
type Summary struct {
	Create    int `json:"create"`
	Change    int `json:"change"`
	Fields    int `json:"fields"`    // of the objects to change
	TakenBack int `json:"takenBack"` // of these fields, those that somebody else has set
	Replace   int `json:"replace"`
	Delete    int `json:"delete"`
	Unchanged int `json:"unchanged"`
	Errors    int `json:"errors"`  // objects that can't be brought to what is wanted, and collectors that can't be planned
	Blocked   int `json:"blocked"` // objects that would be changed were it not for an error of their collector
}

// Differences tells whether anything would be changed.
func (s Summary) Differences() bool { return s.Create+s.Change+s.Replace+s.Delete > 0 }

// String is such as "2 to create, 1 to change (3 fields, 1 taken back), 14 unchanged, 1 error (5 changes blocked)". What there is none
// of is left out.
func (s Summary) String() string {
	var parts []string
	add := func(n int, format string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf(format, n))
		}
	}
	add(s.Create, "%d to create")
	if s.Change > 0 {
		of := plural(s.Fields, "field")
		if s.TakenBack > 0 {
			of += fmt.Sprintf(", %d taken back", s.TakenBack)
		}
		parts = append(parts, fmt.Sprintf("%d to change (%s)", s.Change, of))
	}
	add(s.Replace, "%d to replace")
	add(s.Delete, "%d to delete")
	add(s.Unchanged, "%d unchanged")
	if s.Errors > 0 {
		parts = append(parts, plural(s.Errors, "error"))
	}
	if s.Blocked > 0 && len(parts) > 0 {
		parts[len(parts)-1] += " (" + plural(s.Blocked, "change") + " blocked)"
	}
	if len(parts) == 0 {
		return "0 unchanged"
	}
	return strings.Join(parts, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ErrSecrets is that of a patch which would hold what is not to be printed: without it, it could not be applied.
var ErrSecrets = errors.New("the patch holds secrets, and would be of no use without them: print them with --show-secrets")

// Write prints the collectors in the order in which they are given.
func Write(w io.Writer, collectors []Collector, o Options) (Summary, error) {
	r := newRedactor(o.ShowSecrets)
	learn(r, collectors)
	doc := newDocument(r, collectors, o.Unchanged)
	numbers := newNumbering(r)
	if o.Errors != nil && (o.Quiet || o.Format == Name || o.Format == Patch) {
		var b bytes.Buffer
		if err := writeErrors(&b, doc); err != nil {
			return doc.Summary, err
		}
		if _, err := io.WriteString(o.Errors, numbers.inOrder(b.String())); err != nil {
			return doc.Summary, err
		}
	}
	var b bytes.Buffer
	if err := write(&b, r, doc, collectors, o); err != nil {
		return doc.Summary, err
	}
	_, err := io.WriteString(w, numbers.inOrder(b.String()))
	return doc.Summary, err
}

func write(w io.Writer, r *redactor, doc *document, collectors []Collector, o Options) error {
	switch {
	case o.Quiet:
		_, err := fmt.Fprintln(w, doc.Summary)
		return err
	case o.Format == JSON:
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(doc)
	case o.Format == YAML:
		data, err := yaml.Marshal(doc)
		if err != nil {
			return fmt.Errorf("print the plan: %w", err)
		}
		_, err = w.Write(data)
		return err
	case o.Format == Name:
		return writeNames(w, doc)
	case o.Format == Patch:
		return writePatch(w, r, collectors)
	default:
		return writeText(w, doc, o)
	}
}

func writeNames(w io.Writer, doc *document) error {
	for _, c := range doc.Collectors {
		if c.Blocked {
			continue
		}
		for _, ch := range c.Changes {
			if ch.Error != "" || ch.Action == reconcile.ActionNone {
				continue
			}
			if _, err := fmt.Fprintln(w, ch.resource()); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeErrors(w io.Writer, doc *document) error {
	for _, c := range doc.Collectors {
		if c.Problem != "" {
			if _, err := fmt.Fprintf(w, "%s/%s: %s\n", c.Namespace, c.Name, oneLine(c.Problem)); err != nil {
				return err
			}
		}
		for _, ch := range c.Changes {
			if ch.Error == "" {
				continue
			}
			if _, err := fmt.Fprintf(w, "%s/%s: %s\n", c.Namespace, c.Name, oneLine(ch.Error)); err != nil {
				return err
			}
		}
	}
	return nil
}

func oneLine(s string) string {
	return clean(strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' }), " "))
}
