package monitor

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	testingclock "k8s.io/utils/clock/testing"
)

// stage is a Watcher that is looked at by hand, with all feeds synced.
type stage struct {
	t       *testing.T
	clock   *testingclock.FakeClock
	w       *Watcher
	secrets shelf
	err     error // of all that is fetched
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, clock: testingclock.NewFakeClock(time.Now()), secrets: shelf{}}
	s.w = New(Options{Clock: s.clock})
	s.w.assets.fetch = func(ctx context.Context, key assetKey) (any, string, error) {
		if s.err != nil {
			return nil, "", s.err
		}
		return s.secrets.fetch(ctx, key)
	}
	for k := range kinds {
		s.feed(k.plural(), feedSynced)
	}
	s.feed(feedNamespaces, feedSynced)
	s.secrets["a/s"] = map[string]string{"user": "u", "password": "first"}
	return s
}

func (s *stage) feed(what string, state feedState) {
	key := feedKey{what, metav1.NamespaceAll}
	if s.w.feeds[key] == nil {
		s.w.feeds[key] = &feedStatus{asked: s.clock.Now()}
	}
	s.w.setFeed(key, state, nil)
}

func (s *stage) locked(secret string) {
	endpoint := withPassword(secret)
	s.w.objectChanged(nil, newObject(serviceMonitor, service("a", "locked", endpoint)))
}

// unread forgets what Secrets hold, as a restart does.
func (s *stage) unread(err error) {
	s.err = err
	for key, e := range s.w.assets.entries {
		e.content = nil
		s.w.assets.seen(key, "later")
	}
}

func (s *stage) look() map[*subscription]Result {
	notices, _ := s.w.refresh(s.t.Context())
	return results(notices)
}

func results(notices []notice) map[*subscription]Result {
	out := map[*subscription]Result{}
	for _, n := range notices {
		out[n.sub] = n.result
	}
	return out
}

func (s *stage) subscribe(of Selection) (*subscription, func()) {
	stop := s.w.Subscribe(of, func(Result) {})
	return s.w.subs[len(s.w.subs)-1], stop
}

// expect looks, and wants one job and a problem for the given reason, or none.
func (s *stage) expect(when string, sub *subscription, reason string) {
	s.t.Helper()
	got, ok := s.look()[sub]
	if !ok || len(got.Jobs) != 1 || string(got.Jobs[0].Config.HTTPClientConfig.BasicAuth.Password) != "first" {
		s.t.Fatalf("%s: told %v: jobs %v, problems %v; want the job", when, ok, names(got), got.Problems)
	}
	if reason == "" && len(got.Problems) > 0 || reason != "" && (len(got.Problems) != 1 || got.Problems[0].Reason != reason) {
		s.t.Fatalf("%s: problems %v, want %q", when, got.Problems, reason)
	}
}

func TestPatienceBeginsWhenAllElseIsKnown(t *testing.T) {
	s := newStage(t)
	s.feed(probe.plural(), feedStarting)
	s.locked("s")
	s.unread(errors.New("etcd is away"))
	sub, _ := s.subscribe(everything())
	s.look()
	s.clock.Step(2 * assetPatience)
	s.feed(probe.plural(), feedSynced)
	if got := s.look(); len(got) > 0 {
		t.Fatalf("a result without the job whose Secret can't be read yet: %v", got)
	}
	if at, want := s.w.patienceEnds(s.clock.Now()), s.clock.Now().Add(assetPatience); !at.Equal(want) {
		t.Errorf("waits until %v, want %v", at, want)
	}
	s.clock.Step(assetPatience)
	if got, ok := s.look()[sub]; !ok || len(got.Problems) != 1 || got.Problems[0].Reason != ReasonUnavailable {
		t.Fatalf("after the patience: told %v, problems %v", ok, got.Problems)
	}
}

