package reconcile

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// A version of the operator that comes to set a field which is merely good to have must not roll every pod of the cluster for it.
func TestDeferredFieldsComeWithTheNextRollout(t *testing.T) {
	const policy = "terminationMessagePolicy"
	workload := func(image, more string, replicas int64) *unstructured.Unstructured {
		u := objectFrom(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x","namespace":"ns","labels":{
			"`+crds.LabelManagedBy+`":"`+crds.ManagedBy+`","`+crds.LabelInstance+`":"ns.x"}},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},
			"spec":{"containers":[{"name":"`+crds.ContainerName+`","image":"`+image+`"`+more+`}]}}}}`)
		mustDo(t, unstructured.SetNestedField(u.Object, replicas, "spec", "replicas"))
		return u
	}
	const wanted = `,"` + policy + `":"FallbackToLogsOnError"`
	for name, tt := range map[string]struct {
		before, edit string // more of the container that was applied, and of what somebody has applied since
		want         *unstructured.Unstructured
		action       Action
		policy       bool // is set by the change
	}{
		"alone":                      {want: workload("i", wanted, 1), action: ActionNone},
		"with what rolls no pod":     {want: workload("i", wanted, 2), action: ActionUpdate},
		"with what rolls pods":       {want: workload("j", wanted, 1), action: ActionUpdate, policy: true},
		"when it is set already":     {before: wanted, want: workload("i", wanted, 1), action: ActionNone},
		"when somebody has set it":   {edit: `,"` + policy + `":"File"`, want: workload("i", wanted, 1), action: ActionUpdate, policy: true},
		"when it is no longer there": {before: wanted, want: workload("i", "", 1), action: ActionUpdate},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fixture{NewPlanner(renderForTests), newFieldManagers()}
			w := f.world()
			if _, _, err := w.apply(workload("i", tt.before, 1), crds.FieldManager, "", false); err != nil {
				t.Fatal(err)
			}
			if tt.edit != "" {
				if _, _, err := w.apply(workload("i", tt.edit, 1), "somebody", "", false); err != nil {
					t.Fatal(err)
				}
			}
			id := idOf(tt.want)
			c, err := f.planner.change(Input{Collector: &crds.Collector{Namespace: "ns", Name: "x"}, Want: []*unstructured.Unstructured{tt.want}, Live: Objects{id: w.get(id)}}, tt.want, &Plan{})
			if err != nil || c.Problem != nil {
				t.Fatal(err, c.Problem)
			}
			sets := false
			for _, field := range c.Fields {
				sets = sets || field.Op == FieldSet && field.Path == `.spec.template.spec.containers[name="`+crds.ContainerName+`"].`+policy
			}
			if c.Action != tt.action || sets != tt.policy {
				t.Errorf("%s %+v, want %s, and the policy to be set: %t", c.Action, c.Fields, tt.action, tt.policy)
			}
		})
	}
}
