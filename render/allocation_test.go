package render_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/render"
)

const allocatorURL = "http://otelier.example.svc:80"

// allocated is a collector that shares its targets out.
func allocated(config crds.Config, change ...func(*crds.Collector)) *crds.Collector {
	c := &crds.Collector{Namespace: "ns", Name: "simplest"}
	c.Spec.Mode, c.Spec.Config = crds.ModeStatefulSet, config
	c.Spec.TargetAllocator = &crds.TargetAllocator{Enabled: true, PrometheusCR: &crds.PrometheusCR{Enabled: true}}
	for _, f := range change {
		f(c)
	}
	return c
}

func text(s string) crds.Config { return crds.Config{Text: s, IsText: true} }

func renderAllocated(t *testing.T, c *crds.Collector) (objects string, pools []render.Pool) {
	t.Helper()
	o := render.Options{Image: "collector:1", AllocatorURL: allocatorURL}
	result, err := render.Collector(c, o)
	if err != nil {
		t.Fatal(err)
	}
	if pools, err = render.Pools(c, o); err != nil {
		t.Fatal(err)
	}
	return printed(t, result.Objects), pools
}

const oneJob = `# All of it.
receivers:
  prometheus: # one
    config:
      global: {scrape_interval: 30s}
      # The jobs.
      scrape_configs: # here
        - job_name: a # first
          static_configs: [{targets: ["a:80"]}]
exporters: {debug: {}}
service: {pipelines: {metrics: {receivers: [prometheus], exporters: [debug]}}}
`

// TestPodsRollOnlyForWhatTheyRead edits what the allocator serves, which pods must not roll for, and what they read themselves.
func TestPodsRollOnlyForWhatTheyRead(t *testing.T) {
	annotate := func(c *crds.Collector) { c.Annotations = map[string]string{crds.AnnotationTolerance: "5%"} }
	monitors := func(c *crds.Collector) {
		c.Spec.TargetAllocator.AllocationStrategy = crds.StrategyLeastWeighted
		c.Spec.TargetAllocator.PrometheusCR.ScrapeInterval = "10s"
	}
	interval := func(c *crds.Collector) { c.Spec.TargetAllocator.CollectorTargetReloadInterval = "10s" }
	for name, tt := range map[string]struct {
		old, new string
		change   func(*crds.Collector)
		rolls    bool
	}{
		"another target":           {old: "a:80", new: "b:80"},
		"another job":              {old: "exporters:", new: "        - job_name: b\n          metrics_path: /b\nexporters:"},
		"no job":                   {old: "        - job_name: a # first\n          static_configs: [{targets: [\"a:80\"]}]\n", new: "        []\n"},
		"a comment of a job":       {old: "# first", new: "# the first"},
		"a comment of the jobs":    {old: "# here", new: "# there"},
		"a comment above the jobs": {old: "# The jobs.", new: "# Jobs."},
		"an annotation":            {change: annotate},
		"which monitors":           {change: monitors},
		"the interval of a job":    {old: "job_name: a", new: "scrape_interval: 5s\n          job_name: a"},

		"the global section":   {old: "scrape_interval: 30s", new: "scrape_interval: 20s", rolls: true},
		"how often to ask":     {change: interval, rolls: true},
		"another receiver":     {old: "receivers:\n", new: "receivers:\n  otlp: {}\n", rolls: true},
		"a comment of the top": {old: "# All of it.", new: "# All.", rolls: true},
	} {
		t.Run(name, func(t *testing.T) {
			before, pools := renderAllocated(t, allocated(text(oneJob)))
			edited := strings.Replace(oneJob, tt.old, tt.new, 1)
			if tt.change == nil {
				tt.change = func(*crds.Collector) {}
				if edited == oneJob {
					t.Fatal("nothing was edited")
				}
			}
			after, poolsAfter := renderAllocated(t, allocated(text(edited), tt.change))
			if rolls := before != after; rolls != tt.rolls {
				t.Errorf("objects change: %t, want %t\n%s", rolls, tt.rolls, firstDifference(before, after))
			}
			if strings.Contains(tt.new, "job_name") && reflect.DeepEqual(pools, poolsAfter) {
				t.Error("the pools do not change")
			}
		})
	}
}

