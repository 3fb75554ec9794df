package features_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/e2e/steps"
)

// data is a fleet whose pods have volumes that they note their starts on.
type data struct {
	fleet
	had  map[string]string // the claims that there have been, with their UIDs
	last map[string]string // what was on the volume of a pod when it was last seen, by its name
}

// newData looks at the seed's pods when they are new.
func newData(t *testing.T, s *steps.Scene, count int) *data {
	t.Helper()
	d := &data{fleet: fleet{s, seedName}}
	d.wantRolledOut(t, "one", count)
	d.wantBound(t, count)
	d.had, d.last = d.claims(t), d.contents(t)
	for pod, content := range d.last {
		if strings.Count(content, "\n") != 1 || !strings.HasPrefix(content, pod+" started ") {
			t.Errorf("on the volume of the new pod %s there is %q, want one line of its own", pod, content)
		}
	}
	return d
}

// wantKept fails the test unless the volumes hold what they held, and not a byte more: no container was started.
func (d *data) wantKept(t *testing.T) {
	t.Helper()
	now := d.contents(t)
	wantAmong(t, "the content of the volume of", d.last, now)
	d.remember(t, now)
}

// wantAppended fails the test unless the volumes hold what they held, and the line of one new start.
func (d *data) wantAppended(t *testing.T, before map[string]string) {
	t.Helper()
	now := d.contents(t)
	for pod := range before {
		wantOneMore(t, pod, before[pod], now[pod])
	}
	d.remember(t, now)
}

func wantOneMore(t *testing.T, pod, was, is string) {
	t.Helper()
	line, ok := strings.CutPrefix(is, was)
	if !ok || strings.Count(line, "\n") != 1 || !strings.HasPrefix(line, pod+" started ") {
		t.Errorf("on the volume of %s there is\n%s\nwant what there was and another start:\n%s", pod, is, was)
	}
}

// remember takes note of contents and claims. No claim that there has been may be gone, or be another one.
func (d *data) remember(t *testing.T, contents map[string]string) {
	t.Helper()
	maps.Copy(d.last, contents)
	now := d.claims(t)
	wantAmong(t, "claim", d.had, now)
	d.had = now
}

// deletePod deletes one pod, and waits for the next of its name.
func (d *data) deletePod(t *testing.T, i int) {
	t.Helper()
	before, pod := d.lives(t), d.pod(i)
	d.Delete(t, steps.Pods, pod, metav1.DeletePropagationBackground)
	d.Eventually(t, "another pod "+pod, func() error { return d.readyAgain(t, pod, before[pod].uid) })
	d.wantRolledOut(t, "one", len(before))
	d.wantAppended(t, map[string]string{pod: d.last[pod]})
	delete(before, pod)
	wantAmong(t, "pod", before, d.lives(t))
	d.wantKept(t)
}

// differs is nil for an object that is ready for use and not the one with this UID.
func differs(u *unstructured.Unstructured, uid string) error {
	switch {
	case u == nil:
		return errors.New("it is not there")
	case string(u.GetUID()) == uid || u.GetDeletionTimestamp() != nil:
		return errors.New("the old one is there")
	default:
		return nil
	}
}

// scale changes the number of pods through the collector's scale subresource. Those that stay are left alone; those that come find what
// others of their names have left.
func (d *data) scale(t *testing.T, count int) {
	t.Helper()
	before := d.lives(t)
	d.Kubectl(t, "", "scale", "otelcol/"+d.name, fmt.Sprintf("--replicas=%d", count))
	d.wantRolledOut(t, "one", count)
	now := d.lives(t)
	maps.DeleteFunc(before, func(pod string, _ life) bool { return now[pod] == life{} })
	wantAmong(t, "pod", before, now)
	contents := d.contents(t)
	for pod, content := range contents {
		_, stayed := before[pod]
		was, known := d.last[pod]
		switch {
		case stayed && content != was:
			t.Errorf("on the volume of %s, which has stayed, there is\n%s\nwant\n%s", pod, content, was)
		case !stayed && known:
			wantOneMore(t, pod, was, content)
		}
	}
	d.remember(t, contents)
}

// replace changes fields for which the StatefulSet has to be made anew: around its pods, which go on running, and their claims.
func (d *data) replace(t *testing.T, patch string) {
	t.Helper()
	before, was := d.lives(t), d.Get(t, steps.StatefulSets, d.workload()).GetUID()
	replaced := d.CountEvents(t, d.name, "Replaced")
	d.PatchSpec(t, d.name, patch)
	d.wantRolledOut(t, "one", len(before))
	if d.Get(t, steps.StatefulSets, d.workload()).GetUID() == was {
		t.Error("the StatefulSet is the same as before")
	}
	now := d.lives(t)
	wantAmong(t, "pod", before, now)
	wantAmong(t, "pod", now, before)
	d.wantKept(t)
	d.WaitEvent(t, d.name, "Replaced")
	if n := d.CountEvents(t, d.name, "Replaced") - replaced; n != 1 {
		t.Errorf("made anew %d times, want once", n)
	}
}

// gone is nil when neither the collector nor any pod of it is there.
func (d *data) gone(t *testing.T) error {
	if d.Find(t, steps.Collectors, d.name) != nil {
		return errors.New("the collector is there")
	}
	if pods := d.List(t, steps.Pods, d.selector()); len(pods) > 0 {
		return fmt.Errorf("pods %v are there", steps.Names(pods))
	}
	return nil
}
