package steps

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Event is what an Event says, and how often.
type Event struct {
	Type, Reason, Note string
	Count              int64
}

// Events about an object, in the order in which they were made.
func (s *Scene) Events(t *testing.T, name string) []Event {
	t.Helper()
	list := s.List(t, EventResources, "")
	list = slices.DeleteFunc(list, func(u unstructured.Unstructured) bool { return Field(&u, "regarding", "name") != name })
	slices.SortFunc(list, func(a, b unstructured.Unstructured) int {
		return cmp.Compare(fmt.Sprint(Field(&a, "eventTime")), fmt.Sprint(Field(&b, "eventTime")))
	})
	var out []Event
	for _, u := range list {
		e := Event{Count: 1}
		e.Type, _ = Field(&u, "type").(string)
		e.Reason, _ = Field(&u, "reason").(string)
		e.Note, _ = Field(&u, "note").(string)
		if n, ok := Field(&u, "series", "count").(int64); ok {
			e.Count = n
		}
		out = append(out, e)
	}
	return out
}

// CountEvents is how often an object's Events have this reason.
func (s *Scene) CountEvents(t *testing.T, name, reason string) int64 {
	t.Helper()
	var n int64
	for _, e := range s.Events(t, name) {
		if e.Reason == reason {
			n += e.Count
		}
	}
	return n
}

// WaitEvent waits for an Event about an object that has this reason and a note with all of these texts.
func (s *Scene) WaitEvent(t *testing.T, name, reason string, texts ...string) Event {
	t.Helper()
	var found Event
	s.Eventually(t, fmt.Sprintf("Event %s of %s with %q", reason, name, texts), func() error {
		events := s.Events(t, name)
		i := slices.IndexFunc(events, func(e Event) bool {
			return e.Reason == reason && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(e.Note, text) })
		})
		if i < 0 {
			return fmt.Errorf("%+v", events)
		}
		found = events[i]
		return nil
	})
	return found
}
