package discover

import (
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v2"
)

func TestAnInvalidScrapeConfigIsLeftOutAlone(t *testing.T) {
	t.Parallel()
	const doc = `
global: {scrape_interval: 20s, external_labels: {a: b}}
rule_files: [x.yaml]
scrape_configs:
- job_name: one
- job_name: no such action
  relabel_configs: [{action: nonsense}]
- job_name: no such field
  metric_path: /x
- {}
- null
- text
- job_name: cloud
  ec2_sd_configs: [{region: x}]
- job_name: timeout
  scrape_timeout: 1h
- job_name: one
- job_name: a URL
  static_configs: [{targets: ["http://a:1"]}]
- job_name: twice
  metrics_path: /a
  metrics_path: /b
- job_name: two
  scrape_interval: 7s
`
	js, errs := ParseJobs([]byte(doc), "file.yaml", "")
	var names []string
	for _, j := range js {
		names = append(names, j.Config.JobName)
	}
	if !slices.Equal(names, []string{"one", "two"}) {
		t.Errorf("jobs %q", names)
	}
	if got := js[0].Config.ScrapeInterval.String() + " " + js[1].Config.ScrapeInterval.String(); got != "20s 7s" {
		t.Errorf("intervals %s", got)
	}
	want := []string{
		"rule_files", `(job "no such action")`, `(job "no such field")`, "[3]", "[4]", "[5]", `service discovery "ec2" is not built in`,
		`(job "timeout")`, `(job "one"): job_name "one" is there already`, `(job "a URL")`, `(job "twice")`,
	}
	if len(errs) != len(want) {
		t.Fatalf("%d errors, want %d: %v", len(errs), len(want), errs)
	}
	for i, w := range want {
		if !strings.Contains(errs[i].Error(), w) || !strings.Contains(errs[i].Error(), "file.yaml") {
			t.Errorf("error %d: %v, want %s", i, errs[i], w)
		}
	}
}

func TestBadDocuments(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		"": "", "null": "", "{}": "", "scrape_configs:": "", "# nothing": "",
		"[]": "a mapping", "text": "a mapping", "{": "yaml:", "scrape_configs: {}": "a list is wanted",
		"{global: {scrape_interval: never}, scrape_configs: [{job_name: a}]}": "global",
		"a: &a [*a]": "too much", "scrape_configs: &x [{job_name: a, params: *x}]": "too much",
	} {
		js, errs := ParseJobs([]byte(doc), "x", "")
		if len(js) > 0 {
			t.Errorf("%q: jobs", doc)
		}
		if want == "" && len(errs) > 0 || want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), want)) {
			t.Errorf("%q: %v", doc, errs)
		}
	}
}

func TestAliasesAndPlainText(t *testing.T) {
	t.Parallel()
	js := jobs(t, `
scrape_configs:
- job_name: one
  static_configs: &s [{targets: ["a:1"], labels: {version: 1.10, on: yes}}]
  relabel_configs: &r [{action: labeldrop, regex: x}]
- job_name: two
  static_configs: *s
  relabel_configs: *r
`, "")
	for _, j := range js {
		raw, err := yaml.Marshal(j.Config)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`version: "1.10"`, `"on": "yes"`, "regex: x"} {
			if !strings.Contains(string(raw), want) {
				t.Errorf("%s: no %s in\n%s", j.Config.JobName, want, raw)
			}
		}
	}
	if js[0].Hash == js[1].Hash {
		t.Error("two jobs have one hash")
	}
}

func TestSecretsAreServedInClear(t *testing.T) {
	t.Parallel()
	const doc = `
scrape_configs:
- job_name: j
  authorization: {credentials: one}
  oauth2: null
  tls_config: {key: "two\nlines", cert: c}
  http_headers: {X-Token: {secrets: [three, four], values: [v]}}
  proxy_url: http://me:five@proxy
  proxy_connect_header: {Authorization: [six]}
  http_sd_configs: [{url: "http://x", basic_auth: {username: u, password: hidden}}]
- job_name: none
  static_configs: [{targets: ["a:1"]}]
`
	js := jobs(t, doc, "")
	var got config.ScrapeConfig
	if err := yaml.Unmarshal(js[0].Served, &got); err != nil {
		t.Fatal(err)
	}
	h := got.HTTPClientConfig
	for what, pair := range map[string][2]string{
		"credentials": {string(h.Authorization.Credentials), "one"}, "key": {string(h.TLSConfig.Key), "two\nlines"},
		"header": {string(h.HTTPHeaders.Headers["X-Token"].Secrets[1]), "four"}, "proxy": {h.ProxyURL.String(), "http://me:five@proxy"},
		"proxy header": {string(h.ProxyConnectHeader["Authorization"][0]), "six"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %q, want %q", what, pair[0], pair[1])
		}
	}
	if s := string(js[0].Served); strings.Contains(s, "hidden") || strings.Contains(s, "sd_configs") || strings.Contains(s, "<secret>") {
		t.Errorf("served: %s", s)
	}
	if !js[0].Secret || js[1].Secret {
		t.Error("Secret is wrong")
	}
	// A collector compares what it would print, without secrets.
	other := jobs(t, strings.Replace(doc, "credentials: one", "credentials: two", 1), "")
	if printed(t, js[0]) == printed(t, other[0]) {
		t.Error("a collector would not see that a secret has changed")
	}
	if printed(t, js[0]) != printed(t, jobs(t, doc, "")[0]) {
		t.Error("a collector would see a change where there is none")
	}
	if sd := jobs(t, strings.Replace(doc, "hidden", "other", 1), ""); sd[0].Hash == js[0].Hash {
		t.Error("a changed secret of service discovery is the same hash")
	}
}

