package allocate

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.yaml.in/yaml/v3"
)

func unknownJob(name string) *Job {
	j := testJob(name)
	j.Unknown = true
	return j
}

// TestUnknownTargetsAreRefused: a collector that has targets of the job keeps them, and the other jobs are served.
func TestUnknownTargetsAreRefused(t *testing.T) {
	reg := prometheus.NewRegistry()
	known := testJob("known", NewBlock(podEntries(10)))
	p := readyPool(t, PoolOptions{Metrics: NewMetrics(reg)}, 2, known, unknownJob("dark"))
	h := p.Handler()

	var configs, links map[string]json.RawMessage
	if w := ask(h, "/scrape_configs"); w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &configs) != nil || len(configs) != 2 {
		t.Errorf("scrape configs: %d\n%s", w.Code, w.Body)
	}
	if w := ask(h, "/jobs"); w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &links) != nil || len(links) != 2 {
		t.Errorf("jobs: %d\n%s", w.Code, w.Body)
	}
	for _, path := range []string{"/jobs/dark/targets", "/jobs/dark/targets?collector_id=collector-000", "/jobs/dark/targets?collector_id=nobody"} {
		w := ask(h, path)
		var mapping map[string]any
		if w.Code != http.StatusServiceUnavailable || w.Body.Len() == 0 || yaml.Unmarshal(w.Body.Bytes(), &mapping) == nil {
			t.Errorf("%s: %d\n%s", path, w.Code, w.Body)
		}
		if w.Header().Get("ETag") != "" || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: header %v", path, w.Header())
		}
	}
	if w := ask(h, "/jobs/known/targets?collector_id=collector-000"); w.Code != http.StatusOK || w.Body.Len() < 10 {
		t.Errorf("known: %d\n%s", w.Code, w.Body)
	}
	// One that has an older list of jobs asks for what is no longer there.
	if w := ask(h, "/jobs/gone/targets?collector_id=collector-000"); w.Code != http.StatusOK || w.Body.String() != "[]" {
		t.Errorf("gone: %d\n%s", w.Code, w.Body)
	}
	page := ask(h, "/").Body.String()
	if !strings.Contains(page, "not known yet") {
		t.Errorf("the page is\n%s", page)
	}
	checkUnknownMetric(t, reg, "1")
	names := jobSeries(t, reg)
	if !slices.Equal(names, []string{"known"}) {
		t.Errorf("targets are said of jobs %v", names)
	}

	before := ask(h, "/scrape_configs").Header().Get("ETag")
	p.SetJobs([]*Job{known, testJob("dark", NewBlock(podEntriesFrom(10, 4)))})
	if w := ask(h, "/jobs/dark/targets?collector_id=collector-000"); w.Code != http.StatusOK {
		t.Errorf("dark is known: %d\n%s", w.Code, w.Body)
	}
	if after := ask(h, "/scrape_configs").Header().Get("ETag"); after != before {
		t.Error("the configurations have another tag")
	}
	if moved := p.Snapshot().Moved; moved > 5 {
		t.Errorf("%d targets have moved", moved)
	}
	checkUnknownMetric(t, reg, "0")
}

func checkUnknownMetric(t *testing.T, reg *prometheus.Registry, value string) {
	t.Helper()
	want := `
# HELP otelier_allocator_jobs_unknown Jobs of which service discovery has not told the targets yet: collectors keep those that they have.
# TYPE otelier_allocator_jobs_unknown gauge
otelier_allocator_jobs_unknown{pool=""} ` + value + "\n"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "otelier_allocator_jobs_unknown"); err != nil {
		t.Error(err)
	}
}

func jobSeries(t *testing.T, reg *prometheus.Registry) []string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		if f.GetName() != "opentelemetry_allocator_targets" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "job_name" {
					names = append(names, l.GetValue())
				}
			}
		}
	}
	return names
}
