package monitor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestJobsOfAllKinds(t *testing.T) {
	r := newRig(t)
	r.apply(serviceMonitor, service("a", "web", nil))
	r.apply(podMonitor, manifest("a", "pods", map[string]any{
		"selector": map[string]any{}, "podMetricsEndpoints": []any{map[string]any{"port": "m"}, map[string]any{"port": "n"}},
	}))
	r.apply(probe, manifest("b", "ping", map[string]any{
		"prober":  map[string]any{"url": "blackbox:9115"},
		"targets": map[string]any{"staticConfig": map[string]any{"static": []any{"https://example.com"}}},
	}))
	r.apply(scrapeConfig, static("b", "fixed"))
	l := r.subscribe(everything())
	r.run()
	got := l.untilJobs("serviceMonitor/a/web/0", "podMonitor/a/pods/0", "podMonitor/a/pods/1", "probe/b/ping", "scrapeConfig/b/fixed")
	if len(got.Problems) > 0 || len(got.Missing) > 0 {
		t.Errorf("problems %v, missing %v, want none", got.Problems, got.Missing)
	}
	if _, n := l.last(); n != 1 {
		t.Errorf("%d results, want the complete one alone", n)
	}
	if got.Jobs[0].Source != "serviceMonitor/a/web" {
		t.Errorf("source %q", got.Jobs[0].Source)
	}
}

func TestNothingIsSelectedByNilSelectors(t *testing.T) {
	r := newRig(t)
	r.apply(serviceMonitor, service("a", "web", nil))
	l := r.subscribe(Selection{Namespace: "a"})
	r.run()
	l.until("a result", func(Result) bool { return true })
	if got, _ := l.last(); len(got.Jobs) > 0 {
		t.Errorf("jobs %v, want none", names(got))
	}
	for _, action := range r.dynamic.Actions() {
		if action.GetVerb() != "create" {
			t.Errorf("%s of %s, which nobody selects from", action.GetVerb(), action.GetResource().Resource)
		}
	}
}

func TestOneEditChangesOneJob(t *testing.T) {
	r := newRig(t)
	r.apply(serviceMonitor, service("a", "one", nil))
	r.apply(serviceMonitor, service("a", "two", nil))
	l := r.subscribe(everything())
	r.run()
	before := l.untilJobs("serviceMonitor/a/one/0", "serviceMonitor/a/two/0")
	r.apply(serviceMonitor, service("a", "two", map[string]any{"port": "other"}))
	after := l.until("a changed job", func(x Result) bool { return x.Jobs[1].Hash != before.Jobs[1].Hash })
	if after.Jobs[0].Hash != before.Jobs[0].Hash || after.Jobs[0].Config != before.Jobs[0].Config {
		t.Error("the other job has changed, or was made again")
	}
	r.remove(serviceMonitor, "a", "one")
	l.untilJobs("serviceMonitor/a/two/0")
}

func TestWeight(t *testing.T) {
	r := newRig(t)
	m := service("a", "web", nil)
	m.SetAnnotations(map[string]string{annotationWeight: "5"})
	r.apply(serviceMonitor, m)
	l := r.subscribe(everything())
	r.run()
	if got := l.untilJobs("serviceMonitor/a/web/0"); got.Jobs[0].Weight != 5 {
		t.Errorf("weight %d, want 5", got.Jobs[0].Weight)
	}
	m.SetAnnotations(map[string]string{annotationWeight: "heavy"})
	r.apply(serviceMonitor, m)
	got := l.until("a problem", func(x Result) bool { return len(x.Problems) == 1 })
	if got.Problems[0].Reason != ReasonWeight || len(got.Jobs) != 1 || got.Jobs[0].Weight != 0 {
		t.Errorf("problems %v, jobs %v of weight %d", got.Problems, names(got), got.Jobs[0].Weight)
	}
}

