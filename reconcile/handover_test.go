package reconcile

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// scaledSet is a world with a StatefulSet of 2 replicas, as we apply it, and what others have done to it.
func scaledSet(t *testing.T, then ...func(w *world, id ID) error) *unstructured.Unstructured {
	t.Helper()
	w := newWorld()
	want := setOf(t, 2)
	_, _, err := w.apply(want, crds.FieldManager, "", false)
	mustDo(t, err)
	for _, act := range then {
		mustDo(t, act(w, idOf(want)))
	}
	return w.get(idOf(want))
}

func setOf(t *testing.T, replicas int64) *unstructured.Unstructured {
	t.Helper()
	u := objectFrom(t, `{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"x","namespace":"ns"},"spec":{
		"selector":{"matchLabels":{"a":"b"}},"serviceName":"x",
		"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`)
	mustDo(t, unstructured.SetNestedField(u.Object, replicas, "spec", "replicas"))
	return u
}

func scaleBy(manager string, n int64) func(*world, ID) error {
	return func(w *world, id ID) error { return w.update(id, manager, "scale", setting(n, "spec", "replicas")) }
}

func editBy(manager string, n int64) func(*world, ID) error {
	return func(w *world, id ID) error { return w.update(id, manager, "", setting(n, "spec", "replicas")) }
}

// yieldAt is what we apply once the replicas were yielded, when the spec said 2; live says whether with the number that is live.
func yieldAt(t *testing.T, live *int64) func(*world, ID) error {
	t.Helper()
	return func(w *world, _ ID) error {
		_, _, err := w.apply(yielded(setOf(t, 2), 2, live), crds.FieldManager, "", false)
		return err
	}
}

func TestReplicasAreYieldedToWhoScales(t *testing.T) {
	hpa := &crds.Autoscaler{}
	const mine, none = int64(2), int64(-1)
	tests := map[string]struct {
		live       *unstructured.Unstructured
		autoscaler *crds.Autoscaler
		spec       int64
		want       int64 // replicas that are applied; none when they are left to others
		annotation string
		note       bool
	}{
		"nobody has scaled":                       {scaledSet(t), nil, 2, mine, "", false},
		"the spec changes":                        {scaledSet(t), nil, 5, 5, "", false},
		"an autoscaler has scaled":                {scaledSet(t, scaleBy("kube-controller-manager", 7)), hpa, 2, none, "2", true},
		"an autoscaler that is not ours":          {scaledSet(t, scaleBy("keda", 7)), nil, 2, none, "2", true},
		"kubectl scale":                           {scaledSet(t, scaleBy("kubectl", 7)), nil, 2, mine, "", false},
		"kubectl scale, with an autoscaler":       {scaledSet(t, scaleBy("kubectl", 7)), hpa, 2, none, "2", true},
		"kubectl edit is drift":                   {scaledSet(t, editBy("kubectl-edit", 7)), hpa, 2, mine, "", false},
		"an autoscaler to the number of the spec": {scaledSet(t, scaleBy("keda", 2)), hpa, 2, mine, "", false},
		"yielded, and scaled again": {
			scaledSet(t, scaleBy("keda", 7), yieldAt(t, nil), scaleBy("keda", 8)), nil, 2, none, "2", true,
		},
		"yielded, and the spec changes": {
			scaledSet(t, scaleBy("keda", 7), yieldAt(t, nil)), nil, 3, 3, "", false,
		},
		"yielded, and scaled to the number of the spec": {
			scaledSet(t, scaleBy("keda", 7), yieldAt(t, nil), scaleBy("keda", 2)), nil, 2, none, "2", true,
		},
		"yielded, and nobody else owns it: the live number is kept": {
			scaledSet(t, yieldAt(t, new(int64(7)))), nil, 2, 7, "2", true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &crds.Collector{Namespace: "ns", Name: "a", Spec: crds.Spec{Autoscaler: tt.autoscaler, Replicas: new(int32(tt.spec))}}
			want := setOf(t, tt.spec)
			before := digest(want.Object)
			got, note, err := yieldReplicas(c, want, tt.live, nil)
			mustDo(t, err)
			if n, ok, _ := unstructured.NestedInt64(got.Object, "spec", "replicas"); ok != (tt.want != none) || ok && n != tt.want {
				t.Errorf("applies %d replicas (%v), want %d", n, ok, tt.want)
			}
			if a := got.GetAnnotations()[crds.AnnotationReplicasYielded]; a != tt.annotation {
				t.Errorf("the annotation is %q, want %q", a, tt.annotation)
			}
			if (note != nil) != tt.note {
				t.Errorf("note is %v, want one: %v", note, tt.note)
			}
			if digest(want.Object) != before {
				t.Error("what was wanted is changed")
			}
		})
	}
}

func TestAMinimumIsNoNumberOfTheSpec(t *testing.T) {
	c := &crds.Collector{Namespace: "ns", Name: "a", Spec: crds.Spec{Replicas: new(int32(2)), Autoscaler: &crds.Autoscaler{MinReplicas: new(int32(3))}}}
	live := scaledSet(t, scaleBy("keda", 8), yieldAt(t, nil))
	got, note, err := yieldReplicas(c, setOf(t, 3), live, nil)
	mustDo(t, err)
	if _, ok, _ := unstructured.NestedInt64(got.Object, "spec", "replicas"); ok || note == nil {
		t.Errorf("a raised minimum takes the number from the autoscaler: %v, note %v", got.Object["spec"], note)
	}
}

func TestAnEditIsNoScaling(t *testing.T) {
	c := &crds.Collector{Namespace: "ns", Name: "a", Spec: crds.Spec{Replicas: new(int32(2))}}
	live := scaledSet(t, scaleBy("keda", 8), yieldAt(t, nil), editBy("kubectl-patch", 5))
	got, note, err := yieldReplicas(c, setOf(t, 2), live, nil)
	mustDo(t, err)
	if intAt(got, "spec", "replicas") != 2 || note != nil {
		t.Errorf("an edit after an autoscaler is left alone: %v, note %v", got.Object["spec"], note)
	}
}

func TestReplicasOfASetThatIsMadeAnewAreWhatTheyWere(t *testing.T) {
	c := &crds.Collector{Namespace: "ns", Name: "a", Spec: crds.Spec{Replicas: new(int32(2))}, Status: crds.Status{
		Scale: &crds.ScaleStatus{Replicas: 5, StatusReplicas: "5/7"}, YieldedReplicas: new(int64(2)),
	}}
	got, note, err := yieldReplicas(c, setOf(t, 2), nil, nil)
	mustDo(t, err)
	if n := intAt(got, "spec", "replicas"); n != 7 || note == nil || got.GetAnnotations()[crds.AnnotationReplicasYielded] != "2" {
		t.Errorf("applies %d replicas with annotations %v and note %v, want 7, yielded at 2", n, got.GetAnnotations(), note)
	}
	c.Spec.Replicas = new(int32(3))
	if got, note, _ = yieldReplicas(c, setOf(t, 3), nil, nil); intAt(got, "spec", "replicas") != 3 || note != nil {
		t.Errorf("applies %d replicas, want the 3 that the spec has come to say", intAt(got, "spec", "replicas"))
	}
	c.Status.YieldedReplicas = nil
	if got, note, _ = yieldReplicas(c, setOf(t, 3), nil, nil); intAt(got, "spec", "replicas") != 3 || note != nil {
		t.Errorf("applies %d replicas, want the 3 of the spec", intAt(got, "spec", "replicas"))
	}
}
