package render_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// TestEveryFieldHasACase fails when a field is added to the spec, or to a type of ours in it, and no case renders it.
func TestEveryFieldHasACase(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range renderable(t) {
		spec, _ := c.object.Object["spec"].(map[string]any)
		addPaths(covered, "spec", spec)
	}
	want := append(fieldPaths("spec", reflect.TypeFor[crds.Spec]()), "spec.config")
	// The spellings of v1alpha1 (the conversion in its apis/v1alpha1/convert.go).
	want = append(want, "spec.minReplicas", "spec.maxReplicas", "spec.updateStrategy",
		"spec.observability.metrics.DisablePrometheusAnnotations")
	// Kubernetes refuses it of a readiness probe.
	want = slices.DeleteFunc(want, func(p string) bool { return p == "spec.readinessProbe.terminationGracePeriodSeconds" })
	for _, path := range want {
		if !covered[path] {
			t.Errorf("%s: in no testdata/*/in.yaml that can be rendered", path)
		}
	}
}

// TestEveryFieldMatters takes fields away, one at a time: something that is printed must change, or the field would be
// ignored in silence.
func TestEveryFieldMatters(t *testing.T) {
	elsewhere := map[string]string{
		"managementState": "decides whether there is anything to apply",
		"upgradeStrategy": "is about what happens when the operator is upgraded",
		"configVersions":  "is about ConfigMaps that are no longer rendered",
		"config":          "is required",
		"maxReplicas":     "is the autoscaler's alone; the condition UnsupportedFields tells",
	}
	matters := map[string]bool{}
	for _, c := range renderable(t) {
		spec, _ := c.object.Object["spec"].(map[string]any)
		for field := range spec {
			if matters[field] || elsewhere[field] != "" {
				continue
			}
			before, err := c.outcome(t)
			if err != nil {
				t.Fatal(err)
			}
			without := renderableCase{object: c.object.DeepCopy(), options: c.options}
			unstructured.RemoveNestedField(without.object.Object, "spec", field)
			after, err := without.outcome(t)
			matters[field] = err == nil && before != after
		}
	}
	for f := range reflect.TypeFor[crds.Spec]().Fields() {
		field, _ := jsonName(f)
		if field != "-" && !matters[field] && elsewhere[field] == "" {
			t.Errorf("spec.%s: no case is rendered differently without it", field)
		}
	}
}

// addPaths collects the paths of all keys below v; lists do not show in them.
func addPaths(into map[string]bool, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			into[path+"."+k] = true
			addPaths(into, path+"."+k, item)
		}
	case []any:
		for _, item := range v {
			addPaths(into, path, item)
		}
	}
}

// fieldPaths are the paths of the fields of t, and of the types of ours in it.
func fieldPaths(path string, t reflect.Type) []string {
	var out []string
	for f := range t.Fields() {
		name, inline := jsonName(f)
		below := f.Type
		for below.Kind() == reflect.Pointer || below.Kind() == reflect.Slice {
			below = below.Elem()
		}
		isOurs := below.Kind() == reflect.Struct && strings.HasSuffix(below.PkgPath(), "/crds")
		switch {
		case name == "-":
		case inline:
			out = append(out, fieldPaths(path, below)...)
		default:
			out = append(out, path+"."+name)
			if isOurs {
				out = append(out, fieldPaths(path+"."+name, below)...)
			}
		}
	}
	return out
}

func jsonName(f reflect.StructField) (name string, inline bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name, name == "" && (f.Anonymous || strings.Contains(options, "inline"))
}

// TestComponents holds the registry against the table of the incumbent's ports, so that a case that is updated in a hurry does
// not change them.
func TestComponents(t *testing.T) {
	all := renderable(t)
	for _, c := range []struct{ name, want string }{
		{"receivers-defaults", "awsxray:2000/UDP carbon:2003/TCP collectd:8081/TCP fluentforward:8006/TCP influxdb:8086/TCP " +
			"jaeger-grpc:14250/TCP/grpc loki-grpc:9095/TCP/grpc loki-http:3100/TCP/http otlp-grpc:4317/TCP/grpc otlp-http:4318/TCP/http " +
			"port-14268:14268/TCP/http port-6831:6831/UDP port-6832:6832/UDP sapm:7276/TCP signalfx:9943/TCP " +
			"skywalking-grpc:11800/TCP/grpc skywalking-http:12800/TCP/http splunk-hec:8088/TCP statsd:8125/UDP zipkin:9411/TCP/http"},
		{"receivers-some-protocols", "otlp-http:4318/TCP/http port-14268:14268/TCP/http port-6831:6831/UDP wavefront:2003/TCP"},
		{"receivers-scrapers", ""},
		{"receivers-unknown", "newfangled:7001/TCP newfangled-2:7002/TCP"},
		{"receivers-prometheus", "prometheus-api:9090/TCP"},
		{"exporters-ports", "prometheus:8888/TCP prometheus-b:9464/TCP"},
		{"ports-none", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := slices.IndexFunc(all, func(r renderableCase) bool { return r.name == c.name })
			if i < 0 {
				t.Fatal("no such case, or it can't be rendered")
			}
			collector, result, err := all[i].render()
			if err != nil {
				t.Fatal(err)
			}
			if got := servicePorts(t, result.Objects, crds.WorkloadName(collector.Name)); got != c.want {
				t.Errorf("ports of the Service:\ngot  %s\nwant %s", got, c.want)
			}
		})
	}
}

// servicePorts are "name:port/protocol/appProtocol" of the Service called name, in its order.
func servicePorts(t *testing.T, objects []*unstructured.Unstructured, name string) string {
	t.Helper()
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool { return o.GetKind() == "Service" && o.GetName() == name })
	if i < 0 {
		return ""
	}
	ports, _, err := unstructured.NestedSlice(objects[i].Object, "spec", "ports")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range ports {
		port, _ := p.(map[string]any)
		text := port["name"].(string) + ":" + fmt.Sprint(port["port"]) + "/" + port["protocol"].(string)
		if app, ok := port["appProtocol"].(string); ok {
			text += "/" + app
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}
