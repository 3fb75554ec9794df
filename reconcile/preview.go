package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/otelier/otelier/crds"
)

// Preview is a plan with what the API server answered to dry runs of it.
type Preview struct {
	Plan
	Collector *crds.Collector
	// Results are of changed objects only.
	Results map[ID]Result
	// Problem is why nothing can be planned, such as a bad spec. Then there are no changes.
	Problem *Problem
	// Warnings are about the configuration.
	Warnings []string
	// Unsupported are the paths of fields that this version does not act on.
	Unsupported []string
	// Paused collectors are unmanaged: nothing of theirs would be changed.
	Paused bool
	// Blocked is set when nothing of the plan would be done, because some of it would be refused.
	Blocked bool
	// Configs is nil when the configuration that pods read stays what it is.
	Configs *ConfigChange
}

// Result is what would become of an object.
type Result struct {
	// Object as the API server would store it; nil when there was no dry run, and after a deletion.
	Object *unstructured.Unstructured
	// Fields that would change, with what defaults and webhooks add; without a dry run those of the plan.
	Fields []FieldChange
	// Predicted says why there was no dry run; empty when there was one, or none was needed.
	Predicted string
	// Err is why the API server would refuse the change.
	Err *Problem
}

// ConfigChange is a changed configuration: the text of collector.yaml in the ConfigMap that the pods read and in the one that they
// would read.
type ConfigChange struct {
	OldName, NewName string
	Old, New         string
}

// NoDryRun is a Cluster for Planner.Preview that sends no dry run, so that all is predicted.
type NoDryRun struct{ Cluster }

// Apply refuses.
func (NoDryRun) Apply(_ context.Context, _ *unstructured.Unstructured, _ bool) (*unstructured.Unstructured, error) {
	return nil, errNotAsked{}
}

// errNotAsked is the error of a dry run that was not sent.
type errNotAsked struct{}

func (errNotAsked) Error() string { return "the API server was not asked" }

// Preview is what a pass over a collector would do. It reads, and sends dry runs, and nothing else.
func (p *Planner) Preview(ctx context.Context, cluster Cluster, s *Snapshot, u *unstructured.Unstructured) Preview {
	c, err := crds.Decode(u)
	out := Preview{Collector: c, Results: map[ID]Result{}}
	out.Plan.Collector.Namespace, out.Plan.Collector.Name = u.GetNamespace(), u.GetName()
	if err != nil {
		out.Problem = specProblem(err)
		return out
	}
	if u.GetDeletionTimestamp() != nil {
		return out // it goes with all that it owns
	}
	out.Unsupported = c.Spec.UnsupportedFields()
	if out.Paused = c.Spec.ManagementState == crds.StateUnmanaged; out.Paused {
		return out
	}
	rendered, err := p.render(c)
	if err != nil {
		out.Problem = specProblem(err)
		return out
	}
	out.Warnings = rendered.Warnings
	in, err := gather(ctx, s, cluster, c, rendered.Objects, true)
	if err != nil {
		out.Problem = asProblem(err)
		return out
	}
	plan, err := p.Build(in)
	if err != nil {
		out.Problem = asProblem(err)
		return out
	}
	out.Plan = *plan
	for i := range plan.Changes {
		if change := &plan.Changes[i]; change.Action != ActionNone {
			out.Results[change.ID] = p.try(ctx, cluster, change)
		}
	}
	out.Blocked = blocked(&out)
	out.Configs = configChange(ctx, cluster, plan, in.Live)
	return out
}

// blocked tells whether a refusal keeps all of a plan from being carried out: for a collector that runs any, for a new one that of its
// workload. Claims keep nothing else from changing.
func blocked(p *Preview) bool {
	for i := range p.Changes {
		c := &p.Changes[i]
		if p.Results[c.ID].Err == nil || c.stage == crds.StageClaims {
			continue
		}
		if len(p.Collector.Status.Inventory) > 0 || c.stage == crds.StageWorkload || c.Problem != nil {
			return true
		}
	}
	return false
}

