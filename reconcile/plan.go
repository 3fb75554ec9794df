package reconcile

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
)

// Objects are what is live, by ID. The fieldsV1 of their managedFields are strings that hold JSON: see slim.
type Objects map[ID]*unstructured.Unstructured

// Action is what is to be done with an object.
type Action string

// The actions.
const (
	ActionNone    Action = "unchanged"
	ActionCreate  Action = "create"
	ActionUpdate  Action = "update"
	ActionReplace Action = "replace" // deleted, but not what depends on it, and made anew
	ActionDelete  Action = "delete"
)

// Plan is what one pass over a collector would do. It is a value: making it changes nothing.
type Plan struct {
	Collector types.NamespacedName
	// Changes in the order in which they are carried out: stage by stage, then what is deleted. Unchanged objects are among them.
	Changes []Change
	// Notes are what the plan can't or does not change, and why.
	Notes []Note
}

// Change is what happens to one object.
type Change struct {
	ID     ID
	Action Action
	// Want is what is applied; nil when the object is deleted.
	Want *unstructured.Unstructured
	// Live is nil when the object is created.
	Live *unstructured.Unstructured
	// Fields that change in an object that is there, by path.
	Fields []FieldChange
	// Immutable are the paths among them that can't be changed in place, and so force a replacement.
	Immutable []string
	// Because says why an object is deleted.
	Because string
	// Problem is why this can't be done: the object is somebody else's.
	Problem *Problem

	stage crds.Stage
	delta delta
	// carried is of an object that is made anew; Want is then what was rendered with the fields of others.
	carried  *carried
	rendered *unstructured.Unstructured
	base     *unstructured.Unstructured // what was rendered, with its owner; Want is made of it
	stuck    string                     // name of the pod that the next pass will delete: see stuckThen
}

// FieldOp is what happens to a field.
type FieldOp string

// The operations on fields.
const (
	FieldSet     FieldOp = "set"     // appears, or gets another value
	FieldUnset   FieldOp = "unset"   // goes, or falls back to the API server's default
	FieldOwn     FieldOp = "own"     // has the wanted value already, and is owned by us from now on
	FieldRelease FieldOp = "release" // keeps its value, and is not owned by us any more
	FieldReorder FieldOp = "reorder" // the elements of a list
)

// FieldChange is what happens to one field, or to a part of an object that appears or goes as a whole.
type FieldChange struct {
	// Path is such as .spec.template.spec.containers[name="otc-container"].image or .metadata.labels["app.kubernetes.io/version"].
	Path string
	Op   FieldOp
	// Old and New are values as in JSON; nil where there is none. Without a prediction New of an unset field is nil, although the
	// API server may set a default.
	Old, New any
	// TakenFrom are the other managers that own the field now and lose it; of a released field those that keep it.
	TakenFrom []Owner
}

// Owner is who has set a field, from managedFields.
type Owner struct {
	Manager     string
	Operation   string // Apply or Update
	Subresource string // such as scale; empty for the object itself
	APIVersion  string
	// Time of the manager's last change to the object; zero where the API server keeps none, as for scale.
	Time time.Time
}

// NoteKind is what a note is about.
type NoteKind string

// The kinds of notes. Each is a condition of the same meaning in the status.
const (
	NoteReplicasYielded   NoteKind = crds.ConditionReplicasYielded
	NoteClaimsNotExpanded NoteKind = crds.ConditionClaimsNotExpanded
)

// Note is something that stays as it is although the spec says otherwise.
type Note struct {
	Kind    NoteKind
	Reason  string // one of crds.Reason…
	ID      ID
	Message string
	// Number of replicas that the spec said when they were yielded.
	Number int64
}

// Empty tells whether there is nothing to do.
func (p *Plan) Empty() bool {
	for i := range p.Changes {
		if p.Changes[i].Action != ActionNone {
			return false
		}
	}
	return true
}

// Consequence says what becomes of the pods and volumes of an object that is made anew, and of a pod that keeps the others from being
// rolled. It is empty when there is nothing to say.
func (c *Change) Consequence() string {
	var out []string
	if c.Action == ActionReplace {
		out = append(out, c.replacing())
	}
	if c.stuck != "" {
		out = append(out, fmt.Sprintf("pod %s, which does not come up and which the others would wait for, is deleted", c.stuck))
	}
	return strings.Join(out, "; ")
}

func (c *Change) replacing() string {
	if c.ID.Kind != "StatefulSet" {
		return "its pods are made anew at once"
	}
	for name := range templateSizes(c.Want) {
		if _, had := templateSizes(c.Live)[name]; !had {
			return fmt.Sprintf("volumes stay, and pods are made anew one by one: they lack the volume %s", name)
		}
	}
	if rollsPods(c.Fields) {
		return "volumes stay, and pods are rolled: their template changes"
	}
	return "pods and volumes stay"
}