func TestInvalidObjectIsLeftOutAlone(t *testing.T) {
	r := newRig(t)
	r.apply(serviceMonitor, service("a", "good", nil))
	r.apply(serviceMonitor, service("a", "bad", map[string]any{"port": "web", "interval": "10s", "scrapeTimeout": "20s"}))
	r.apply(serviceMonitor, service("a", "odd", map[string]any{"port": map[string]any{"not": "a string"}}))
	r.apply(scrapeConfig, manifest("a", "cloud", map[string]any{"ec2SDConfigs": []any{map[string]any{"region": "x"}}}))
	l := r.subscribe(everything())
	r.run()
	got := l.untilJobs("serviceMonitor/a/good/0")
	reasons := map[string]string{}
	for _, p := range got.Problems {
		reasons[p.Name] = p.Reason
	}
	if len(reasons) != 3 || reasons["bad"] != ReasonInvalid || reasons["odd"] != ReasonInvalid || reasons["cloud"] != ReasonUnsupported {
		t.Errorf("problems %v", got.Problems)
	}
	if n := len(r.recorder.Events); n != 3 {
		t.Errorf("%d Events, want one for each of 3", n)
	}
	r.apply(serviceMonitor, service("a", "bad", nil))
	r.apply(serviceMonitor, service("a", "odd", nil))
	l.untilJobs("serviceMonitor/a/bad/0", "serviceMonitor/a/good/0", "serviceMonitor/a/odd/0")
	if n := len(r.recorder.Events); n != 3 {
		t.Errorf("%d Events, want no new one", n)
	}
}

func TestSecretAppearsChangesAndGoes(t *testing.T) {
	r := newRig(t)
	r.apply(serviceMonitor, service("a", "locked", withPassword("s")))
	r.apply(serviceMonitor, service("a", "open", nil))
	l := r.subscribe(everything())
	r.run()
	got := l.untilJobs("serviceMonitor/a/open/0")
	if len(got.Problems) != 1 || got.Problems[0].Reason != ReasonMissingReference || got.Problems[0].Name != "locked" {
		t.Fatalf("problems %v, want the missing Secret of locked", got.Problems)
	}
	r.secret("a", "s", map[string]string{"user": "u"})
	got = l.until("the missing key", func(x Result) bool { return strings.Contains(x.Problems[0].Message, `key "password"`) })
	if got.Problems[0].Reason != ReasonMissingReference {
		t.Errorf("reason %s", got.Problems[0].Reason)
	}
	r.secret("a", "s", map[string]string{"user": "u", "password": "first"})
	got = l.untilJobs("serviceMonitor/a/locked/0", "serviceMonitor/a/open/0")
	if auth := got.Jobs[0].Config.HTTPClientConfig.BasicAuth; auth == nil || string(auth.Password) != "first" {
		t.Errorf("basic auth %v", auth)
	}
	fetched, open := r.fetched(), got.Jobs[1].Config
	r.secret("a", "s", map[string]string{"user": "u", "password": "second"})
	got = l.until("the new password", func(x Result) bool {
		return string(x.Jobs[0].Config.HTTPClientConfig.BasicAuth.Password) == "second"
	})
	if got.Jobs[1].Config != open {
		t.Error("a job without the Secret was made again")
	}
	if n := r.fetched() - fetched; n != 1 {
		t.Errorf("the Secret was fetched %d times for one change", n)
	}
	fetched = r.fetched()
	r.apply(serviceMonitor, service("a", "locked", func() map[string]any {
		e := withPassword("s")
		e["port"] = "other"
		return e
	}()))
	was := got.Jobs[0].Hash
	l.until("the edit", func(x Result) bool { return x.Jobs[0].Hash != was })
	if n := r.fetched() - fetched; n != 0 {
		t.Errorf("the Secret was fetched %d times for a change of something else", n)
	}
}

func TestSecretThatCanNotBeReadForTheMoment(t *testing.T) {
	r := newRig(t)
	r.secret("a", "s", map[string]string{"user": "u", "password": "first"})
	r.secret("a", "new", map[string]string{"user": "u", "password": "other"})
	r.fail(errors.New("etcd is away"))
	r.apply(serviceMonitor, service("a", "locked", withPassword("s")))
	r.apply(serviceMonitor, service("a", "open", nil))
	l := r.subscribe(everything())
	r.run()
	deadline := time.Now().Add(20 * time.Second)
	for r.fetched() < 3 {
		if time.Now().After(deadline) {
			t.Fatalf("%d attempts to read the Secret in 20 s", r.fetched())
		}
		time.Sleep(5 * time.Millisecond)
	}
	if _, n := l.last(); n > 0 {
		t.Fatal("a result without the job whose Secret can't be read yet")
	}
	r.fail(nil)
	before := l.untilJobs("serviceMonitor/a/locked/0", "serviceMonitor/a/open/0")
	r.fail(errors.New("etcd is away"))
	r.apply(serviceMonitor, service("a", "locked", withPassword("new")))
	got := l.until("a problem", func(x Result) bool { return len(x.Problems) > 0 })
	if got.Problems[0].Reason != ReasonUnavailable || len(got.Jobs) != 2 || got.Jobs[0].Hash != before.Jobs[0].Hash {
		t.Errorf("problems %v, jobs %v: want the old job to stay", got.Problems, names(got))
	}
	r.fail(nil)
	got = l.until("the new Secret", func(x Result) bool { return len(x.Problems) == 0 && x.Jobs[0].Hash != before.Jobs[0].Hash })
	if password := got.Jobs[0].Config.HTTPClientConfig.BasicAuth.Password; password != "other" {
		t.Errorf("password %q", password)
	}
}