func printed(t *testing.T, j Job) string {
	t.Helper()
	var c config.ScrapeConfig
	if err := yaml.Unmarshal(j.Served, &c); err != nil {
		t.Fatal(err)
	}
	raw, err := yaml.Marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestServedRules(t *testing.T) {
	t.Parallel()
	js := jobs(t, `
scrape_configs:
- job_name: j
  relabel_configs:
  - {source_labels: [a], target_label: b, action: keepequal}
  - {source_labels: [a], regex: "$(SHARD);|.+", replacement: "x$(SHARD)", target_label: c}
  metric_relabel_configs: [{source_labels: [a], target_label: b, action: dropequal}]
`, "")
	var got struct {
		Rules  []map[string]any `json:"relabel_configs"`
		Metric []map[string]any `json:"metric_relabel_configs"`
	}
	if err := json.Unmarshal(js[0].Served, &got); err != nil {
		t.Fatal(err)
	}
	if _, has := got.Rules[0]["regex"]; has {
		t.Error("keepequal has a regex")
	}
	if _, has := got.Metric[0]["regex"]; has {
		t.Error("dropequal has a regex")
	}
	if got.Rules[1]["regex"] != "0;|.+" || got.Rules[1]["replacement"] != "x0" || js[0].Config.RelabelConfigs[1].Replacement != "x0" {
		t.Errorf("shard: %v", got.Rules[1])
	}
}

func TestTextThatYAMLWouldNotRead(t *testing.T) {
	t.Parallel()
	const odd = `\u007f \u0085 \u00a0 \u2028 \ufeff \uffff \U0001F600 <>& \t \\`
	js := jobs(t, `{scrape_configs: [{job_name: j, relabel_configs: [{target_label: x, replacement: "`+odd+`"}]}]}`, "")
	var back config.ScrapeConfig
	if err := yaml.Unmarshal(js[0].Served, &back); err != nil {
		t.Fatal(err)
	}
	if got, want := back.RelabelConfigs[0].Replacement, js[0].Config.RelabelConfigs[0].Replacement; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	_, errs := ParseJobs([]byte(`{scrape_configs: [{job_name: j, basic_auth: {username: u, password: !!binary "gIE="}}]}`), "x", "")
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "UTF-8") {
		t.Errorf("%v", errs)
	}
}

func FuzzParseJobs(f *testing.F) {
	raw, err := os.ReadFile("testdata/differential.yaml")
	if err != nil {
		f.Fatal(err)
	}
	// One scrape config each: small ones are quick.
	_, all, _ := strings.Cut(string(raw), "scrape_configs:\n")
	for part := range strings.SplitSeq(all, "\n- job_name") {
		f.Add([]byte("scrape_configs:\n- job_name" + strings.TrimPrefix(part, "- job_name")))
	}
	f.Add([]byte("scrape_configs: [{job_name: a, static_configs: &a [{targets: [b]}], file_sd_configs: *a}]"))
	f.Add([]byte("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: 1e3, basic_auth: {password: !!binary gIE=}}]"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		js, errs := ParseJobs(doc, "fuzz", "")
		for _, j := range js {
			var c config.ScrapeConfig
			if err := yaml.Unmarshal(j.Served, &c); err != nil {
				t.Fatalf("a collector cannot read %s: %v", j.Served, err)
			}
		}
		if len(errs) > 0 {
			return
		}
		// What Prometheus takes is what we take, and the other way round.
		cfg, err := config.Load(string(doc), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Skip() // aliases and duplicates are seen differently by its parser
		}
		if len(cfg.ScrapeConfigs) != len(js) {
			t.Fatalf("%d jobs, Prometheus has %d", len(js), len(cfg.ScrapeConfigs))
		}
	})
}
