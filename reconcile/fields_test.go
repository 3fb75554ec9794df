package reconcile

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// TestFieldsCollapse shows what a change looks like to whoever reads it: at the highest path that only one side has.
func TestFieldsCollapse(t *testing.T) {
	deployment := func(pod, more string) string {
		return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x","namespace":"ns"%s},"spec":{"selector":{"matchLabels":{"a":"b"}},
			"template":{"metadata":{"labels":{"a":"b"}},"spec":%s}}}`, more, pod)
	}
	service := func(selector, ports string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Service","metadata":{"name":"x","namespace":"ns"},"spec":{"selector":%s,"ports":%s}}`, selector, ports)
	}
	c1, c2 := `{"name":"c1","image":"i","args":["a","b"]}`, `{"name":"c2","image":"i","env":[{"name":"A","value":"1"}]}`
	const pod = ".spec.template.spec"
	tests := map[string]struct {
		from, to string
		want     []string
	}{
		"an added container is one change": {
			deployment(`{"containers":[`+c1+`]}`, ""), deployment(`{"containers":[`+c1+`,`+c2+`]}`, ""),
			[]string{"set " + pod + `.containers[name="c2"]`},
		},
		"so is one that goes": {
			deployment(`{"containers":[`+c1+`,`+c2+`]}`, ""), deployment(`{"containers":[`+c1+`]}`, ""),
			[]string{"unset " + pod + `.containers[name="c2"]`},
		},
		"a value in a container": {
			deployment(`{"containers":[`+c1+`]}`, ""), deployment(`{"containers":[{"name":"c1","image":"j","args":["a","b"]}]}`, ""),
			[]string{"set " + pod + `.containers[name="c1"].image`},
		},
		"an atomic list changes as a whole": {
			deployment(`{"containers":[`+c1+`]}`, ""), deployment(`{"containers":[{"name":"c1","image":"i","args":["b","a"]}]}`, ""),
			[]string{"set " + pod + `.containers[name="c1"].args`},
		},
		"an atomic map changes as a whole": {
			service(`{"a":"b"}`, `[{"port":1,"protocol":"TCP"}]`), service(`{"c":"d"}`, `[{"port":1,"protocol":"TCP"}]`), []string{"set .spec.selector"},
		},
		"a node selector is atomic": {
			deployment(`{"containers":[`+c1+`],"nodeSelector":{"a":"1"}}`, ""), deployment(`{"containers":[`+c1+`],"nodeSelector":{"a":"2"}}`, ""),
			[]string{"set " + pod + ".nodeSelector"},
		},
		"order alone": {
			deployment(`{"containers":[`+c1+`,`+c2+`]}`, ""), deployment(`{"containers":[`+c2+`,`+c1+`]}`, ""), []string{"reorder " + pod + ".containers"},
		},
		"an element of a set": {
			deployment(`{"containers":[`+c1+`]}`, `,"finalizers":["a/b"]`), deployment(`{"containers":[`+c1+`]}`, `,"finalizers":["a/b","c/d"]`),
			[]string{`set .metadata.finalizers[="c/d"]`},
		},
		"ports of one number and two protocols": {
			service(`{"a":"b"}`, `[{"port":1,"protocol":"TCP","name":"t"}]`),
			service(`{"a":"b"}`, `[{"port":1,"protocol":"TCP","name":"t"},{"port":1,"protocol":"UDP","name":"u"}]`),
			[]string{`set .spec.ports[port=1,protocol="UDP"]`},
		},
		"all labels at once": {
			deployment(`{"containers":[`+c1+`]}`, ""), deployment(`{"containers":[`+c1+`]}`, `,"labels":{"a":"1","b":"2"}`), []string{"set .metadata.labels"},
		},
		"one label more": {
			deployment(`{"containers":[`+c1+`]}`, `,"labels":{"a":"1"}`), deployment(`{"containers":[`+c1+`]}`, `,"labels":{"a":"1","b":"2"}`),
			[]string{"set .metadata.labels.b"},
		},
	}
	planner := NewPlanner(renderForTests)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			from := objectFrom(t, tt.from)
			_, _, err := w.apply(from, crds.FieldManager, "", false)
			mustDo(t, err)
			d, err := planner.delta(w.get(idOf(from)), objectFrom(t, tt.to))
			mustDo(t, err)
			var got []string
			for _, f := range d.fields(w.get(idOf(from))) {
				got = append(got, string(f.Op)+" "+f.Path)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestFieldsSayWhoseTheyWere(t *testing.T) {
	planner, w := NewPlanner(renderForTests), newWorld()
	want := setOf(t, 2)
	id := idOf(want)
	_, _, err := w.apply(want, crds.FieldManager, "", false)
	mustDo(t, err)
	mustDo(t, editBy("kubectl-edit", 5)(w, id))
	d, err := planner.delta(w.get(id), want)
	mustDo(t, err)
	fields := d.fields(w.get(id))
	if len(fields) != 1 || fields[0].Path != ".spec.replicas" || fields[0].Old != int64(5) || fields[0].New != int64(2) ||
		len(fields[0].TakenFrom) != 1 || fields[0].TakenFrom[0].Manager != "kubectl-edit" || fields[0].TakenFrom[0].Time.IsZero() {
		t.Errorf("edited by another: got %+v", fields)
	}

	_, _, err = w.apply(want, "flux", "", false) // the same, as somebody else's too
	mustDo(t, err)
	mustDo(t, w.update(id, "helm", "", setting("t", "metadata", "annotations", "k")))
	want.SetAnnotations(map[string]string{"k": "t"})
	if d, err = planner.delta(w.get(id), want); err != nil {
		t.Fatal(err)
	}
	if fields = d.fields(w.get(id)); !slices.ContainsFunc(fields, func(f FieldChange) bool {
		return f.Op == FieldOwn && f.Path == ".metadata.annotations.k"
	}) {
		t.Errorf("owned from now on: got %+v", fields)
	}
	want.SetAnnotations(nil)
	without := want.DeepCopy()
	unstructured.RemoveNestedField(without.Object, "spec", "serviceName")
	if d, err = planner.delta(w.get(id), without); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(d.fields(w.get(id)), func(f FieldChange) bool { return f.Op == FieldRelease && f.Path == ".spec.serviceName" }) {
		t.Errorf("left to flux: got %+v", d.fields(w.get(id)))
	}
}
