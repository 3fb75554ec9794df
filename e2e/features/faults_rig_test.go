package features_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/e2e/cluster"
	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/samples"
	"github.com/otelier/otelier/e2e/steps"
)

// quiet is the longest time without a sample of a target that nothing has happened to: some intervals, on a machine that is busy.
const quiet = 5 * scrapeInterval

// faulty is a scene in which collectors scrape while something is broken on purpose, and what that has cost is noted.
type faulty struct {
	*scraping
	nodes  cluster.Nodes
	losses []loss
	notes  []string
}

// startFaulty returns when as many collectors scrape the exporters, of which there is a pod on each worker node.
func startFaulty(t *testing.T, scene *steps.Scene, collectors int) *faulty {
	t.Helper()
	f := &faulty{nodes: scene.NeedsNodes(t)}
	f.scraping = startScraping(t, scene)
	t.Cleanup(func() { t.Log(f.report()) })
	for i, node := range f.workers(t) {
		name := fmt.Sprintf("node-%d", i)
		f.deploy(t, exporters{name: name, replicas: 1, ports: 6, node: node})
		f.serviceMonitor(t, name, "")
	}
	f.phase(t, "collectors start", func(t *testing.T) { f.collect(t, collectors) },
		expected{members: members(collectors), moved: anyNumber})
	f.WaitReady(t, pool)
	return f
}

// workers are the nodes but for those of the control plane.
func (f *faulty) workers(t *testing.T) []string {
	t.Helper()
	list, err := f.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{LabelSelector: "!node-role.kubernetes.io/control-plane"})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, node := range list.Items {
		out = append(out, node.Name)
	}
	slices.Sort(out)
	if len(out) < 2 {
		t.Skipf("needs two worker nodes, there are %v", out)
	}
	return out
}

// loss is what a group of targets has lost in an incident.
type loss struct {
	incident, group string
	targets         int
	gap             time.Duration // the longest without a sample
	longest         string        // the target with that
	samples         int           // of all targets together, had each been scraped at every interval
	moved           int           // targets with another collector than before
	allowed         time.Duration
	why             string // what forces it
	took            time.Duration
}

// group are targets that an incident forces the same on.
type group struct {
	name string
	// has tells whether a target of a collector, before the incident, is one of them.
	has func(target, owner string) bool
	// gap is the longest time for which they may be unscraped, and why that is.
	gap time.Duration
	why string
}

// all is the group of every target.
func all(name string, gap time.Duration, why string) group {
	return group{name, func(string, string) bool { return true }, gap, why}
}

// untouched is the group of targets that nothing may be lost of.
func untouched() group { return all("all others", quiet, "nothing") }

// incident is one while it goes on.
type incident struct {
	*faulty
	phase
	since  controlplane.Position
	pods   map[string]pod
	owners map[string]string
}

// pod tells a pod, and the containers in it, from those that take its place.
type pod struct {
	uid      string
	restarts int32
}

// incident begins one.
func (f *faulty) incident(t *testing.T, name string) *incident {
	t.Helper()
	i := &incident{faulty: f, since: f.Mark(t), owners: maps.Clone(f.owners)}
	var err error
	if i.pods, err = f.podsNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.phase = f.begin(t, name)
	return i
}

// podsNow are the pods of the scene and of the operator, as NAMESPACE/NAME.
func (f *faulty) podsNow(ctx context.Context) (map[string]pod, error) {
	out := map[string]pod{}
	for _, namespace := range []string{f.Namespace, f.Installed.Namespace} {
		list, err := f.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("pods of %s: %w", namespace, err)
		}
		for _, p := range list.Items {
			if p.DeletionTimestamp != nil { // it is on its way out, as one of a lost node is until the node is back
				continue
			}
			one := pod{uid: string(p.UID)}
			for _, c := range p.Status.ContainerStatuses {
				one.restarts += c.RestartCount
			}
			out[namespace+"/"+p.Name] = one
		}
	}
	return out, nil
}

// note keeps something that was seen, for the report.
func (i *incident) note(t *testing.T, format string, args ...any) {
	t.Helper()
	text := i.name + ": " + fmt.Sprintf(format, args...)
	t.Log(text)
	i.notes = append(i.notes, text)
}

// passed is how much time has gone by.
func (i *incident) passed() time.Duration { return time.Since(i.begin).Round(100 * time.Millisecond) }

// judged is what is wanted of an incident in the end.
type judged struct {
	expected
	// groups of targets; each belongs to the first that has it.
	groups []group
	// pods that may have been replaced, or have had a container restarted; of any other this is an error.
	pods func(name string) bool
	// stay says that every target has to have the collector that it had before.
	stay bool
}

// over waits until all is as it should be, and judges the incident.
func (i *incident) over(t *testing.T, want judged) {
	t.Helper()
	if want.patience == 0 {
		want.patience = steps.RealPatience
	}
	within(t, want.patience, i.name+": exporters", func() error { return i.rolledOut(t) })
	var owners map[string]string
	within(t, want.patience, i.name+": every target scraped by its owner alone", func() (err error) {
		owners, err = i.settled(t.Context(), want.expected)
		return err
	})
	settled := time.Now()
	view := i.steady(t, i.phase, settled, owners)
	took := settled.Sub(i.begin)
	for _, l := range i.measureGroups(view, owners, want.groups) {
		l.took = took
		i.losses = append(i.losses, l)
		t.Log(l)
		if l.gap > l.allowed {
			t.Errorf("%s: %s: %s was not scraped for %s, want %s at most", i.name, l.group, l.longest, l.gap, l.allowed)
		}
	}
	i.wantOwners(t, owners, want)
	i.wantPods(t, want.pods)
	i.noteWrites(t)
	i.scraping.owners = owners
}