// TestRandomAllocatedConfigKeepsItsMeaning takes random configurations, as structures and as text: what is not of prometheus receivers'
// targets stays what it says, and each job is in the pool of its receiver once.
func TestRandomAllocatedConfigKeepsItsMeaning(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // reproducible on purpose
		tree := randomConfig(r)
		receivers := tree["receivers"].(map[string]any)
		var ids []any
		for _, id := range []string{"prometheus", "prometheus/a", "prometheus/ä/b c"} {
			if delete(receivers, id); r.IntN(3) > 0 {
				receivers[id] = randomReceiver(r, id)
				ids = append(ids, id)
			}
		}
		if len(ids) == 0 {
			continue
		}
		pipelines := tree["service"].(map[string]any)["pipelines"].(map[string]any)
		pipelines["metrics"] = map[string]any{"receivers": ids, "exporters": []any{"debug"}}
		if !t.Run(fmt.Sprintf("structure %d", seed), func(t *testing.T) { keepsAllocated(t, crds.Config{Tree: tree}, tree) }) {
			return
		}
		if styled, err := yaml.Marshal(randomStyle(r, tree)); err == nil {
			var read map[string]any // as comments may change strings on their way
			if yaml.Unmarshal(styled, &read) == nil {
				t.Run(fmt.Sprintf("text %d", seed), func(t *testing.T) { keepsAllocated(t, text(string(styled)), read) })
			}
		}
	}
}

func randomReceiver(r *rand.Rand, id string) any {
	config := map[string]any{}
	if r.IntN(2) == 0 {
		config["global"] = map[string]any{"scrape_interval": "10s"}
	}
	var jobs []any
	for i := range r.IntN(3) {
		jobs = append(jobs, map[string]any{"job_name": fmt.Sprintf("%s %d", id, i), "params": map[string]any{"x": []any{strings.ReplaceAll(randomString(r), "$", "")}}})
	}
	if jobs != nil {
		config["scrape_configs"] = jobs
	}
	out := map[string]any{"config": config, "more": randomValue(r, 2)}
	if r.IntN(2) == 0 {
		out["target_allocator"] = map[string]any{"timeout": randomString(r)}
	}
	return out
}

func keepsAllocated(t *testing.T, config crds.Config, was map[string]any) {
	t.Helper()
	c := allocated(config)
	c.Spec.Args = map[string]string{"set": "x=y"}
	o := render.Options{AllocatorURL: allocatorURL}
	result, err := render.Collector(c, o)
	if err != nil {
		t.Fatalf("%v\n%s", err, config.Text)
	}
	pools, err := render.Pools(c, o)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := yaml.Unmarshal([]byte(collectorYAML(t, result.Objects)), &got); err != nil {
		t.Fatal(err)
	}
	receivers, _ := plain(was["receivers"]).(map[string]any)
	for _, change := range changes(nil, plain(was), plain(got)) {
		p := change.path
		isReceiver := len(p) > 2 && p[0] == "receivers" && strings.Split(p[1], "/")[0] == "prometheus"
		switch {
		case isReceiver && slices.Equal(p[2:], []string{"config", "scrape_configs"}) && change.now == absent{}:
		case isReceiver && len(p) == 4 && p[2] == "target_allocator" && slices.Contains([]string{"endpoint", "interval", "collector_id"}, p[3]):
		case isReceiver && slices.Equal(p[2:], []string{"target_allocator", "timeout"}) && change.was == absent{} && change.now == "30s":
		case change.isDefault():
		default:
			t.Errorf("%s: is %#v, was %#v", p, change.now, change.was)
		}
	}
	mains := 0
	for _, p := range pools {
		if p.Main {
			mains++
		}
		jobs(t, p, receivers[p.Receiver])
		endpoint := value(got, "receivers", p.Receiver, "target_allocator", "endpoint")
		if endpoint != allocatorURL+p.Path {
			t.Errorf("%s asks %v, its pool is at %s", p.Receiver, endpoint, p.Path)
		}
		u, err := url.Parse(allocatorURL + p.Path)
		if err != nil || u.Path != "/pools/ns/"+p.Name || strings.Count(u.EscapedPath(), "/") != 3 {
			t.Errorf("path %s of pool %s: %v, error %v", p.Path, p.Name, u, err)
		}
	}
	if mains != 1 {
		t.Errorf("%d pools have the monitors, want 1", mains)
	}
}

