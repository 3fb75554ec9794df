package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	promlabels "github.com/prometheus/prometheus/model/labels"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/allocate"
	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/discover"
	"github.com/otelier/otelier/discover/monitor"
	"github.com/otelier/otelier/render"
)

func jobsOf(t *testing.T, source, text string) []discover.Job {
	t.Helper()
	jobs, errs := discover.ParseJobs([]byte(text), source, "")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return jobs
}

func TestCombine(t *testing.T) {
	own := jobsOf(t, "own", "scrape_configs: [{job_name: a}, {job_name: s, basic_auth: {username: u, password: hunter2}}]")
	monitors := jobsOf(t, "monitors", "scrape_configs: [{job_name: b}, {job_name: a}, {job_name: s}]")
	names := func(jobs []discover.Job) string {
		var out []string
		for _, j := range jobs {
			out = append(out, j.Config.JobName+"@"+j.Source)
		}
		return strings.Join(out, " ")
	}
	closed, open := combine(false, own, monitors), combine(true, own, monitors)
	if got := names(closed.Jobs); got != "a@own b@monitors" {
		t.Errorf("without secrets: %s", got)
	}
	if got := names(closed.Withheld); got != "s@own" {
		t.Errorf("withheld: %s", got)
	}
	if got := names(open.Jobs); got != "a@own s@own b@monitors" || len(open.Withheld) > 0 {
		t.Errorf("with secrets: %s, withheld %v", got, open.Withheld)
	}
	if diff := cmp.Diff([]clash{{"a", "monitors", "own"}, {"s", "monitors", "own"}}, closed.Clashes); diff != "" {
		t.Errorf("clashes (-want +got):\n%s", diff)
	}
}

func TestConditionsOf(t *testing.T) {
	problems := []problem{
		{crds.ConditionJobsWithheld, "B", "one"}, {crds.ConditionJobsWithheld, "A", "two"}, {crds.ConditionJobsWithheld, "A", "two"},
	}
	if n := withheld(problems); n != 2 {
		t.Errorf("%d jobs are withheld, want 2", n)
	}
	problems = append(problems, monitorProblems(monitor.Result{
		Missing: []string{"probes.monitoring.coreos.com"},
		Problems: []monitor.Problem{
			{Kind: "ServiceMonitor", Namespace: "n", Name: "a", Reason: monitor.ReasonMissingReference, Message: "no secret n/x"},
			{Kind: "PodMonitor", Reason: monitor.ReasonForbidden, Message: "not allowed"},
			{Kind: "Secret", Namespace: "n", Reason: monitor.ReasonForbidden, Message: "changes are noticed with a delay"},
		},
	})...)
	for i := range mostTold + 2 {
		problems = append(problems, problem{crds.ConditionTargetsUnassigned, "C", string(rune('a' + i))})
	}
	on := func(kind, reason, message string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message}
	}
	want := []metav1.Condition{
		on(crds.ConditionDiscoveryIncomplete, crds.ReasonNotInstalled, "probes.monitoring.coreos.com is not installed; PodMonitor: not allowed"),
		on(crds.ConditionJobsWithheld, "B", "one; two"),
		on(crds.ConditionMonitorsInvalid, crds.ReasonSecretMissing, "ServiceMonitor n/a: no secret n/x"),
		on(crds.ConditionTargetsUnassigned, "C", "a; b; c; d; e; and 2 more"),
	}
	if diff := cmp.Diff(want, conditionsOf(problems)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Who may not read Secrets lacks no targets by that alone, and what may not be read is not what has not answered.
func TestForbidden(t *testing.T) {
	problem := func(kind string) monitor.Problem {
		return monitor.Problem{Kind: kind, Namespace: "n", Reason: monitor.ReasonForbidden, Message: "forbidden"}
	}
	got := conditionsOf(monitorProblems(monitor.Result{Problems: []monitor.Problem{problem("Secret"), problem("ConfigMap")}}))
	if len(got) > 0 {
		t.Errorf("of Secrets it is said: %v", got)
	}
	got = conditionsOf(monitorProblems(monitor.Result{Problems: []monitor.Problem{problem("PodMonitor")}}))
	if len(got) != 1 || got[0].Reason != crds.ReasonForbidden {
		t.Errorf("of PodMonitors it is said: %v", got)
	}
}

// What is said of a scrape config must not hold its secrets.
func TestParseProblemsKeepSecrets(t *testing.T) {
	_, errs := discover.ParseJobs([]byte("scrape_configs: [{job_name: a, basic_auth: hunter2}, {job_name: b, ec2_sd_configs: [{}]}]"), "receivers.prometheus", "")
	got := parseProblems(errs)
	if len(got) != 2 || got[0].reason != crds.ReasonJobInvalid || got[1].reason != crds.ReasonDiscoveryNotBuilt {
		t.Fatalf("problems are %v", got)
	}
	if strings.Contains(got[0].message, "hunter2") {
		t.Errorf("secret in %q", got[0].message)
	}
}

func TestTogether(t *testing.T) {
	wrong := errors.New("wrong")
	stopped := false
	err := together(t.Context(),
		func(ctx context.Context) error { <-ctx.Done(); stopped = true; return nil },
		func(context.Context) error { return wrong },
	)
	if !errors.Is(err, wrong) || !stopped {
		t.Errorf("ended with %v, the other part has stopped: %v", err, stopped)
	}
}

func TestResized(t *testing.T) {
	for _, tt := range []struct {
		from []string
		to   int
		want string
	}{
		{nil, 2, "collector-0 collector-1"},
		{[]string{"a-9", "a-10", "a-8"}, 4, "a-8 a-9 a-10 a-11"},
		{[]string{"a-9", "a-10", "a-8"}, 1, "a-8"},
		{[]string{"x", "y"}, 1, "x"},
		{[]string{"x"}, 2, "x has no ordinal"},
	} {
		var names []string
		got, err := resized(listed(tt.from), tt.to)
		for _, m := range got {
			names = append(names, m.Name)
		}
		if text := strings.Join(names, " "); text != tt.want && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%v with %d: %q, %v; want %q", tt.from, tt.to, text, err, tt.want)
		}
	}
}

