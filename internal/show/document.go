package show

import (
	"strings"
	"time"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/reconcile"
)

// The version of the printed document. Fields may be added to it without a new one.
const (
	documentVersion = "otelier.io/v1alpha1"
	documentKind    = "Plan"
)

// document is what is printed, in which everything secret is redacted. All formats but the patch are made of it.
type document struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Collectors []collector `json:"collectors"`
	Summary    Summary     `json:"summary"`
}

type collector struct {
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Paused    bool     `json:"paused,omitempty"`
	Blocked   bool     `json:"blocked,omitempty"` // by errors: none of the changes is made
	Predicted string   `json:"predicted,omitempty"`
	Problem   string   `json:"problem,omitempty"`
	Changes   []change `json:"changes"`
	Config    *config  `json:"config,omitempty"`
	Notes     []note   `json:"notes,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

type change struct {
	Group     string           `json:"group"`
	Kind      string           `json:"kind"`
	Namespace string           `json:"namespace,omitempty"`
	Name      string           `json:"name"`
	Action    reconcile.Action `json:"action"`
	Fields    []field          `json:"fields,omitempty"`
	Immutable []string         `json:"immutable,omitempty"`
	Because   string           `json:"because,omitempty"`
	// Consequence is what a change means for pods and volumes beyond being rolled.
	Consequence string `json:"consequence,omitempty"`
	Predicted   string `json:"predicted,omitempty"`
	Error       string `json:"error,omitempty"`
}

type field struct {
	Path      string            `json:"path"`
	Op        reconcile.FieldOp `json:"op"`
	Old       any               `json:"old,omitempty"`
	New       any               `json:"new,omitempty"`
	TakenFrom []owner           `json:"takenFrom,omitempty"`
}

type owner struct {
	Manager     string    `json:"manager"`
	Operation   string    `json:"operation"`
	Subresource string    `json:"subresource,omitempty"`
	Time        time.Time `json:"time,omitzero"`
}

// config is the collector.yaml that pods read now, and the one that they would read.
type config struct {
	OldName string `json:"oldName"`
	NewName string `json:"newName"`
	Diff    string `json:"diff"` // unified, with 3 lines around each change

	old, new string
}

type note struct {
	Kind    reconcile.NoteKind `json:"kind"`
	Object  string             `json:"object"`
	Reason  string             `json:"reason,omitempty"`
	Message string             `json:"message"`
}

// resource is such as "statefulset.apps/gateway-collector", as kubectl has it.
func (c change) resource() string {
	kind := strings.ToLower(c.Kind)
	if c.Group != "" {
		kind += "." + c.Group
	}
	return kind + "/" + c.Name
}

func (c change) takenBack() int {
	n := 0
	for _, f := range c.Fields {
		if len(f.TakenFrom) > 0 {
			n++
		}
	}
	return n
}

// newDocument reads the collectors. Unchanged objects are counted, and listed if asked for.
func newDocument(r *redactor, collectors []Collector, unchanged bool) *document {
	doc := &document{APIVersion: documentVersion, Kind: documentKind, Collectors: make([]collector, 0, len(collectors))}
	for i := range collectors {
		c := &collectors[i]
		out := collector{
			Namespace: c.Plan.Collector.Namespace, Name: c.Plan.Collector.Name, Paused: c.Paused, Blocked: c.Blocked,
			Predicted: r.message(c.Predicted), Changes: []change{},
		}
		if c.Problem != nil {
			out.Problem = r.message(c.Problem.Message)
			doc.Summary.Errors++
		}
		if !c.Paused {
			for _, ch := range c.Changes {
				shown := newChange(r, ch, c.Results)
				doc.Summary.count(shown, c.Blocked)
				if unchanged || shown.Action != reconcile.ActionNone || shown.Error != "" {
					out.Changes = append(out.Changes, shown)
				}
			}
			out.Config = newConfig(r, c.Configs)
		}
		for _, n := range c.Notes {
			out.Notes = append(out.Notes, note{n.Kind, n.ID.String(), n.Reason, r.message(n.Message)})
		}
		for _, w := range c.Warnings {
			out.Warnings = append(out.Warnings, r.message(w))
		}
		for _, path := range c.Unsupported {
			out.Warnings = append(out.Warnings, path+": set, but not acted on by this version")
		}
		doc.Collectors = append(doc.Collectors, out)
	}
	return doc
}

func newChange(r *redactor, c reconcile.Change, results map[reconcile.ID]reconcile.Result) change {
	result := results[c.ID]
	out := change{
		Group: c.ID.Group, Kind: c.ID.Kind, Namespace: c.ID.Namespace, Name: c.ID.Name,
		Action: c.Action, Because: r.message(c.Because), Predicted: r.message(result.Predicted),
	}
	for _, p := range c.Immutable {
		out.Immutable = append(out.Immutable, r.message(p))
	}
	switch {
	case c.Problem != nil:
		out.Error = r.message(c.Problem.Message)
	case result.Err != nil:
		out.Error = r.message(result.Err.Message)
	}
	fields := effective(c, results)
	if out.Action == reconcile.ActionUpdate && out.Error == "" && len(fields) == 0 {
		out.Action = reconcile.ActionNone // the API server would make it what it is
	}
	if out.Action != reconcile.ActionNone {
		out.Consequence = c.Consequence()
	}
	for _, f := range fields {
		shown := field{Path: r.message(f.Path), Op: f.Op, Old: r.field(c.ID.Kind, f.Path, f.Old), New: r.field(c.ID.Kind, f.Path, f.New)}
		for _, o := range f.TakenFrom {
			shown.TakenFrom = append(shown.TakenFrom, owner{o.Manager, o.Operation, o.Subresource, o.Time.UTC()})
		}
		out.Fields = append(out.Fields, shown)
	}
	return out
}

// effective are the fields that change: as the API server has it, where it was asked.
func effective(c reconcile.Change, results map[reconcile.ID]reconcile.Result) []reconcile.FieldChange {
	if c.Action != reconcile.ActionUpdate && c.Action != reconcile.ActionReplace {
		return nil
	}
	if r, ok := results[c.ID]; ok {
		return r.Fields
	}
	return c.Fields
}

func newConfig(r *redactor, c *reconcile.ConfigChange) *config {
	if c == nil || c.OldName == "" {
		return nil // nothing runs yet
	}
	out := &config{OldName: c.OldName, NewName: c.NewName, old: r.mention(r.yaml(c.Old)), new: r.mention(r.yaml(c.New))}
	out.Diff = unified(hunks(out.old, out.new))
	return out
}

func (s *Summary) count(c change, blocked bool) {
	if c.Error != "" {
		s.Errors++
		return
	}
	if blocked && c.Action != reconcile.ActionNone {
		s.Blocked++
		return
	}
	switch c.Action {
	case reconcile.ActionCreate:
		s.Create++
	case reconcile.ActionUpdate:
		s.Change++
		s.Fields += len(c.Fields)
		s.TakenBack += c.takenBack()
	case reconcile.ActionReplace:
		s.Replace++
	case reconcile.ActionDelete:
		s.Delete++
	default:
		s.Unchanged++
	}
}

// learn has the redactor read all that may be quoted later, so that secrets are known wherever they are mentioned.
func learn(r *redactor, collectors []Collector) {
	if r.off {
		return
	}
	for i := range collectors {
		c := &collectors[i]
		if c.Source != nil {
			r.object(crds.Kind, c.Source.Object)
		}
		for _, ch := range c.Changes {
			if ch.Action == reconcile.ActionNone && ch.Problem == nil {
				continue
			}
			if ch.Want != nil {
				r.object(ch.ID.Kind, ch.Want.Object)
			}
			if ch.Live != nil {
				r.object(ch.ID.Kind, ch.Live.Object)
			}
		}
	}
	newDocument(r, collectors, true)
	r.learned()
}