func TestAnotherSelectionKeepsTheJobs(t *testing.T) {
	s := newStage(t)
	s.locked("s")
	first, stop := s.subscribe(everything())
	s.expect("at first", first, "")
	s.unread(errors.New("etcd is away"))
	other := everything()
	other.ScrapeInterval = 45 * time.Second
	s.feed(probe.plural(), feedStarting)
	second, stopSecond := s.subscribe(other)
	stop()
	if got := s.look(); len(got) > 0 {
		t.Fatalf("a result before all is known: %v", got)
	}
	s.feed(probe.plural(), feedSynced)
	s.expect("with another interval", second, ReasonUnavailable)
	if n := len(s.w.profiles); n != 1 {
		t.Errorf("%d profiles are kept, want the one that is used", n)
	}
	s.err = nil
	s.clock.Step(lastRetry)
	s.w.assets.retry()
	s.expect("when it can be read", second, "")

	s.unread(errors.New("etcd is away"))
	strict := everything()
	strict.SecretNamespaces = []string{"a", "b"}
	third, _ := s.subscribe(strict)
	stopSecond()
	if got := s.look(); len(got) > 0 {
		t.Fatalf("a selection that may read other Secrets has jobs of another: %v", got[third])
	}
}

func TestSecretThatMayNotBeReadAnyMore(t *testing.T) {
	s := newStage(t)
	s.locked("s")
	sub, _ := s.subscribe(everything())
	s.expect("at first", sub, "")
	s.unread(forbidden("secrets"))
	s.expect("forbidden", sub, ReasonForbidden)
	s.clock.Step(pollInterval)
	s.w.assets.retry()
	if got := s.look(); len(got) > 0 {
		t.Fatalf("still forbidden, and something is new: %v", got)
	}
	s.err = nil
	s.clock.Step(pollInterval)
	s.w.assets.retry()
	s.expect("allowed again", sub, "")
	s.err = forbidden("secrets")
	s.locked("never")
	if got, ok := s.look()[sub]; !ok || len(got.Jobs) > 0 || len(got.Problems) != 1 || got.Problems[0].Reason != ReasonForbidden {
		t.Fatalf("told %v: jobs %v, problems %v: want none from a Secret that never could be read", ok, names(got), got.Problems)
	}
}

// half does what refresh does, with something that happens in the middle.
func (s *stage) half(between func()) map[*subscription]Result {
	todo := s.w.plan()
	s.w.translate(s.t.Context(), todo)
	between()
	s.w.take(todo)
	return results(s.w.results())
}

func TestSelectionsWithTheSameSettings(t *testing.T) {
	s := newStage(t)
	s.w.labels["a"] = labels.Set{"team": "t0"}
	s.locked("s")
	s.w.objectChanged(nil, newObject(scrapeConfig, static("a", "one")))
	all := &metav1.LabelSelector{}
	here := Selector{Objects: all, Namespaces: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "t0"}}}
	first, _ := s.subscribe(Selection{ServiceMonitors: here, Probes: here})
	second, _ := s.subscribe(Selection{ScrapeConfigs: Selector{Objects: all, Namespaces: all}})
	if got := s.look(); len(got[first].Jobs) != 1 || len(got[second].Jobs) != 1 {
		t.Fatalf("at first: %v", got)
	}
	kept := func(when string, got map[*subscription]Result) {
		t.Helper()
		if r, told := got[first]; told {
			t.Fatalf("%s: was told %v, although it has what it had", when, names(r))
		}
	}
	s.feed(probe.plural(), feedStarting)
	kept("a feed was starting", s.half(func() { s.feed(probe.plural(), feedSynced) }))
	if got := len(first.profile.entries); got != 2 {
		t.Fatalf("%d entries, want 2: one has gone for the other selection's sake", got)
	}
	kept("the feed has started", s.look())
	s.w.labels["a"] = labels.Set{"team": "t1"}
	kept("deselected for a moment", s.half(func() { s.w.labels["a"] = labels.Set{"team": "t0"} }))
	kept("afterwards", s.look())
	arrived := func() { s.w.objectChanged(nil, newObject(serviceMonitor, service("a", "more", nil))) }
	kept("something came in meanwhile", s.half(arrived))
	if got := s.look()[first]; !slices.Equal(names(got), []string{"serviceMonitor/a/locked/0", "serviceMonitor/a/more/0"}) {
		t.Fatalf("and then: %v", names(got))
	}
	s.feed(probe.plural(), feedStarting)
	late, _ := s.subscribe(Selection{ServiceMonitors: here, Probes: here})
	s.locked("edited")
	if got, told := s.half(func() { s.feed(probe.plural(), feedSynced) })[late]; told {
		t.Fatalf("one that comes late is told %v of what has changed", names(got))
	}
}