// jobs checks that a pool has what its receiver had.
func jobs(t *testing.T, p render.Pool, receiver any) {
	t.Helper()
	var doc map[string]any
	if err := yaml.Unmarshal(p.ScrapeConfigs, &doc); err != nil {
		t.Fatalf("%v\n%s", err, p.ScrapeConfigs)
	}
	want := value(receiver, "config", "scrape_configs")
	if want == nil {
		want = []any{}
	}
	if got := plain(doc["scrape_configs"]); !reflect.DeepEqual(got, want) || len(p.Withheld) > 0 {
		t.Errorf("%s: got %#v and withheld %v, want %#v", p.Receiver, got, p.Withheld, want)
	}
	if got, want := plain(doc["global"]), value(receiver, "config", "global"); !reflect.DeepEqual(got, want) {
		t.Errorf("%s: global is %#v, want %#v", p.Receiver, got, want)
	}
}

func value(v any, path ...string) any {
	for _, k := range path {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// TestReferencesAreReadAsACollectorReadsThem has what go.opentelemetry.io/collector/confmap v1.70.0 with its envprovider makes of the
// same.
func TestReferencesAreReadAsACollectorReadsThem(t *testing.T) {
	env := map[string]string{
		"A": "a", "N": "0x10", "LIST": "[1, b]", "NESTED": "<${env:A}>", "DOLLARS": "$$$$", "EMPTY": "", "COLON": "a: b", "BAD": "[", "HALF": "${env:",
		"QUOTED": `"a"`, "BOOL": "yes", "TRUE": "true", "DATE": "2001-01-01", "NULL": "~", "ESCAPED": "$${env:A}",
	}
	for in, want := range map[string]any{
		"plain": "plain", "$": "$", "$$": "$", "$$$": "$$", "$A": "$A", "$1": "$1", "$$1": "$1", "$${1}": "${1}", "${A": "${A", "A}": "A}",
		"${A}": "a", "${env:A}": "a", "x${A}y${A}": "xaya", "$${env:A}": "${env:A}", "$$${env:A}": "$a", "$$$${env:A}": "$${env:A}",
		"$${env:A} ${env:A}": "$a a", // all that is spelt like a reference that counts goes with it
		"$${1} ${env:A}":     "${1} a",
		"${env:N}":           16, "n${env:N}": "n0x10", "${env:LIST}": []any{1, "b"}, "${env:NESTED}": "<a>", "x${env:NESTED}": "x<a>",
		"${env:DOLLARS}": "$$", "${env:EMPTY}": nil, "[${env:EMPTY}]": "[]", "${env:COLON}": map[string]any{"a": "b"}, "${env:BAD}": "[",
		"${env:QUOTED}": `"a"`, "${env:BOOL}": "yes", "${env:TRUE}": true, "${env:NULL}": nil, "${env:ESCAPED}": "${env:A}",
		"${env:UNSET:-d}": "d", "${UNSET:-d}": "${UNSET:-d}", "${env:UNSET:-${env:A}}": "a", "${env:UNSET:-}": "", "${env:EMPTY:-}": nil, "${env:UNSET:-:-}": ":-",
		"${env:${env:UNSET:-A}}": "a", "${env:HALF}A}": "a",
	} {
		t.Run(in, func(t *testing.T) {
			c := allocated(crds.Config{Tree: map[string]any{
				"receivers": map[string]any{"prometheus": map[string]any{"config": map[string]any{"scrape_configs": []any{
					map[string]any{"job_name": "j", "value": in},
				}}}},
				"exporters": map[string]any{"debug": nil},
				"service":   map[string]any{"pipelines": map[string]any{"metrics": map[string]any{"receivers": []any{"prometheus"}, "exporters": []any{"debug"}}}},
			}})
			for _, k := range slices.Sorted(maps.Keys(env)) {
				escaped := strings.ReplaceAll(env[k], "$$", "$$$$") // as the kubelet reads them
				c.Spec.Env = append(c.Spec.Env, *core.EnvVar().WithName(k).WithValue(escaped))
			}
			_, pools := renderAllocated(t, c)
			if in == "${UNSET:-d}" { // its scheme is called UNSET
				if len(pools[0].Withheld) != 1 {
					t.Fatal("a reference of an unknown scheme is not withheld")
				}
				return
			}
			if len(pools[0].Withheld) > 0 {
				t.Fatal(pools[0].Withheld)
			}
			var doc map[string]any
			if err := yaml.Unmarshal(pools[0].ScrapeConfigs, &doc); err != nil {
				t.Fatal(err)
			}
			got := value(doc["scrape_configs"].([]any)[0], "value")
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %#v, want %#v", got, want)
			}
		})
	}
}

// TestReferencesWithoutEnd are those that would take all the memory or time there is.
func TestReferencesWithoutEnd(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"itself":              {"A": "${env:A}"},
		"itself and more":     {"A": "x${env:A}${env:A}"},
		"itself in a list":    {"A": `["${env:A}"]`},
		"itself twice":        {"A": `["${env:A}", "${env:A}"]`},
		"a long one, twice":   {"A": "${env:B}${env:B}${env:B}${env:B}", "B": strings.Repeat("x", 300_000)},
		"twice and twice etc": {"A": "${env:B}${env:B}", "B": "${env:C}${env:C}", "C": "${env:B}"},
	} {
		t.Run(name, func(t *testing.T) {
			c := allocated(text(strings.Replace(oneJob, "a:80", "${env:A}", 1)))
			for k, v := range env {
				c.Spec.Env = append(c.Spec.Env, *core.EnvVar().WithName(k).WithValue(v))
			}
			_, pools := renderAllocated(t, c)
			if len(pools[0].Withheld) != 1 || pools[0].Withheld[0].Reason != crds.ReasonValueUnknown {
				t.Errorf("withheld %v, want the job", pools[0].Withheld)
			}
		})
	}
}

