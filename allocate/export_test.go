package allocate

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What /pool.json says leads to the assignment of the pool that says it.
func TestExport(t *testing.T) {
	rules := Rules{Strategy: LeastWeighted, Tolerance: 0.05, MaxTargets: 90, Zones: true}
	heavy := podEntriesFrom(1000, 7)
	for i := range heavy {
		heavy[i].Class = 3
	}
	p := NewPool(PoolOptions{Log: quiet(), Rules: rules})
	t.Cleanup(p.Close)
	members := testMembers(3)
	members[1].Seed, members[1].Node, members[1].Zone, members[2].Capacity = "node-1", "node-1", "eu-central-1a", 2
	p.SetMembers(members)
	p.SetJobs([]*Job{testJob(`a/"b c"`, NewBlock(podEntries(400)), NewBlock(podEntriesFrom(500, 20))), testJob("empty"), {Name: "later", Unknown: true}, testJob("heavy", NewBlock(heavy))})

	answer := ask(p.Handler(), "/pool.json")
	if answer.Code != http.StatusOK || strings.Contains(answer.Body.String(), "__meta") {
		t.Fatalf("status %d: %.300s", answer.Code, answer.Body)
	}
	e, err := ReadExport(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	jobs, gotMembers, gotRules := e.Pool()
	if diff := cmp.Diff(rules, gotRules) + cmp.Diff(members, gotMembers); diff != "" || e.Algorithm != Algorithm {
		t.Errorf("algorithm %q, (-want +got):\n%s", e.Algorithm, diff)
	}
	if later := e.Jobs[3]; len(jobs) != 4 || later.Name != "later" || !later.Unknown || e.Jobs[1].Unknown {
		t.Errorf("jobs are %+v", e.Jobs[1:])
	}
	here, s := NewAssigner().Assign(jobs, gotMembers, gotRules), p.Snapshot()
	if diff := cmp.Diff(s.Assignment.Load(), here.Load()); diff != "" || here.Unassigned != s.Assignment.Unassigned || here.Unassigned == 0 {
		t.Errorf("unassigned %d, want %d; load (-pool +export):\n%s", here.Unassigned, s.Assignment.Unassigned, diff)
	}
	if n := e.Differing(here); n != 0 {
		t.Errorf("%d targets have another owner", n)
	}
	gotRules.MaxTargets = 0
	if n := e.Differing(NewAssigner().Assign(jobs, gotMembers, gotRules)); n < s.Assignment.Unassigned {
		t.Errorf("%d targets have another owner under other rules, want %d at least", n, s.Assignment.Unassigned)
	}
}

func TestReadExportErrors(t *testing.T) {
	for text, want := range map[string]string{
		"<html>":          "read pool: invalid character",
		"{}":              `its version is ""`,
		`{"version":"v"}`: `its version is "v"`,
		`{"version":"` + exportVersion + `","jobs":[{"name":"j","targets":[{"id":"1","key":"2","owner":0}]}]}`: `job "j": a target has owner 0 of 0`,
		`{"version":"` + exportVersion + `","jobs":[{"name":"j","targets":[{"id":"x","key":"2"}]}]}`:           "invalid syntax",
	} {
		if _, err := ReadExport(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
