package render_test

import (
	"reflect"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/managedfields/managedfieldstest"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/render"
)

// TestStoredAsRendered takes the objects of every case through what the API server does between an apply and a read, but for its
// defaulting: whatever is rendered must come back as it is, or an object would seem to need an apply for ever.
func TestStoredAsRendered(t *testing.T) {
	converter := applyconfigurations.NewTypeConverter(scheme.Scheme)
	for _, c := range renderable(t) {
		t.Run(c.name, func(t *testing.T) {
			_, result, err := c.render()
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range result.Objects {
				checkMerge(t, converter, o)
				checkApply(t, converter, o)
			}
		})
	}
}

// checkMerge merges o into what is stored of it: nothing may change.
func checkMerge(t *testing.T, converter managedfields.TypeConverter, o *unstructured.Unstructured) {
	t.Helper()
	want, err := converter.ObjectToTyped(o)
	if err != nil {
		t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	stored := roundTrip(t, o)
	live, err := converter.ObjectToTyped(stored)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := live.Merge(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := merged.AsValue().Unstructured(); !reflect.DeepEqual(got, stored.Object) {
		now, _ := got.(map[string]any)
		t.Errorf("%s %s: applying it would change what is stored of it: %s", o.GetKind(), o.GetName(), firstDifference(
			printed(t, []*unstructured.Unstructured{stored}), printed(t, []*unstructured.Unstructured{{Object: now}})))
	}
}

// checkApply applies o, has somebody else store what the API server makes of that, and applies o again: there must be no
// conflict, as nobody has touched a field of ours, and no change.
func checkApply(t *testing.T, converter managedfields.TypeConverter, o *unstructured.Unstructured) {
	t.Helper()
	server := managedfieldstest.NewTestFieldManager(converter, o.GroupVersionKind())
	if err := server.Apply(o.DeepCopy(), crds.FieldManager, false); err != nil {
		t.Fatalf("%s %s: apply: %v", o.GetKind(), o.GetName(), err)
	}
	stored := roundTrip(t, server.Live())
	if err := server.Update(stored.DeepCopy(), "api-server"); err != nil {
		t.Fatalf("%s %s: store: %v", o.GetKind(), o.GetName(), err)
	}
	before := server.Live()
	if err := server.Apply(o.DeepCopy(), crds.FieldManager, false); err != nil {
		t.Errorf("%s %s: apply again: %v", o.GetKind(), o.GetName(), err)
	}
	if after := server.Live(); !reflect.DeepEqual(after, before) {
		t.Errorf("%s %s: the second apply changes it:\nwas %v\nis  %v", o.GetKind(), o.GetName(), before, after)
	}
}

// roundTrip is o as the API's Go type prints it.
func roundTrip(t *testing.T, o runtime.Object) *unstructured.Unstructured {
	t.Helper()
	from, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	typed, err := scheme.Scheme.New(o.GetObjectKind().GroupVersionKind())
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(from, typed, true); err != nil {
		t.Fatal(err)
	}
	to, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: to}
}

// TestIPFamiliesOfDualStack has no case, as API servers with one family refuse it.
func TestIPFamiliesOfDualStack(t *testing.T) {
	for _, c := range []struct {
		policy     string
		spec, want []string
	}{
		{"RequireDualStack", []string{"IPv4"}, []string{"IPv4", "IPv6"}},
		{"RequireDualStack", []string{"IPv6"}, []string{"IPv6", "IPv4"}},
		{"RequireDualStack", []string{"IPv6", "IPv4"}, []string{"IPv6", "IPv4"}},
		{"RequireDualStack", nil, nil},
		{"PreferDualStack", []string{"IPv6"}, []string{"IPv6"}},
	} {
		result, err := render.Collector(&crds.Collector{Namespace: "default", Name: "simplest", Spec: crds.Spec{
			IPFamilyPolicy: c.policy, IPFamilies: c.spec, Config: crds.Config{IsText: true}, Args: map[string]string{"set": "x=y"},
		}}, render.Options{Image: "example.com/collector:1"})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(result.Objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Service" })
		got, _, err := unstructured.NestedStringSlice(result.Objects[i].Object, "spec", "ipFamilies")
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s, %v: got %v, want %v (%v)", c.policy, c.spec, got, c.want, err)
		}
	}
}
