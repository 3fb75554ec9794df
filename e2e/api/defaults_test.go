package api_test

import (
	"reflect"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestDefaults wants these and no others: all else is defaulted while rendering, so that the user's spec stays as it is.
func TestDefaults(t *testing.T) {
	c := connect(t)
	for _, version := range versions() {
		t.Run(version, func(t *testing.T) {
			made := c.create(t, collector(version, "defaults-"+version, map[string]any{
				"config": "a: b", "targetAllocator": map[string]any{"enabled": false, "mtls": map[string]any{}, "prometheusCR": map[string]any{}},
				"ports":         []any{map[string]any{"port": int64(1)}},
				"autoscaler":    map[string]any{},
				"ingress":       map[string]any{},
				"livenessProbe": map[string]any{},
			}))
			want := map[string]any{
				"config": "a: b", "managementState": "managed", "upgradeStrategy": "automatic", "mode": "deployment", "replicas": int64(1),
				"targetAllocator": map[string]any{
					"enabled": false, "mtls": map[string]any{}, "prometheusCR": map[string]any{}, "replicas": int64(1),
				},
				"ports":         []any{map[string]any{"port": int64(1), "protocol": "TCP"}},
				"autoscaler":    map[string]any{},
				"ingress":       map[string]any{},
				"livenessProbe": map[string]any{},
			}
			if got := made.Object["spec"]; !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
		})
	}
}

// TestConfigIsKept sends either form of config through either version and reads it back through both.
func TestConfigIsKept(t *testing.T) {
	text := "# a comment\nreceivers: {otlp: null}\nx: [1.0, 1e3, 0777, \"$$x\", '${env:X}', ~]\n"
	tree := map[string]any{
		"receivers": map[string]any{"otlp": map[string]any{"protocols": map[string]any{"grpc": nil, "http": map[string]any{}}}},
		"service":   map[string]any{"pipelines": map[string]any{"traces": map[string]any{"receivers": []any{"otlp", "otlp/2"}}}},
		"unknown":   []any{nil, []any{}, map[string]any{"a": nil}, "", "$$x$1", "${env:X}", "a\nb\n", true},
		"numbers":   map[string]any{"int": int64(9007199254740993), "float": 0.1, "negative": int64(-1), "zero": int64(0)},
		"":          "empty key",
		"a/b.c ~":   "key",
	}
	c := connect(t)
	for form, config := range map[string]any{"string": text, "object": tree} {
		for _, version := range versions() {
			t.Run(form+"/"+version, func(t *testing.T) {
				name := "config-" + form + "-" + version
				c.create(t, collector(version, name, map[string]any{"config": config}))
				for _, read := range versions() {
					got, err := c.collectors(read).Get(t.Context(), name, metav1.GetOptions{})
					if err != nil {
						t.Fatal(err)
					}
					if got := got.Object["spec"].(map[string]any)["config"]; !reflect.DeepEqual(got, config) {
						t.Errorf("read as %s:\ngot  %#v\nwant %#v", read, got, config)
					}
				}
			})
		}
	}
}

// TestSpellingsAreKept has fields whose shape differs between the versions, and that one schema must take.
func TestSpellingsAreKept(t *testing.T) {
	for name, spec := range map[string]map[string]any{
		"selector map": {"targetAllocator": map[string]any{"prometheusCR": map[string]any{
			"serviceMonitorSelector": map[string]any{"team": "a", "example.com/b": "c"}, "podMonitorSelector": map[string]any{},
		}}},
		"label selector": {"targetAllocator": map[string]any{"prometheusCR": map[string]any{
			"serviceMonitorSelector": map[string]any{
				"matchLabels":      map[string]any{"team": "a"},
				"matchExpressions": []any{map[string]any{"key": "a", "operator": "Exists"}},
			},
			"podMonitorNamespaceSelector": map[string]any{"matchLabels": map[string]any{"a": "b"}},
			"scrapeClasses":               []any{map[string]any{"name": "x", "tlsConfig": map[string]any{"caFile": "y"}}},
		}}},
		"annotations": {"observability": map[string]any{"metrics": map[string]any{"DisablePrometheusAnnotations": true}}},
		"strategy":    {"mode": "daemonset", "updateStrategy": map[string]any{"type": "OnDelete"}},
		"bounds":      {"minReplicas": int64(1), "maxReplicas": int64(2)},
	} {
		c := connect(t)
		for _, version := range versions() {
			t.Run(name+"/"+version, func(t *testing.T) {
				opts := strict()
				opts.DryRun = []string{metav1.DryRunAll}
				got, err := c.collectors(version).Create(t.Context(), collector(version, "spelling", spec), opts)
				if err != nil {
					t.Fatal(err)
				}
				for field, want := range spec {
					value, _, _ := unstructured.NestedFieldNoCopy(got.Object, "spec", field)
					if !contains(value, want) {
						t.Errorf("%s: got %v, want %v", field, value, want)
					}
				}
			})
		}
	}
}

// contains is true if got has all that want has; defaults may have joined it.
func contains(got, want any) bool {
	wanted, ok := want.(map[string]any)
	if !ok {
		return reflect.DeepEqual(got, want)
	}
	have, ok := got.(map[string]any)
	for key, value := range wanted {
		ok = ok && contains(have[key], value)
	}
	return ok
}