// TestWithheldJobsShowNoValues has a secret in what is refused.
func TestWithheldJobsShowNoValues(t *testing.T) {
	const secret = "hunter2"
	for _, job := range []string{
		`{job_name: a, basic_auth: {password: "` + secret + `${env:X}"}}`,
		`{job_name: a, basic_auth: {password: "${env:X:-` + secret + `}", username: "${env:Y}"}}`,
		`{job_name: a, basic_auth: {password: "${` + secret + `-` + `}"}}`,
		`{job_name: a, file_sd_configs: [{files: [` + secret + `]}]}`,
	} {
		c := allocated(text(strings.Replace(oneJob, "- job_name: a # first\n          static_configs: [{targets: [\"a:80\"]}]", "- "+job, 1)))
		_, pools := renderAllocated(t, c)
		if len(pools[0].Withheld) != 1 || strings.Contains(fmt.Sprint(pools[0].Withheld), secret) {
			t.Errorf("%s: withheld %v", job, pools[0].Withheld)
		}
	}
}

// TestStartupOutlastsTheWaitForJobs holds that a collector is not killed while it waits for an allocator that is away.
func TestStartupOutlastsTheWaitForJobs(t *testing.T) {
	const health = "extensions: {health_check: {}}\n"
	config := text(health + strings.Replace(oneJob, "service: {", "service: {extensions: [health_check], ", 1))
	tuned := func(p crds.Probe) func(*crds.Collector) { return func(c *crds.Collector) { c.Spec.StartupProbe = &p } }
	five, seven := int32(5), int32(7)
	for name, tt := range map[string]struct {
		change func(*crds.Collector)
		want   string
	}{
		"by default":      {func(*crds.Collector) {}, "failureThreshold: 96\n"},
		"more often":      {tuned(crds.Probe{PeriodSeconds: &five}), "failureThreshold: 192\n"},
		"as the user has": {tuned(crds.Probe{FailureThreshold: &seven}), "failureThreshold: 7\n"},
		"without allocator": {func(c *crds.Collector) {
			c.Spec.TargetAllocator = nil
		}, ""},
	} {
		objects, _ := renderAllocated(t, allocated(config, tt.change))
		_, after, found := strings.Cut(objects, "startupProbe:\n")
		if !found {
			t.Fatalf("%s: no startupProbe in\n%s", name, objects)
		}
		probe, _, _ := strings.Cut(after, "terminationMessagePolicy")
		if got := strings.Contains(probe, "failureThreshold:"); got != (tt.want != "") || !strings.Contains(probe, tt.want) {
			t.Errorf("%s: want %q in\n%s", name, tt.want, probe)
		}
	}
}
