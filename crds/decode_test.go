package crds

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

func TestDecode(t *testing.T) {
	textA := Config{Text: "a", IsText: true}
	for _, c := range []struct {
		name, version, spec string
		want                Spec
	}{
		{"structure", "v1beta1", `{mode: daemonset, replicas: 3, config: {receivers: {otlp: null}, int: 1, float: 0.5}}`, Spec{
			Mode: "daemonset", Replicas: new(int32(3)),
			Config: Config{Tree: map[string]any{"receivers": map[string]any{"otlp": nil}, "int": int64(1), "float": 0.5}},
		}},
		{"text", "v1alpha1", `{config: "receivers: # all"}`, Spec{Config: Config{Text: "receivers: # all", IsText: true}}},
		{"text, stored through the other version", "v1beta1", `{config: "a: b"}`, Spec{Config: Config{Text: "a: b", IsText: true}}},
		{"absent stays absent", "v1beta1", `{config: {}}`, Spec{Config: Config{Tree: map[string]any{}}}},
		{"unknown fields are left out", "v1beta1", `{config: {}, futureField: 1, observability: {logs: {}}}`, Spec{
			Config: Config{Tree: map[string]any{}}, Observability: &Observability{},
		}},
		{"names are case-sensitive", "v1beta1", `{config: {}, Replicas: 3}`, Spec{Config: Config{Tree: map[string]any{}}}},
		{"nulls", "v1beta1", `{config: {}, autoscaler: null, ports: null, observability: {metrics: null}}`, Spec{
			Config: Config{Tree: map[string]any{}}, Observability: &Observability{},
		}},
		{"replicas of v1alpha1", "v1alpha1", `{config: a, minReplicas: 2, maxReplicas: 5}`, Spec{
			Config: textA, Autoscaler: &Autoscaler{MinReplicas: new(int32(2)), MaxReplicas: new(int32(5))},
		}},
		{"replicas of v1alpha1, stored through the other version", "v1beta1", `{config: {}, minReplicas: 2}`, Spec{
			Config: Config{Tree: map[string]any{}}, Autoscaler: &Autoscaler{MinReplicas: new(int32(2))},
		}},
		{"the autoscaler's own win", "v1alpha1", `{config: a, minReplicas: 2, maxReplicas: 5, autoscaler: {maxReplicas: 7, targetCPUUtilization: 60}}`, Spec{
			Config:     textA,
			Autoscaler: &Autoscaler{MinReplicas: new(int32(2)), MaxReplicas: new(int32(7)), TargetCPUUtilization: new(int32(60))},
		}},
		{"observability of v1alpha1", "v1alpha1", `{config: a, observability: {metrics: {enableMetrics: true, DisablePrometheusAnnotations: true}}}`, Spec{
			Config:        textA,
			Observability: &Observability{Metrics: &ObservabilityMetrics{EnableMetrics: true, DisablePrometheusAnnotations: true}},
		}},
		{"observability in both spellings", "v1alpha1", `{config: a, observability: {metrics: {disablePrometheusAnnotations: false, DisablePrometheusAnnotations: true}}}`, Spec{
			Config: textA, Observability: &Observability{Metrics: &ObservabilityMetrics{}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := object(t, c.version, c.spec)
			before := u.DeepCopy()
			got, err := Decode(u)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Spec, c.want) {
				t.Errorf("got  %s\nwant %s", dump(t, got.Spec), dump(t, c.want))
			}
			if !reflect.DeepEqual(u, before) {
				t.Error("the object has been modified")
			}
		})
	}
}

// TestDecodeUpdateStrategy shows that the strategy of v1alpha1 is that of DaemonSets.
func TestDecodeUpdateStrategy(t *testing.T) {
	c, err := Decode(object(t, "v1alpha1", `{config: a, updateStrategy: {type: OnDelete}}`))
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Spec.DaemonSetUpdateStrategy; s == nil || s.Type == nil || *s.Type != "OnDelete" {
		t.Errorf("got %v, want OnDelete", s)
	}
}

