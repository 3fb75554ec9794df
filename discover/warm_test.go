package discover

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestNothingIsPublishedBeforeEveryJobHasReported(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a, b := newFakeSD("a"), newFakeSD("b")
	m.targets.step()
	m.want(0)
	m.set(fakeJob(t, "a", a), fakeJob(t, "b", b))
	m.want(0)
	m.tell(a, targetGroup("1", "a:1", "a:2"))
	m.pass(5 * time.Second)
	m.want(0)
	if w := m.targets.Waiting(); len(w) != 1 || !strings.Contains(w[0], `"b"`) {
		t.Errorf("waiting for %v", w)
	}
	m.tell(b) // there is nothing
	m.want(1, "a=2", "b=0")
	if st := m.targets.Status(); !st.Warm || len(st.Waiting) > 0 || len(st.Problems) > 0 {
		t.Errorf("%+v", st)
	}
}

func TestAJobWithTwoDiscoveriesWaitsForBoth(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a, b := newFakeSD("a"), newFakeSD("b")
	m.set(fakeJob(t, "both", a, b))
	m.tell(a, targetGroup("1", "a:1"))
	m.want(0)
	m.tell(b, targetGroup("1", "b:1"))
	m.want(1, "both=2")
}

func TestTheDeadlinePublishesWithoutTheSilent(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a, b := newFakeSD("a"), newFakeSD("b")
	m.set(fakeJob(t, "a", a), fakeJob(t, "b", b))
	m.tell(a, targetGroup("1", "a:1"))
	m.pass(9 * time.Second)
	m.want(0)
	m.pass(time.Second)
	m.want(1, "a=1", "b=?")
	if len(m.picture[1].Config) == 0 || m.picture[1].Source == "" {
		t.Errorf("the silent job is %+v", m.picture[1])
	}
	st := m.targets.Status()
	if len(st.Waiting) != 1 || len(st.Problems) != 1 || st.Problems[0].Job != "b" {
		t.Errorf("%+v", st)
	}
	m.tell(b, targetGroup("1", "b:1"))
	m.pass(quietFor)
	m.want(2, "a=1", "b=1")
}

func TestAJobThatIsAddedIsUnknownUntilItHasReported(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a, b := newFakeSD("a"), newFakeSD("b")
	m.set(fakeJob(t, "a", a))
	m.tell(a, targetGroup("1", "a:1"))
	m.want(1, "a=1")
	m.set(fakeJob(t, "a", a), fakeJob(t, "b", b))
	m.pass(quietFor)
	m.want(2, "a=1", "b=?")
	m.pass(time.Hour)
	m.want(2, "a=1", "b=?")
	m.tell(b, targetGroup("1", "b:1"))
	m.pass(quietFor)
	m.want(3, "a=1", "b=1")
}

// TestSomeTargetsAreNotAll: what one of two discoveries has told must not be taken for everything.
func TestSomeTargetsAreNotAll(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a, b := newFakeSD("a"), newFakeSD("b")
	m.set(fakeJob(t, "both", a, b))
	m.tell(a, targetGroup("1", "a:1"))
	m.pass(10 * time.Second)
	m.want(1, "both=?")
	m.tell(a, targetGroup("1", "a:2"))
	m.pass(quietFor)
	m.want(1, "both=?")
	m.tell(b)
	m.pass(quietFor)
	m.want(2, "both=1")
}

// TestAnUnknownJobMayChange: what it was before is nothing to wait for.
func TestAnUnknownJobMayChange(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a, b := newFakeSD("a"), newFakeSD("b")
	m.set(fakeJob(t, "j", a))
	m.pass(10 * time.Second)
	m.want(1, "j=?")
	before := m.picture[0]
	m.set(fakeJob(t, "j", b))
	m.pass(quietFor)
	m.want(2, "j=?")
	if m.picture[0] == before {
		t.Error("the configuration is still the old one")
	}
	m.tell(b, targetGroup("1", "b:1"))
	m.pass(quietFor)
	m.want(3, "j=1")
}

// TestLagIsFromTheFirstChange: of what is published together, the oldest counts.
func TestLagIsFromTheFirstChange(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	var lags []time.Duration
	m.targets.opts.Lag = func(d time.Duration) { lags = append(lags, d) }
	a := newFakeSD("a")
	m.set(fakeJob(t, "a", a))
	m.tell(a, targetGroup("1", "a:1"))
	m.want(1, "a=1")
	lags = nil
	m.tell(a, targetGroup("1", "a:2"))
	m.pass(100 * time.Millisecond)
	m.tell(a, targetGroup("1", "a:3"))
	m.pass(quietFor)
	m.want(2, "a=1")
	// A change that comes to nothing is not published.
	m.tell(a, targetGroup("1", "a:4"))
	m.tell(a, targetGroup("1", "a:3"))
	m.pass(quietFor)
	m.want(2, "a=1")
	if len(lags) != 1 || lags[0] != 100*time.Millisecond+quietFor {
		t.Errorf("lags are %v", lags)
	}
}

func TestAChangedJobKeepsItsTargetsUntilTheNewOneHasReported(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a, b := newFakeSD("a"), newFakeSD("b")
	m.set(fakeJob(t, "j", a))
	m.tell(a, targetGroup("1", "a:1"))
	m.want(1, "j=1")
	m.set(fakeJob(t, "j", b))
	m.pass(time.Hour)
	m.want(1, "j=1")
	m.tell(a, targetGroup("2", "a:2")) // the old one is still at work
	m.pass(quietFor)
	m.want(2, "j=2")
	m.tell(b, targetGroup("1", "b:1", "b:2", "b:3"))
	m.pass(quietFor)
	m.want(3, "j=3")
}

