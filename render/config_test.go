package render_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/render"
)

// TestConfigKeepsItsMeaning holds collector.yaml of every case against the configuration that it is made of.
func TestConfigKeepsItsMeaning(t *testing.T) {
	a := newAdmission(t)
	for _, name := range cases(t) {
		if c, err := decode(a, read(t, filepath.Join("testdata", name))); err == nil {
			t.Run(name, func(t *testing.T) { keepsMeaning(t, c.Spec.Config) })
		}
	}
}

// TestRandomConfigKeepsItsMeaning does the same with random structures, and with the same as text.
func TestRandomConfigKeepsItsMeaning(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // reproducible on purpose
		tree := randomConfig(r)
		if !t.Run(fmt.Sprintf("structure %d", seed), func(t *testing.T) { keepsMeaning(t, crds.Config{Tree: tree}) }) {
			return
		}
		text, err := yaml.Marshal(randomStyle(r, tree))
		if err != nil {
			continue // the library can't print every string in every style
		}
		if !t.Run(fmt.Sprintf("text %d", seed), func(t *testing.T) { keepsMeaning(t, crds.Config{Text: string(text), IsText: true}) }) {
			return
		}
	}
}

func FuzzConfigText(f *testing.F) {
	a := newAdmission(f)
	for _, name := range cases(f) {
		if c, err := decode(a, read(f, filepath.Join("testdata", name))); err == nil && c.Spec.Config.IsText {
			f.Add(c.Spec.Config.Text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) { keepsMeaning(t, crds.Config{Text: text, IsText: true}) })
}

// keepsMeaning renders a collector with the configuration. When that works, collector.yaml must say what the configuration says,
// but for the defaults that it leaves open.
func keepsMeaning(t *testing.T, config crds.Config) {
	t.Helper()
	c := &crds.Collector{Namespace: "default", Name: "simplest"}
	c.Spec.Config = config
	c.Spec.Args = map[string]string{"set": "x=y"} // so that an incomplete configuration is rendered too
	result, err := render.Collector(c, render.Options{})
	if err != nil {
		if field := new(crds.FieldError); !errors.As(err, &field) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("want a *crds.FieldError of one line, got a %T: %v", err, err)
		}
		return
	}
	text := collectorYAML(t, result.Objects)
	var got, want any
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("collector.yaml is not YAML: %v\n%s", err, text)
	}
	if want = config.Tree; config.IsText {
		if err := yaml.Unmarshal([]byte(config.Text), &want); err != nil {
			t.Fatalf("a configuration that is not YAML was rendered: %v", err)
		}
	}
	touched := 0
	for _, change := range changes(nil, plain(want), plain(got)) {
		touched++
		if !change.isDefault() {
			t.Errorf("%s: is %#v, was %#v\nconfiguration:\n%s\ncollector.yaml:\n%s", change.path, change.now, change.was, config.Text, text)
		}
	}
	if touched == 0 && config.IsText && text != config.Text {
		t.Errorf("nothing was set, yet the text is not the user's own\ngot  %q\nwant %q", text, config.Text)
	}
}

func collectorYAML(t *testing.T, objects []*unstructured.Unstructured) string {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() == "ConfigMap" {
			text, _, err := unstructured.NestedString(o.Object, "data", crds.ConfigFile)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
	}
	t.Fatal("no ConfigMap was rendered")
	return ""
}

// A change is a value that differs. Absent values are of type absent.
type change struct {
	path     []string
	was, now any
}

type absent struct{}

// changes compares values that plain has returned.
func changes(path []string, was, now any) []change {
	w, wasMap := was.(map[string]any)
	n, nowMap := now.(map[string]any)
	wasNothing := was == nil || was == absent{}
	switch {
	case nowMap && (wasMap || wasNothing && len(n) > 0):
		var out []change
		for _, k := range slices.Sorted(maps.Keys(n)) {
			var before any = absent{}
			if v, ok := w[k]; ok {
				before = v
			}
			out = append(out, changes(append(slices.Clone(path), k), before, n[k])...)
		}
		for _, k := range slices.Sorted(maps.Keys(w)) {
			if _, ok := n[k]; !ok {
				out = append(out, change{append(slices.Clone(path), k), w[k], absent{}})
			}
		}
		return out
	case reflect.DeepEqual(was, now):
		return nil
	default:
		return []change{{path, was, now}}
	}
}

// isDefault tells whether the operator may set the value: endpoints of receivers and extensions that have none or no host, and
// the readers of the collector's own metrics.
func (c change) isDefault() bool {
	if slices.Equal(c.path, []string{"service", "telemetry", "metrics", "readers"}) {
		return c.was == nil || c.was == absent{}
	}
	if len(c.path) < 3 || !slices.Contains([]string{"receivers", "extensions"}, c.path[0]) || c.path[len(c.path)-1] != "endpoint" {
		return false
	}
	now, _ := c.now.(string)
	was, _ := c.was.(string)
	isOpen := c.was == nil || c.was == absent{} || c.was == "" || strings.HasPrefix(was, ":")
	return isOpen && regexp.MustCompile(`^0\.0\.0\.0:\d+/?$`).MatchString(now) && strings.HasSuffix(now, was)
}