// try asks the API server what it would make of a change.
func (p *Planner) try(ctx context.Context, cluster Cluster, c *Change) Result {
	out := Result{Fields: c.Fields, Err: c.Problem}
	if c.Problem != nil || c.Action == ActionDelete {
		return out
	}
	want := c.Want
	if c.Action == ActionReplace {
		want = renamed(c.Want) // an object of the name is there, and would be changed instead
	}
	got, err := cluster.Apply(ctx, want, true)
	switch {
	case errors.Is(err, errNotAsked{}):
		out.Predicted = "the API server was not asked"
		return out
	case apierrors.IsForbidden(err) && notAllowed(err):
		k, _ := crds.KindOf(schemaGroupKind(c.ID))
		out.Predicted = fmt.Sprintf("may not patch %s in namespace %s", k.GVR().GroupResource(), c.ID.Namespace)
		return out
	case err != nil:
		out.Err = apiProblem("apply", c.ID, err)
		return out
	}
	out.Object = got
	if c.Action == ActionReplace {
		return out
	}
	if c.Live != nil {
		if fields, err := p.differences(c, got); err == nil {
			out.Fields = fields
		}
	}
	return out
}

// notAllowed tells the answer of the authorizer from those of admission, which are Forbidden too, and are about the object.
func notAllowed(err error) bool {
	var s apierrors.APIStatus
	return errors.As(err, &s) && s.Status().Details != nil && len(s.Status().Details.Causes) == 0 && strings.Contains(s.Status().Message, " cannot patch resource ")
}

// differences are those between what is live and what the API server would make of it, with what only the plan knows of them: who owns
// what.
func (p *Planner) differences(c *Change, got *unstructured.Unstructured) ([]FieldChange, error) {
	from, to := stored(c.Live, c.Want), stored(got, c.Want)
	l, err := p.typed(from, typed.AllowDuplicates)
	if err != nil {
		return nil, err
	}
	r, err := p.typed(to, typed.AllowDuplicates)
	if err != nil {
		return nil, err
	}
	compared, err := l.Compare(r)
	if err != nil {
		return nil, err
	}
	out := changes(compared.Modified.Union(compared.Added), compared.Removed, from.Object, to.Object)
	for i := range out {
		for _, f := range c.Fields {
			if within(f.Path, out[i].Path) || within(out[i].Path, f.Path) {
				out[i].TakenFrom = append(out[i].TakenFrom, f.TakenFrom...)
				if f.Op == FieldUnset {
					out[i].Op = FieldUnset // to what the API server has as default
				}
			}
		}
	}
	for _, f := range c.Fields {
		if f.Op != FieldSet && f.Op != FieldUnset {
			out = append(out, f)
		}
	}
	sortChanges(out)
	return out, nil
}

// stored is u without what the API server counts and stamps.
func stored(u, want *unstructured.Unstructured) *unstructured.Unstructured {
	out := bare(u, want)
	if m, ok := out.Object["metadata"].(map[string]any); ok {
		for _, field := range []string{"resourceVersion", "generation", "uid", "creationTimestamp"} {
			delete(m, field)
		}
	}
	return out
}

// configChange compares the configuration that the live workload mounts with the one that it would.
func configChange(ctx context.Context, cluster Cluster, plan *Plan, live Objects) *ConfigChange {
	var out ConfigChange
	for i := range plan.Changes {
		c := &plan.Changes[i]
		if c.Want == nil {
			continue
		}
		if c.ID.Kind == "ConfigMap" && c.ID.Group == "" {
			out.NewName = c.ID.Name
			out.New, _, _ = unstructured.NestedString(c.Want.Object, "data", crds.ConfigFile)
		}
		if c.stage == crds.StageWorkload && c.Live != nil {
			out.OldName = mountedConfig(c.Live)
		}
	}
	if out.OldName == "" || out.NewName == "" || out.OldName == out.NewName {
		return nil
	}
	id := ID{"", "ConfigMap", plan.Collector.Namespace, out.OldName}
	u := live[id]
	if u == nil || u.Object["data"] == nil {
		var err error
		if u, err = cluster.Get(ctx, id); err != nil {
			return nil
		}
	}
	out.Old, _, _ = unstructured.NestedString(u.Object, "data", crds.ConfigFile)
	return &out
}

// mountedConfig is the name of the ConfigMap that a workload's pods read their configuration from.
func mountedConfig(workload *unstructured.Unstructured) string {
	path := fieldpath.MakePathOrDie("spec", "template", "spec", "volumes", fieldpath.KeyByFields("name", crds.ConfigVolume), "configMap", "name")
	name, _ := lookup(workload.Object, path)
	s, _ := name.(string)
	return s
}