func TestAChangeThatFindsTheSameTargetsKeepsTheBlocks(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a := newFakeSD("a")
	job := fakeJob(t, "j", a)
	m.set(job)
	m.tell(a, targetGroup("1", "a:1"))
	m.want(1, "j=1")
	before := m.picture[0]
	changed := fakeJob(t, "j", a)
	changed.Served = append([]byte(" "), changed.Served...)
	changed.Hash++
	m.set(changed)
	m.pass(quietFor)
	m.want(2, "j=1")
	if m.picture[0] == before || m.picture[0].Blocks[0] != before.Blocks[0] {
		t.Error("the job has to be another one, and its block the same")
	}
}

func TestARemovedJobGoes(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a, b := newFakeSD("a"), newFakeSD("b")
	m.set(fakeJob(t, "a", a), fakeJob(t, "b", b))
	m.tell(a, targetGroup("1", "a:1"))
	m.tell(b, targetGroup("1", "b:1"))
	m.want(1, "a=1", "b=1")
	m.set(fakeJob(t, "b", b))
	m.pass(quietFor)
	m.want(2, "b=1")
	m.set()
	m.pass(quietFor)
	m.want(3)
}

func TestNoJobsIsAPictureToo(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	m.set()
	m.want(1)
}

func TestAFailureLaterKeepsTheTargets(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a := newFakeSD("a")
	m.set(fakeJob(t, "a", a))
	m.tell(a, targetGroup("1", "a:1"))
	m.want(1, "a=1")
	a.end <- struct{}{}
	waitFor(t, "the failure is noticed", func() bool {
		m.targets.step()
		st := m.targets.Status()
		return len(st.Problems) == 1 && strings.Contains(st.Problems[0].Message, "has ended")
	})
	m.pass(quietFor)
	m.want(1, "a=1")
	waitFor(t, "the discovery is tried again", m.clock.HasWaiters)
	m.clock.Step(retryAfter)
	m.tell(a, targetGroup("1", "a:1", "a:2"))
	m.pass(quietFor)
	m.want(2, "a=2")
	if st := m.targets.Status(); len(st.Problems) != 0 {
		t.Errorf("%+v", st)
	}
}

func TestADiscoveryThatCannotBeMadeHurtsItsOwnJobs(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a, b := newFakeSD("a"), newFakeSD("b")
	b.broken = errors.New("certificate is not there")
	m.set(fakeJob(t, "a", a), fakeJob(t, "b", b))
	m.tell(a, targetGroup("1", "a:1"))
	waitFor(t, "the failure is noticed", func() bool {
		m.targets.step()
		return len(m.targets.Status().Problems) == 1
	})
	m.pass(10 * time.Second)
	m.want(1, "a=1", "b=?")
	if w := m.targets.Waiting(); len(w) != 1 || !strings.Contains(w[0], "certificate is not there") {
		t.Errorf("waiting for %v", w)
	}
}

func TestOneDiscoveryServesAllJobsThatWantIt(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a := newFakeSD("a")
	m.set(fakeJob(t, "one", a), fakeJob(t, "two", a, a))
	m.tell(a, targetGroup("1", "a:1"))
	m.want(1, "one=1", "two=1")
	// One that comes later sees what is there, though the discovery says nothing any more.
	m.set(fakeJob(t, "one", a), fakeJob(t, "three", a), fakeJob(t, "two", a, a))
	m.pass(quietFor)
	m.want(2, "one=1", "three=1", "two=1")
}

func TestChangesAreCoalesced(t *testing.T) {
	t.Parallel()
	m := newManual(t)
	a := newFakeSD("a")
	m.set(fakeJob(t, "a", a))
	m.tell(a, targetGroup("1", "a:1"))
	m.want(1, "a=1")

	// One change waits for quiet.
	m.tell(a, targetGroup("1", "a:2"))
	m.pass(quietFor - 1)
	m.want(1, "a=1")
	m.pass(1)
	m.want(2, "a=1")
	// Many wait for so long and no longer.
	for n := range 20 {
		m.want(2, "a=1")
		m.tell(a, targetGroup("1", "a:1", strings.Repeat("x", n+1)+":1"))
		m.pass(100 * time.Millisecond)
	}
	m.want(3, "a=2")
	// What has not changed is no change.
	m.pass(time.Minute)
	first := m.picture[0]
	m.tell(a, targetGroup("1", "a:1", strings.Repeat("x", 20)+":1"))
	m.tell(a, targetGroup("2", "a:1"), targetGroup("none"))
	m.pass(quietFor)
	m.want(3, "a=2")
	if first != m.picture[0] {
		t.Error("the job is another one")
	}
}

func TestTheCoalescerAlone(t *testing.T) {
	t.Parallel()
	var c coalescer
	at := time.Unix(1000, 0)
	if !c.due().IsZero() {
		t.Error("nothing is due")
	}
	c.touch(at)
	if got := c.due(); got != at.Add(quietFor) {
		t.Errorf("due %v", got)
	}
	c.touch(at.Add(1900 * time.Millisecond))
	if got := c.due(); got != at.Add(atMost) {
		t.Errorf("due %v", got)
	}
	c.reset()
	if !c.due().IsZero() {
		t.Error("something is due")
	}
}

// waitFor polls a condition of another goroutine.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}