func TestResourceThatAppearsAndGoes(t *testing.T) {
	r := newRig(t)
	r.answer("probes", notFound("probes"))
	r.apply(serviceMonitor, service("a", "web", nil))
	r.apply(scrapeConfig, static("a", "fixed"))
	l := r.subscribe(everything())
	r.run()
	got := l.untilJobs("serviceMonitor/a/web/0", "scrapeConfig/a/fixed")
	if !slices.Equal(got.Missing, []string{"probes.monitoring.coreos.com"}) {
		t.Errorf("missing %v", got.Missing)
	}
	r.apply(probe, manifest("b", "ping", map[string]any{
		"prober":  map[string]any{"url": "blackbox:9115"},
		"targets": map[string]any{"staticConfig": map[string]any{"static": []any{"https://example.com"}}},
	}))
	r.answer("probes", nil)
	got = l.untilJobs("serviceMonitor/a/web/0", "probe/b/ping", "scrapeConfig/a/fixed")
	if len(got.Missing) > 0 {
		t.Errorf("missing %v, want none", got.Missing)
	}
	_, before := l.last()
	r.answer("probes", errors.New("the API server is starting"))
	r.hangUp()
	r.apply(serviceMonitor, service("a", "web", map[string]any{"port": "other"}))
	hash := got.Jobs[0].Hash
	l.until("the edit", func(x Result) bool { return x.Jobs[0].Hash != hash })
	if got, n := l.last(); len(got.Jobs) != 3 || n != before+1 {
		t.Errorf("after an error that says nothing: %d results, the last with %v", n-before, names(got))
	}
	r.answer("probes", notFound("probes"))
	got = l.untilJobs("serviceMonitor/a/web/0", "scrapeConfig/a/fixed")
	if len(got.Missing) != 1 {
		t.Errorf("missing %v, want the probes", got.Missing)
	}
}

func TestNamespaceSelectors(t *testing.T) {
	r := newRig(t)
	for _, ns := range []string{"a", "b", "c"} {
		r.namespace(ns, map[string]string{"team": ns})
		r.apply(serviceMonitor, service(ns, "web", nil))
	}
	all := &metav1.LabelSelector{}
	own := r.subscribe(Selection{ServiceMonitors: Selector{Objects: all}, Namespace: "b"})
	labelled := r.subscribe(Selection{
		ServiceMonitors: Selector{Objects: all, Namespaces: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}}, Namespace: "b",
	})
	denied := r.subscribe(Selection{ServiceMonitors: Selector{all, all}, DenyNamespaces: []string{"a"}})
	allowed := r.subscribe(Selection{ServiceMonitors: Selector{all, all}, AllowNamespaces: []string{"c"}})
	r.run()
	own.untilJobs("serviceMonitor/b/web/0")
	labelled.untilJobs("serviceMonitor/a/web/0")
	denied.untilJobs("serviceMonitor/b/web/0", "serviceMonitor/c/web/0")
	allowed.untilJobs("serviceMonitor/c/web/0")
	r.namespace("c", map[string]string{"team": "a"})
	labelled.untilJobs("serviceMonitor/a/web/0", "serviceMonitor/c/web/0")
	r.namespace("a", nil)
	labelled.untilJobs("serviceMonitor/c/web/0")
}

func TestForbidden(t *testing.T) {
	r := newRig(t)
	r.watcher.forRights = time.Minute
	for _, resource := range []string{"podmonitors", "secrets"} {
		r.answer(resource, forbidden(resource))
	}
	r.secret("a", "s", map[string]string{"user": "u", "password": "p"})
	r.apply(serviceMonitor, service("a", "locked", withPassword("s")))
	l := r.subscribe(everything())
	r.run()
	got := l.until("the job and two problems", func(x Result) bool { return len(x.Jobs) == 1 && len(x.Problems) == 2 })
	if p := got.Problems; p[0].Kind != "PodMonitor" || p[1].Kind != "Secret" || p[1].Namespace != "a" || p[1].Reason != ReasonForbidden {
		t.Errorf("problems %v", p)
	}
	r.secret("a", "s", map[string]string{"user": "u", "password": "q"})
	l.until("the new password, without a watch", func(x Result) bool {
		return string(x.Jobs[0].Config.HTTPClientConfig.BasicAuth.Password) == "q"
	})
	r.answer("podmonitors", nil)
	l.until("one problem less", func(x Result) bool { return len(x.Problems) == 1 })
}

