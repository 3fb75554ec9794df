package reconcile

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// guarded is a Deployment collector at rest, and the operator that brought it there.
func guarded(t *testing.T) *trial {
	t.Helper()
	w, err := begin()
	mustDo(t, err)
	mustDo(t, having(deploymentMode)(w))
	tr, err := newTrial(w, newSlimmed(), NewPlanner(renderForTests), fault{})
	mustDo(t, err)
	mustDo(t, tr.settle())
	return tr
}

// applies counts the requests that were to change the Deployment since.
func (t *trial) applies(since int) int {
	n := 0
	for _, c := range t.calls[since:] {
		if c.name == "apply deployment/a-collector" {
			n++
		}
	}
	return n
}

func (t *trial) says(tb testing.TB, kind string) string {
	tb.Helper()
	conditions, _, _ := unstructured.NestedSlice(t.world.get(collectorID()).Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			return m["reason"].(string) + ": " + m["message"].(string)
		}
	}
	return ""
}

// events gives the operator passes for what happens, without letting time pass.
func (t *trial) now(tb testing.TB) {
	tb.Helper()
	for range maxPasses {
		mustDo(tb, t.world.controllers())
		mustDo(tb, t.feed.deliver())
		if !t.take() {
			return
		}
		t.pass()
	}
	tb.Fatalf("not quiet; calls: %v", t.names())
}

func TestWhatAWebhookChangesIsAppliedTwiceAndThenHeld(t *testing.T) {
	tr := guarded(t)
	tr.world.webhook = func(u *unstructured.Unstructured) {
		if u.GetKind() == "Deployment" {
			_ = unstructured.SetNestedField(u.Object, int64(9), "spec", "replicas")
		}
	}
	since := len(tr.calls)
	mustDo(t, set(int64(4), "spec", "replicas")(tr.world))
	tr.now(t)
	for range 5 { // events of all kinds keep coming
		tr.enqueue(tr.key)
		tr.now(t)
	}
	if n := tr.applies(since); n < 1 || n > maxUnconverged {
		t.Errorf("applied %d times, want at most %d; calls: %v", n, maxUnconverged, tr.names()[since:])
	}
	if got := tr.says(t, "NotConverging"); !strings.Contains(got, ".spec.replicas") || !strings.Contains(got, "deployment/a-collector") {
		t.Errorf("NotConverging says %q, want the object and the path", got)
	}
	if tr.due.IsZero() {
		t.Error("nothing says when to try again")
	}

	// Once the webhook is gone and the window is over, it is tried again.
	tr.world.webhook = nil
	tr.world.clock.Step(guardWindow + 1)
	tr.enqueue(tr.key)
	tr.now(t)
	if n := intAt(tr.world.of("Deployment")[0], "spec", "replicas"); n != 4 {
		t.Errorf("there are %d replicas, want 4", n)
	}
	if got := tr.says(t, "NotConverging"); got != "" {
		t.Errorf("NotConverging still says %q", got)
	}
}

func TestAFightIsGivenUpForAWhile(t *testing.T) {
	tr := guarded(t)
	tr.world.clock.Step(guardWindow + 1) // that it was made counts too
	since := len(tr.calls)
	edit := foreign("Deployment", "argocd", "", setting(int64(7), "spec", "replicas"))
	for range 2 * maxContested {
		mustDo(t, edit(tr.world))
		tr.now(t)
	}
	if n := tr.applies(since); n != maxContested {
		t.Errorf("taken back %d times, want %d", n, maxContested)
	}
	if got := tr.says(t, "NotConverging"); !strings.Contains(got, ".spec.replicas") || !strings.Contains(got, "argocd") {
		t.Errorf("NotConverging says %q, want the path and who changes it", got)
	}
	tr.world.clock.Step(guardWindow + 1)
	tr.enqueue(tr.key)
	tr.now(t)
	if n := intAt(tr.world.of("Deployment")[0], "spec", "replicas"); n != 2 {
		t.Errorf("after the window there are %d replicas, want 2", n)
	}
}

func TestAnotherIntentIsNotHeld(t *testing.T) {
	tr := guarded(t)
	edit := foreign("Deployment", "argocd", "", setting(int64(7), "spec", "replicas"))
	for range 2 * maxContested {
		mustDo(t, edit(tr.world))
		tr.now(t)
	}
	mustDo(t, set("collector:2", "spec", "image")(tr.world))
	tr.now(t)
	if got := imageOf(tr.world.of("Deployment")[0]); got != "collector:2" {
		t.Errorf("the image is %s, want collector:2", got)
	}
}

// TestACacheThatNeverCatchesUpIsGivenUpOn is etcd that was restored from a backup: resourceVersions begin anew.
func TestACacheThatNeverCatchesUpIsGivenUpOn(t *testing.T) {
	tr := guarded(t)
	mustDo(t, set("two", "spec", "config")(tr.world))
	mustDo(t, tr.feed.deliver())
	tr.take()
	tr.pass()
	tr.feed.hold(false, func(watch) bool { return true })
	since := len(tr.calls)
	tr.pass()
	if len(tr.calls) != since || tr.due.IsZero() {
		t.Errorf("a pass over a stale cache makes calls: %v; next at %v", tr.names()[since:], tr.due)
	}
	tr.world.clock.Step(staleLimit)
	tr.pass()
	if len(tr.calls) == since {
		t.Error("it waits for ever")
	}
}