func TestDecodeMetadataAndStatus(t *testing.T) {
	u := object(t, "v1beta1", `{config: {}, ports: [{name: a, port: 1, hostPort: 2, protocol: UDP}]}`)
	u.SetUID("uid")
	u.SetGeneration(7)
	u.SetResourceVersion("8")
	u.SetLabels(map[string]string{"a": "b"})
	u.SetAnnotations(map[string]string{"c": "d"})
	u.Object["status"] = map[string]any{
		"version": "1", "observedGeneration": int64(6), "scale": map[string]any{"replicas": int64(2), "statusReplicas": "1/2"},
		"conditions": []any{map[string]any{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}},
		"other":      "of somebody else",
	}
	c, err := Decode(u)
	if err != nil {
		t.Fatal(err)
	}
	if c.Namespace != "ns" || c.Name != "simplest" || c.UID != "uid" || c.Generation != 7 || c.ResourceVersion != "8" ||
		c.Labels["a"] != "b" || c.Annotations["c"] != "d" || c.DeletionTimestamp != nil {
		t.Errorf("metadata: %+v", c)
	}
	if s := c.Status; s.Version != "1" || s.ObservedGeneration != 6 || s.Scale.Replicas != 2 || s.Scale.StatusReplicas != "1/2" ||
		len(s.Conditions) != 1 || s.Conditions[0].LastTransitionTime.Year() != 2026 {
		t.Errorf("status: %+v", s)
	}
	if p := c.Spec.Ports[0]; *p.Name != "a" || *p.Port != 1 || *p.HostPort != 2 || *p.Protocol != "UDP" {
		t.Errorf("port: %+v", p)
	}
	c.Labels["a"] = "changed"
	if u.GetLabels()["a"] != "b" {
		t.Error("labels are shared with the object")
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, c := range []struct{ name, spec, want string }{
		{"no config", `{}`, "spec.config: got nothing, want the collector's configuration: an object, or a string that holds it as YAML"},
		{"a list as config", `{config: []}`, "spec.config: got a list, want the collector's configuration: an object, or a string that holds it as YAML"},
		{"a number as config", `{config: 1}`, "spec.config: got a number, want the collector's configuration: an object, or a string that holds it as YAML"},
		{"a boolean as config", `{config: true}`, "spec.config: got a boolean, want the collector's configuration: an object, or a string that holds it as YAML"},
		{"no spec", `null`, "spec: got nothing, want an object"},
		{"a string as spec", `abc`, "spec: got a string, want an object"},
		{"a string as number", `{config: {}, replicas: "3"}`, "spec.replicas: got a string, want a whole number"},
		{"a fraction", `{config: {}, replicas: 1.5}`, "spec.replicas: got a number 1.5, want a whole number"},
		{"too large", `{config: {}, replicas: 3000000000}`, "spec.replicas: got a number 3000000000, want a whole number"},
		{"a number as string", `{config: {}, image: 3}`, "spec.image: got a number, want a string"},
		{"a boolean as string", `{config: {}, args: {a: true}}`, "spec.args: got a boolean, want a string"},
		{"an object as list", `{config: {}, env: {A: b}}`, "spec.env: got an object, want a list"},
		{"a list as object", `{config: {}, resources: []}`, "spec.resources: got a list, want an object"},
		{"a string as boolean", `{config: {}, hostNetwork: "yes"}`, "spec.hostNetwork: got a string, want a boolean"},
		{"inside a list", `{config: {}, env: [{name: A, value: 1}]}`, "spec.env.value: got a number, want a string"},
		{"a spelling of v1alpha1", `{config: a, minReplicas: x}`, "spec.autoscaler.minReplicas: got a string, want a whole number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode(object(t, "v1beta1", c.spec))
			if _, ok := errors.AsType[*FieldError](err); !ok {
				t.Fatalf("got %T %v, want a *FieldError", err, err)
			}
			if err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	t.Run("another kind", func(t *testing.T) {
		u := object(t, "v1beta1", `{config: {}}`)
		u.SetKind("TargetAllocator")
		if _, err := Decode(u); err == nil || !strings.Contains(err.Error(), "opentelemetry.io/v1beta1 TargetAllocator") {
			t.Errorf("got %v, want the kind", err)
		}
	})
	t.Run("a status that is none", func(t *testing.T) {
		u := object(t, "v1beta1", `{config: {}}`)
		u.Object["status"] = map[string]any{"observedGeneration": "six"}
		var field *FieldError
		if _, err := Decode(u); !errors.As(err, &field) || field.Path != "status" {
			t.Errorf("got %v, want it to be about status", err)
		}
	})
}

// FuzzDecode feeds specs that no schema has seen: the answer is a collector or a *FieldError.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"config":{},"observability":{"metrics":{"DisablePrometheusAnnotations":1}},"autoscaler":[],"minReplicas":null}`,
		`{"config":"a","ports":[{"port":1e9,"targetPort":{}}],"resources":{"limits":{"cpu":"x"}},"podDisruptionBudget":{"minAvailable":"1%"}}`,
		`{"config":{},"volumeClaimTemplates":[{"metadata":{"creationTimestamp":"x"},"spec":null}],"updateStrategy":"x"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		var v any
		if json.Unmarshal([]byte(spec), &v) != nil {
			return
		}
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": Group + "/" + VersionV1Beta1, "kind": Kind, "metadata": map[string]any{"name": "simplest"}, "spec": v,
		}}
		before := u.DeepCopy()
		c, err := Decode(u)
		if field := new(FieldError); err != nil && (!errors.As(err, &field) || !strings.HasPrefix(field.Path, "spec")) {
			t.Errorf("got %T %v, want a *FieldError about the spec", err, err)
		}
		if err == nil {
			c.Spec.UnsupportedFields()
		}
		if !reflect.DeepEqual(u, before) {
			t.Error("the object has been modified")
		}
	})
}

func object(t *testing.T, version, spec string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": Group + "/" + version, "kind": Kind,
		"metadata": map[string]any{"name": "simplest", "namespace": "ns"}, "spec": v,
	}}
}

func dump(t *testing.T, v any) string {
	t.Helper()
	data, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
