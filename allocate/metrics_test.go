package allocate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	metrics := NewMetrics(reg)
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	p := NewPool(PoolOptions{Name: "a/b", Log: quiet(), Clock: clock, Metrics: metrics, Rules: Rules{MaxTargets: 3}})
	s := NewServer(ServerOptions{Log: quiet(), Metrics: metrics})
	s.Set("a/b", p)
	expect := func(want string, names ...string) {
		t.Helper()
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
			t.Error(err)
		}
	}
	gauges := []string{
		"otelier_allocator_ready", "otelier_allocator_jobs_withheld", "opentelemetry_allocator_targets", "opentelemetry_allocator_targets_unassigned",
		"opentelemetry_allocator_targets_per_collector", "opentelemetry_allocator_collectors_allocatable", "opentelemetry_allocator_collectors_discovered",
	}
	p.SetWithheld(2)
	expect(`
# HELP otelier_allocator_ready Whether the pool is served.
# TYPE otelier_allocator_ready gauge
otelier_allocator_ready{pool="a/b"} 0
# HELP otelier_allocator_jobs_withheld Jobs that are left out, or that have targets which are: the condition JobsWithheld says why.
# TYPE otelier_allocator_jobs_withheld gauge
otelier_allocator_jobs_withheld{pool="a/b"} 2
`, gauges...)

	p.SetMembers(testMembers(1))
	p.SetJobs([]*Job{testJob("j", NewBlock(podEntries(5))), testJob("empty")})
	p.SetWithheld(0)
	p.SetDiscovered(4)
	ask(s.Handler(), "/pools/a/b/jobs/j/targets?collector_id=collector-000")
	clock.SetTime(time.Unix(1007, 0))
	expect(`
# HELP otelier_allocator_ready Whether the pool is served.
# TYPE otelier_allocator_ready gauge
otelier_allocator_ready{pool="a/b"} 1
# HELP otelier_allocator_jobs_withheld Jobs that are left out, or that have targets which are: the condition JobsWithheld says why.
# TYPE otelier_allocator_jobs_withheld gauge
otelier_allocator_jobs_withheld{pool="a/b"} 0
# HELP opentelemetry_allocator_targets Targets of a job.
# TYPE opentelemetry_allocator_targets gauge
opentelemetry_allocator_targets{job_name="empty",pool="a/b"} 0
opentelemetry_allocator_targets{job_name="j",pool="a/b"} 5
# HELP opentelemetry_allocator_targets_unassigned Targets that no collector may have.
# TYPE opentelemetry_allocator_targets_unassigned gauge
opentelemetry_allocator_targets_unassigned{pool="a/b"} 2
# HELP opentelemetry_allocator_targets_per_collector Targets of a collector.
# TYPE opentelemetry_allocator_targets_per_collector gauge
opentelemetry_allocator_targets_per_collector{collector_name="collector-000",pool="a/b",strategy="least-weighted"} 3
# HELP opentelemetry_allocator_collectors_allocatable Collectors that targets are given to.
# TYPE opentelemetry_allocator_collectors_allocatable gauge
opentelemetry_allocator_collectors_allocatable{pool="a/b",strategy="least-weighted"} 1
# HELP opentelemetry_allocator_collectors_discovered Collectors that there are, with those that wait for being ready.
# TYPE opentelemetry_allocator_collectors_discovered gauge
opentelemetry_allocator_collectors_discovered{pool="a/b"} 4
# HELP otelier_allocator_collector_poll_age_seconds Time since a collector last asked for targets; +Inf if it never has.
# TYPE otelier_allocator_collector_poll_age_seconds gauge
otelier_allocator_collector_poll_age_seconds{collector_name="collector-000",pool="a/b"} 7
`, append(gauges, "otelier_allocator_collector_poll_age_seconds")...)

	// What is gone is gone, and what is zero is zero.
	p.SetRules(Rules{})
	p.SetJobs([]*Job{testJob("other", NewBlock(podEntries(1)))})
	expect(`
# HELP opentelemetry_allocator_targets Targets of a job.
# TYPE opentelemetry_allocator_targets gauge
opentelemetry_allocator_targets{job_name="other",pool="a/b"} 1
# HELP opentelemetry_allocator_targets_unassigned Targets that no collector may have.
# TYPE opentelemetry_allocator_targets_unassigned gauge
opentelemetry_allocator_targets_unassigned{pool="a/b"} 0
`, "opentelemetry_allocator_targets", "opentelemetry_allocator_targets_unassigned")
	if n := testutil.CollectAndCount(metrics, "opentelemetry_allocator_http_duration_seconds"); n != 1 {
		t.Errorf("%d paths have been asked, want 1", n)
	}
	if n := testutil.CollectAndCount(metrics, "opentelemetry_allocator_time_to_allocate"); n != 2 {
		t.Errorf("%d methods have assigned, want 2", n)
	}
	s.Delete("a/b")
	expect("", gauges...)
}

func TestMetricsAreBounded(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	var jobs []*Job
	block := podEntries(maxSeries + 50)
	for i := range maxSeries + 50 {
		jobs = append(jobs, testJob(fmt.Sprintf("job-%05d\xff", i), NewBlock(block[i:i+1])))
	}
	m := NewMetrics(reg)
	readyPool(t, PoolOptions{Metrics: m}, maxSeries+7, jobs...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		sum := 0.0
		for _, m := range f.Metric {
			sum += m.GetGauge().GetValue()
		}
		switch f.GetName() {
		case "opentelemetry_allocator_targets", "opentelemetry_allocator_targets_per_collector":
			if len(f.Metric) != maxSeries+1 || int(sum) != len(jobs) {
				t.Errorf("%s: %d series with a sum of %v", f.GetName(), len(f.Metric), sum)
			}
		}
	}
	if testutil.CollectAndCount(m, "opentelemetry_allocator_targets") == 0 {
		t.Error("there are no targets")
	}
}