// A plan made of a file is the one made of the pool that serves it, and what it says comes true.
func TestPlan(t *testing.T) {
	const file = `
allocation_strategy: least-weighted
config:
  scrape_configs:
  - job_name: "a/b c"
    static_configs:
    - targets: ["h1:1", "h2:1", "h3:1", "h4:1", "h5:1", "h6:1", "h7:1"]
      labels: {x: "y"}
    relabel_configs: [{source_labels: [__address__], regex: "h1:.*", action: drop}]
  - job_name: b
    static_configs: [{targets: ["h1:2", "h2:2", "h3:2"]}]
`
	path := filepath.Join(t.TempDir(), "targetallocator.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	plan := func(args ...string) allocationPlan {
		t.Helper()
		code, out, errs := otelier(t, "", append([]string{"allocate", "plan", "-o", "json"}, args...)...)
		var p allocationPlan
		if err := json.Unmarshal([]byte(out), &p); code != exitOK || err != nil {
			t.Fatalf("exit code %d, %v: %s%s", code, err, out, errs)
		}
		return p
	}
	byFile := plan("--config", path, "--collectors", "2", "--to", "3")
	if byFile.Targets != 9 || byFile.Jobs != 2 || len(byFile.Collectors) != 3 || byFile.Collectors[2].From != nil || byFile.Moves.Joining == 0 {
		t.Fatalf("the plan is %+v", byFile)
	}

	pool := allocate.NewPool(allocate.PoolOptions{Log: slog.New(slog.DiscardHandler), Rules: allocate.Rules{Strategy: allocate.LeastWeighted}})
	pool.SetMembers(listed([]string{"collector-0", "collector-1"}))
	jobs, err := (&planCmd{Timeout: time.Minute}).resolve(t.Context(), jobsOf(t, "x", file[strings.Index(file, "  scrape_configs"):]), true, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	pool.SetJobs(jobs)
	server := httptest.NewServer(allocate.NewServer(allocate.ServerOptions{Root: pool}).Handler())
	defer server.Close()
	if diff := cmp.Diff(byFile, plan("--from", server.URL, "--to", "3")); diff != "" {
		t.Errorf("by file, and by pool (-file +pool):\n%s", diff)
	}

	pool.SetMembers(listed([]string{"collector-0", "collector-1", "collector-2"}))
	for i, n := range pool.Snapshot().Assignment.Load() {
		if *byFile.Collectors[i].To != n {
			t.Errorf("collector %d has %d targets, the plan said %d", i, n, *byFile.Collectors[i].To)
		}
	}
	if got := pool.Snapshot().Assignment.Moved; got != byFile.Moves.Between {
		t.Errorf("%d targets moved between collectors that were there, the plan said %d", got, byFile.Moves.Between)
	}
}

// servedPoolOf serves a pool for as long as the test runs.
func servedPoolOf(t *testing.T, rules allocate.Rules, members []allocate.Member, jobs []*allocate.Job) *httptest.Server {
	t.Helper()
	pool := allocate.NewPool(allocate.PoolOptions{Log: slog.New(slog.DiscardHandler), Rules: rules})
	pool.SetMembers(members)
	pool.SetJobs(jobs)
	server := httptest.NewServer(allocate.NewServer(allocate.ServerOptions{Root: pool}).Handler())
	t.Cleanup(server.Close)
	return server
}

// A plan of a pool has its rules, its members and all its targets, those on nobody too.
func TestPlanFromPool(t *testing.T) {
	var entries []allocate.Entry
	for i := range 100 {
		h := uint64(i+1) * 0x9e3779b97f4a7c15
		entries = append(entries, allocate.Entry{ID: h, Key: h, Labels: promlabels.FromStrings("__address__", strconv.Itoa(i))})
	}
	jobs := []*allocate.Job{{Name: "j", Blocks: []*allocate.Block{allocate.NewBlock(entries)}}}
	members := listed([]string{"c-0", "c-1", "c-2"})
	members[2].Capacity = 2
	rules := allocate.Rules{Strategy: allocate.LeastWeighted, Tolerance: 0.1, MaxTargets: 20}
	served := servedPoolOf(t, rules, members, jobs)
	plan := func(args ...string) allocationPlan {
		t.Helper()
		code, out, errs := otelier(t, "", append([]string{"allocate", "plan", "-o", "json", "--from", served.URL}, args...)...)
		var p allocationPlan
		if err := json.Unmarshal([]byte(out), &p); code != exitOK || err != nil || errs != "" {
			t.Fatalf("exit code %d, %v: %s%s", code, err, out, errs)
		}
		return p
	}
	now := allocate.NewAssigner().Assign(jobs, members, rules)
	if now.Unassigned == 0 {
		t.Fatal("all targets have a collector")
	}
	p := plan("--to", "4")
	if p.Targets != 100 || p.Unassigned.From != now.Unassigned || p.Unassigned.To >= now.Unassigned || p.Differing != 0 {
		t.Errorf("the plan is %+v", p)
	}
	for i, n := range now.Load() {
		if *p.Collectors[i].From != n {
			t.Errorf("collector %d is said to have %d targets, it has %d", i, *p.Collectors[i].From, n)
		}
	}
	if p := plan("--to", "3", "--max-targets", "0"); p.Unassigned.From != now.Unassigned || p.Unassigned.To != 0 || p.Moves.Assigned != now.Unassigned {
		t.Errorf("without a limit then, the plan is %+v", p)
	}
}

// A pool that does something else than what its rules say can't be planned, which is said loudly.
func TestPlanOfAnotherTruth(t *testing.T) {
	lying := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"version": "otelier.io/pool/v1", "algorithm": "` + allocate.Algorithm + `", "members": [{"name": "c-0", "seed": "c-0"}],
			"jobs": [{"name": "j", "targets": [{"id": "1", "key": "2", "owner": -1}, {"id": "2", "key": "3", "owner": 0}]}]}`))
	}))
	defer lying.Close()
	code, out, errs := otelier(t, "", "allocate", "plan", "--to", "2", "--from", lying.URL)
	if code != exitOK || !strings.Contains(out, "NOT RELIABLE: 1 targets") || !strings.Contains(errs, "the pool does not do what its rules say") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}

func TestZapFlags(t *testing.T) {
	code, _, errs := otelier(t, "", strings.Fields("allocate --zap-log-level=debug --zap-devel=true --zap-encoder json --zap-time-encoding=iso8601 --config /nowhere")...)
	if code != exitError || !strings.Contains(errs, "--zap-devel --zap-encoder --zap-log-level --zap-time-encoding") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestAllocateHelp(t *testing.T) {
	_, out, _ := otelier(t, "", "allocate", "--help")
	if !strings.Contains(strings.Join(strings.Fields(out), " "), "otelier allocate --config FILE is otelier allocate serve --config FILE") {
		t.Errorf("help is\n%s", out)
	}
}

func TestPlanErrors(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `"starting"`, http.StatusServiceUnavailable)
	}))
	defer broken.Close()
	old := httptest.NewServer(http.NotFoundHandler())
	defer old.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"version": "otelier.io/pool/v1", "algorithm": "hfr/0"}`))
	}))
	defer other.Close()
	perNode := servedPoolOf(t, allocate.Rules{Strategy: allocate.PerNode}, listed([]string{"c-0"}), nil)
	daemons := servedPoolOf(t, allocate.Rules{}, []allocate.Member{{Name: "c-0", Seed: "node-0"}}, nil)
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"allocate plan --to 3", exitUsage, "--collectors N is needed with --config"},
		{"allocate plan --to 3 --config /x --from http://127.0.0.1:1", exitUsage, "--config and --from are set together"},
		{"allocate plan --to 3 --collectors 1 --config /x --tolerance 0", exitUsage, "--tolerance and --max-targets are for --from"},
		{"allocate plan --to 3 --collectors 1 --config /x --max-targets 9", exitUsage, "--tolerance and --max-targets are for --from"},
		{"allocate plan --to 3 --from " + old.URL, exitError, "this is no pool of an otelier that can be planned from"},
		{"allocate plan --to 3 --from " + other.URL, exitError, `placed by "hfr/0" there`},
		{"allocate plan --to 3 --from " + perNode.URL, exitError, "per-node has a collector on each node"},
		{"allocate plan --to 3 --from " + daemons.URL, exitError, "those of a DaemonSet"},
		{"allocate plan --collectors 3", exitUsage, "--to"},
		{"allocate plan --to=-1 --collectors 1", exitUsage, "must not be negative"},
		{"allocate plan --to 3 --collectors 1 --strategy best", exitUsage, "--strategy"},
		{"allocate plan --to 3 --collectors 1 --config /nowhere", exitError, "configuration file: open /nowhere"},
		{"allocate plan --to 3 --from " + broken.URL, exitError, "503"},
		{"allocate --config /nowhere", exitError, "configuration file: open /nowhere"},
	} {
		code, _, errs := otelier(t, "", strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(errs, tt.want) {
			t.Errorf("%s: exit code %d, %s; want %d, %s", tt.args, code, errs, tt.code, tt.want)
		}
	}
}

// An operator outside of the cluster, which collectors are not told the address of, says so once.
func TestUnreachableAllocator(t *testing.T) {
	var out bytes.Buffer
	a := &allocator{unreachable: true, rendering: render.Options{AllocatorURL: "http://svc"}}
	a.log = slog.New(slog.NewTextHandler(&out, nil))
	for _, name := range []string{"a", "b"} {
		a.warnUnreachable(types.NamespacedName{Namespace: "n", Name: name})
	}
	if got := out.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "set --allocator-url") || !strings.Contains(got, "collector=n/a") {
		t.Errorf("log is\n%s", got)
	}
	if got := (&runCmd{}).defaultAllocator(render.Options{AllocatorURL: "http://mine"}); got {
		t.Error("an address of one's own is taken for the default")
	}
}
