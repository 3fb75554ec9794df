package steps

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// History is every state that one object had since the watch began. Its methods may be called from several goroutines.
type History struct {
	mu     sync.Mutex
	states []*unstructured.Unstructured
}

// Watch records the states of an object until the test, or the part of it that t stands for, ends.
func (s *Scene) Watch(t *testing.T, r schema.GroupVersionResource, name string) *History {
	t.Helper()
	w, err := s.in(r).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatalf("watch %s %s: %v", r.Resource, name, err)
	}
	h := &History{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for e := range w.ResultChan() {
			if u, ok := e.Object.(*unstructured.Unstructured); ok {
				h.mu.Lock()
				h.states = append(h.states, u)
				h.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		w.Stop()
		wg.Wait()
	})
	return h
}

// States are those that were seen so far, in their order.
func (h *History) States() []*unstructured.Unstructured {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clip(h.states)
}

// Changes is how often a top-level field, such as status, was another one than before. What an object is created with is no change.
func (h *History) Changes(field string) int {
	n, last := 0, ""
	for i, u := range h.States() {
		now := fmt.Sprint(u.Object[field])
		if i > 0 && now != last {
			n++
		}
		last = now
	}
	return n
}