// plain makes values that the YAML library and the JSON library decode comparable.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, item := range v {
			out[k] = plain(item)
		}
		return out
	case map[any]any:
		out := map[string]any{}
		for k, item := range v {
			if _, ok := k.(string); !ok {
				k = fmt.Sprintf("%T %v", k, k)
			}
			out[k.(string)] = plain(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plain(item)
		}
		return out
	case int64:
		return int(v)
	case float64:
		if math.IsNaN(v) {
			return "not a number"
		}
	}
	return v
}

// randomConfig is a configuration with random components and random values.
func randomConfig(r *rand.Rand) map[string]any {
	receivers, exporters, extensions := map[string]any{}, map[string]any{"debug": randomValue(r, 3)}, map[string]any{}
	for range r.IntN(4) {
		id := pick(r, "otlp", "otlp/x", "jaeger", "zipkin", "statsd", "custom/é", "prometheus", "filelog", "0x1f", "yes")
		receivers[id] = randomComponent(r)
	}
	for range r.IntN(3) {
		extensions[pick(r, "health_check", "jaeger_query", "pprof")] = randomComponent(r)
	}
	pipeline := map[string]any{"receivers": names(receivers), "exporters": names(exporters)}
	service := map[string]any{"pipelines": map[string]any{"traces/2": pipeline}, "extensions": names(extensions)}
	if r.IntN(2) == 0 {
		service["telemetry"] = randomValue(r, 4)
	}
	return map[string]any{"receivers": receivers, "exporters": exporters, "extensions": extensions, "service": service}
}

func randomComponent(r *rand.Rand) any {
	endpoint := func() any {
		return pick[any](r, "0.0.0.0:1", ":1", "", nil, "${env:A}:1", "${env:A}", "[::]:1", int64(1), map[string]any{})
	}
	switch r.IntN(5) {
	case 0:
		return nil
	case 1:
		return map[string]any{"endpoint": endpoint(), "more": randomValue(r, 3)}
	case 2:
		return map[string]any{"protocols": map[string]any{"grpc": map[string]any{"endpoint": endpoint()}, "http": randomValue(r, 2)}}
	case 3:
		return map[string]any{"protocols": randomValue(r, 2), "http": randomValue(r, 2)}
	default:
		return randomValue(r, 3)
	}
}

// randomValue is of JSON types, as deep as depth.
func randomValue(r *rand.Rand, depth int) any {
	kinds := 8
	if depth > 0 {
		kinds = 12
	}
	switch r.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return r.Int64() - math.MaxInt64/2
	case 3:
		return r.NormFloat64()
	case 4, 5, 6, 7:
		return randomString(r)
	case 8, 9:
		list := make([]any, r.IntN(3))
		for i := range list {
			list[i] = randomValue(r, depth-1)
		}
		return list
	default:
		m := map[string]any{}
		for range r.IntN(4) {
			m[randomString(r)] = randomValue(r, depth-1)
		}
		return m
	}
}

func randomString(r *rand.Rand) string {
	var out strings.Builder
	for range r.IntN(5) {
		out.WriteString(pick(r, " ", "\n", "\t", "a", "#", ":", "-", "'", `"`, "\r", "|", "é", "\u2028", "\u0085", "\u00a0", "\ufeff",
			"{", "}", "[", "]", ",", "*", "&", "!", "%", "@", "`", "<<", "~", "null", "yes", "1", "0", "x", ".", "e", "=", "$$", "${env:A}"))
	}
	return out.String()
}

// randomStyle is v as nodes in random styles, with comments.
func randomStyle(r *rand.Rand, v any) *yaml.Node {
	n := &yaml.Node{}
	switch v := v.(type) {
	case map[string]any:
		n.Kind, n.Style = yaml.MappingNode, pick[yaml.Style](r, 0, yaml.FlowStyle)
		for _, k := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, randomStyle(r, k), randomStyle(r, v[k]))
		}
	case []any:
		n.Kind, n.Style = yaml.SequenceNode, pick[yaml.Style](r, 0, yaml.FlowStyle)
		for _, item := range v {
			n.Content = append(n.Content, randomStyle(r, item))
		}
	case string:
		n.SetString(v)
		n.Style = pick[yaml.Style](r, n.Style, yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle, yaml.LiteralStyle, yaml.FoldedStyle)
	default:
		if err := n.Encode(v); err != nil {
			panic(err) // JSON types can be encoded
		}
	}
	if r.IntN(6) == 0 {
		n.HeadComment = "head"
	}
	if r.IntN(6) == 0 {
		n.LineComment = "line"
	}
	if r.IntN(10) == 0 {
		n.FootComment = "foot"
	}
	return n
}

func names(m map[string]any) []any {
	out := []any{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k)
	}
	return out
}

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }
