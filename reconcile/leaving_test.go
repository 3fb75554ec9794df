package reconcile

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/otelier/otelier/crds"
)

// TestOrphansStayOrphans deletes a collector with --cascade=orphan, which the operator hears of only after the owners have been taken away.
func TestOrphansStayOrphans(t *testing.T) {
	h := newHooked(t)
	mustDo(t, h.settle())
	h.feed.hold(false, func(w watch) bool { return w.kind.Kind == crds.Kind })
	collector := h.world.get(ID{crds.Group, crds.Kind, "ns", "a"})
	writes := h.after(func() error {
		_, err := h.world.delete(idOf(collector), collector.GetUID(), metav1.DeletePropagationOrphan)
		return err
	})
	if writes != 0 {
		t.Errorf("%d writes, want none: %v", writes, h.names())
	}
	set := h.world.get(ID{"apps", "StatefulSet", "ns", workloadOfA})
	if set == nil {
		t.Fatal("the StatefulSet is gone")
	}
	if owner := metav1.GetControllerOf(set); owner != nil {
		t.Errorf("the StatefulSet has the owner %v again", owner)
	}
}
