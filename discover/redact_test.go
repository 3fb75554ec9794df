package discover

import (
	"strings"
	"testing"
)

// TestErrorsDoNotQuoteValues: a password at the wrong place stays where it is, and so do the numbers of lines that nobody has.
func TestErrorsDoNotQuoteValues(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		"basic_auth: hunter2":                                              "cannot unmarshal !!str",
		"basic_auth: 'hunt` into er2'":                                     "cannot unmarshal !!str",
		"scrape_interval: hunter2":                                         "not a valid duration string",
		"metrics_path: [hunter2]":                                          "cannot unmarshal",
		"static_configs: [{targets: ['http://u:hunter2@h:x/y']}]":          "is not a valid hostname",
		"http_sd_configs: [{url: 'http://user:hunter2hunter2@h:port/'}]":   "invalid port",
		"relabel_configs: [{action: hunter2}]":                             "action",
		"relabel_configs: [{regex: '(hunter2'}]":                           "missing closing",
		"hunter: 2\n  basic_auth: {username: u, passwort: hunter2hunter2}": "field passwort not found",
	} {
		_, errs := ParseJobs([]byte("scrape_configs:\n- job_name: j\n  "+config), "x", "")
		if len(errs) != 1 {
			t.Errorf("%s: %v", config, errs)
			continue
		}
		text := errs[0].Error()
		if strings.Contains(text, "hunt`") || strings.Contains(text, "hunter2") || strings.Contains(text, "line ") || strings.Contains(text, "\n") {
			t.Errorf("%s: %s", config, text)
		}
		if !strings.Contains(text, `job "j"`) || !strings.Contains(text, want) {
			t.Errorf("%s: %s; it does not say %q", config, text, want)
		}
		t.Log(text)
	}
	_, errs := ParseJobs([]byte("global: {scrape_interval: hunter2}\nscrape_configs: [{job_name: j}]"), "x", "")
	if len(errs) != 1 || strings.Contains(errs[0].Error(), "hunter2") || !strings.Contains(errs[0].Error(), "global") {
		t.Errorf("%v", errs)
	}
}

func TestWithoutValues(t *testing.T) {
	t.Parallel()
	if got := WithoutValues("line 1: cannot unmarshal !!str `a`b` into int\nline 2: `c`"); got != "line 1: cannot unmarshal !!str `…` into int\nline 2: `…`" {
		t.Errorf("it is %q", got)
	}
}