// A role that is applied a moment after this process has started must not cost the jobs that collectors have.
func TestForbiddenForAMomentAtTheStart(t *testing.T) {
	r := newRig(t)
	r.answer("servicemonitors", forbidden("servicemonitors"))
	r.apply(serviceMonitor, service("a", "web", nil))
	r.apply(scrapeConfig, static("a", "fixed"))
	l := r.subscribe(everything())
	r.run()
	const want = "the right to list and watch servicemonitors"
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !slices.Equal(r.watcher.Waiting(), []string{want}); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waits for %q, want %q", r.watcher.Waiting(), want)
		}
	}
	if got, n := l.last(); n > 0 {
		t.Fatalf("a result without what may not be read yet: %v, problems %v", names(got), got.Problems)
	}
	r.answer("servicemonitors", nil)
	l.untilJobs("serviceMonitor/a/web/0", "scrapeConfig/a/fixed")
	if _, n := l.last(); n != 1 {
		t.Errorf("%d results, want the complete one alone", n)
	}
	if got := r.watcher.Waiting(); len(got) > 0 {
		t.Errorf("still waits for %q", got)
	}
}

func TestEventsAreOfTheElected(t *testing.T) {
	r := newRig(t)
	elected := make(chan struct{})
	r.watcher.options.Elected = elected
	r.apply(serviceMonitor, service("a", "bad", map[string]any{"port": "web", "interval": "10s", "scrapeTimeout": "20s"}))
	l := r.subscribe(everything())
	r.run()
	l.until("a problem", func(x Result) bool { return len(x.Problems) == 1 })
	r.apply(serviceMonitor, service("a", "good", nil))
	l.untilJobs("serviceMonitor/a/good/0")
	if n := len(r.recorder.Events); n > 0 {
		t.Fatalf("%d Events of one that is not elected", n)
	}
	close(elected)
	select {
	case <-r.recorder.Events:
	case <-time.After(20 * time.Second):
		t.Fatal("no Event within 20 s of the election")
	}
	r.apply(serviceMonitor, service("a", "fine", nil))
	l.untilJobs("serviceMonitor/a/fine/0", "serviceMonitor/a/good/0")
	if n := len(r.recorder.Events); n > 0 {
		t.Errorf("%d more Events of the same problem", n)
	}
}

func TestWatchOfSomeNamespaces(t *testing.T) {
	r := newRig(t, "a", "b")
	for _, ns := range []string{"a", "b", "c"} {
		r.apply(serviceMonitor, service(ns, "web", nil))
	}
	l := r.subscribe(everything())
	r.run()
	l.untilJobs("serviceMonitor/a/web/0", "serviceMonitor/b/web/0")
	for _, action := range r.dynamic.Actions() {
		if action.GetVerb() != "create" && action.GetNamespace() == "" {
			t.Errorf("%s of all namespaces", action.GetVerb())
		}
	}
}

func TestSecretNamespaces(t *testing.T) {
	r := newRig(t)
	for _, ns := range []string{"a", "b"} {
		r.secret(ns, "s", map[string]string{"user": "u", "password": "p"})
		r.apply(serviceMonitor, service(ns, "web", withPassword("s")))
	}
	s := everything()
	s.SecretNamespaces = []string{"b"}
	l := r.subscribe(s)
	r.run()
	got := l.untilJobs("serviceMonitor/b/web/0")
	if len(got.Problems) != 1 || got.Problems[0].Namespace != "a" || got.Problems[0].Reason != ReasonForbidden {
		t.Errorf("problems %v", got.Problems)
	}
	const field = "spec.targetAllocator.prometheusCR.secretNamespaces (default: the collector's own)"
	if len(got.Problems) == 1 && !strings.Contains(got.Problems[0].Message, field) {
		t.Errorf("%q does not name %s", got.Problems[0].Message, field)
	}
	if n := r.fetched(); n != 1 {
		t.Errorf("%d Secrets were fetched, want the allowed one", n)
	}
}

func TestInvalidSelection(t *testing.T) {
	r := newRig(t)
	s := everything()
	s.Probes.Objects = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}
	l := r.subscribe(s)
	r.run()
	got := l.until("a problem", func(x Result) bool { return len(x.Problems) == 1 })
	if got.Problems[0].Reason != ReasonSelection || s.Validate() == nil {
		t.Errorf("problems %v, Validate %v", got.Problems, s.Validate())
	}
}
