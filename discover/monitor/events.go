package monitor

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const (
	// eventAction is what was being done when an Event was made.
	eventAction = "Discover"
	// noteLength is how long the note of an Event may be, see the validation of events.k8s.io/v1.
	noteLength = 1024
)

// event is a new problem with an object.
type event struct {
	object  *object
	problem Problem
}

// newProblems are those of which there has been no Event yet; none before this process is elected. It is called with the mutex held.
func (w *Watcher) newProblems() []event {
	if !w.elected() {
		return nil
	}
	var out []event
	now := map[objectKey]string{}
	for _, p := range w.profiles {
		for key, e := range p.entries {
			if len(e.problems) == 0 || now[key] != "" {
				continue // Of a problem with several selections one Event says enough.
			}
			text := fmt.Sprint(e.object.UID, e.problems)
			now[key] = text
			if w.reported[key] == text {
				continue
			}
			for _, problem := range e.problems {
				out = append(out, event{e.object, problem})
			}
		}
	}
	w.reported = now
	return out
}

// elected says whether Events are ours to record.
func (w *Watcher) elected() bool {
	if w.options.Elected == nil {
		return true
	}
	select {
	case <-w.options.Elected:
		return true
	default:
		return false
	}
}

func (w *Watcher) record(all []event) {
	if w.options.Recorder == nil {
		return
	}
	for _, e := range all {
		about := &corev1.ObjectReference{
			APIVersion: e.object.kind.resource().GroupVersion().String(), Kind: e.object.kind.String(), Namespace: e.object.Namespace,
			Name: e.object.Name, UID: e.object.UID, ResourceVersion: e.object.ResourceVersion,
		}
		note := e.problem.Message
		if len(note) > noteLength {
			note = strings.ToValidUTF8(note[:noteLength], "")
		}
		w.options.Recorder.Eventf(about, nil, corev1.EventTypeWarning, e.problem.Reason, eventAction, "%s", note)
	}
}