// measureGroups tells what targets have lost that are there before and after.
func (i *incident) measureGroups(view *samples.View, owners map[string]string, groups []group) []loss {
	end := view.Now.Add(-delay)
	out := make([]loss, len(groups))
	for n, g := range groups {
		out[n] = loss{incident: i.name, group: g.name, allowed: g.gap, why: g.why}
	}
	for target, owner := range owners {
		before, existed := i.owners[target]
		n := slices.IndexFunc(groups, func(g group) bool { return existed && g.has(target, before) })
		if n < 0 {
			continue
		}
		l := &out[n]
		l.targets++
		l.samples += view.Targets[target].Missing(scrapeInterval, i.begin, end)
		if gap := view.Targets[target].Gap(i.begin, end); gap > l.gap {
			l.gap, l.longest = gap, target
		}
		if owner != before {
			l.moved++
		}
	}
	return slices.DeleteFunc(out, func(l loss) bool { return l.targets == 0 })
}

// wantOwners fails the test when more targets have moved than may.
func (i *incident) wantOwners(t *testing.T, owners map[string]string, want judged) {
	t.Helper()
	var moved []string
	for target, owner := range owners {
		if before, existed := i.owners[target]; existed && before != owner {
			moved = append(moved, fmt.Sprintf("%s from %s to %s", target, before, owner))
		}
	}
	slices.Sort(moved)
	most := want.moved
	if want.stay {
		most = 0
	}
	if most >= 0 && len(moved) > most {
		t.Errorf("%s: %d targets have moved, want %d at most: %s", i.name, len(moved), most, strings.Join(moved, "; "))
	}
}

// wantPods fails the test when pods were replaced or restarted that nothing has happened to.
func (i *incident) wantPods(t *testing.T, may func(name string) bool) {
	t.Helper()
	now, err := i.podsNow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, before := range i.pods {
		after, there := now[name]
		if after == before || may != nil && may(name) {
			continue
		}
		t.Errorf("%s: pod %s was replaced or restarted: there %t, %+v, before %+v", i.name, name, there, after, before)
	}
}

// noteWrites notes what operators have written in the scene's namespace since the incident's begin.
func (i *incident) noteWrites(t *testing.T) {
	t.Helper()
	counts := controlplane.Counts(i.Stored(t, i.since))
	if len(counts) == 0 {
		i.note(t, "the operator has written nothing")
		return
	}
	i.note(t, "the operator has written %v", counts)
}

// only returns a function that tells whether a pod is one of these, of the scene's namespace.
func (f *faulty) only(names ...string) func(string) bool {
	return func(name string) bool {
		namespace, name, _ := strings.Cut(name, "/")
		return namespace == f.Namespace && slices.Contains(names, name)
	}
}

// operator tells whether a pod is one of the operator's.
func (f *faulty) operator(name string) bool {
	return strings.HasPrefix(name, f.Installed.Namespace+"/")
}

// hold looks until an hour has come that nothing of these targets is lost, and fails the test as soon as something is.
func (f *faulty) hold(t *testing.T, what string, until time.Time, targets []string) {
	t.Helper()
	within(t, time.Until(until)+time.Minute, what, func() error {
		view, err := f.look(t.Context(), time.Now().Add(-time.Minute))
		if err != nil {
			return err
		}
		end := view.Now.Add(-delay)
		for _, target := range targets {
			if gap := view.Targets[target].Gap(end.Add(-2*quiet), end); gap > quiet {
				t.Fatalf("%s: %s was not scraped for %s", what, target, gap)
			}
		}
		if left := time.Until(until); left > 0 {
			return fmt.Errorf("%s to go", left)
		}
		return nil
	})
}

// String is a row of a table in Markdown. An interval without a sample is counted as lost for its length.
func (l loss) String() string {
	lost := time.Duration(l.samples) * scrapeInterval
	return fmt.Sprintf("| %s | %s | %d | %.1f s | %.1f s | %.0f s | %.0f s: %s | %d | %.0f s |", l.incident, l.group, l.targets, l.gap.Seconds(),
		lost.Seconds()/float64(l.targets), lost.Seconds(), l.allowed.Seconds(), l.why, l.moved, l.took.Seconds())
}

// report is all losses and notes so far.
func (f *faulty) report() string {
	var out strings.Builder
	fmt.Fprintf(&out, "\nscraped every %s, http_sd refreshed every %s\n\n", scrapeInterval, sdRefresh)
	out.WriteString("| fault | targets | how many | longest gap | lost per target | lost in all | allowed | moved | over after |\n")
	out.WriteString("|---|---|--:|--:|--:|--:|---|--:|--:|\n")
	for _, l := range f.losses {
		out.WriteString(l.String() + "\n")
	}
	out.WriteString("\n")
	for _, note := range f.notes {
		out.WriteString("- " + note + "\n")
	}
	return out.String()
}
