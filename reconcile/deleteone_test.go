package reconcile

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
)

// madeAnew is an API server on which the object to delete was made anew a moment ago, or that is in conflict with something else.
type madeAnew struct {
	Cluster
	conflict string
	gets     int
}

func (c *madeAnew) Delete(_ context.Context, id ID, _ types.UID, _ metav1.DeletionPropagation) error {
	return apierrors.NewConflict(schema.GroupResource{Resource: id.Kind}, id.Name, errors.New(c.conflict))
}

func (c *madeAnew) Get(context.Context, ID) (*unstructured.Unstructured, error) {
	c.gets++
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetUID("new")
	return u, nil
}

// Pods may not be read one by one, which is a right that nothing else takes: of them the conflict has to say it.
func TestDeletionOfWhatWasMadeAnew(t *testing.T) {
	const (
		stored = "Precondition failed: UID in precondition: old, UID in object meta: new"
		before = "the UID in the precondition (old) does not match the UID in record (new). The object might have been deleted and then recreated"
		other  = "the object has been modified"
	)
	pod := crds.PodKind().GVK.Kind
	for _, tt := range []struct {
		kind, conflict string
		gone           bool
	}{{"StatefulSet", stored, true}, {pod, stored, true}, {pod, before, true}, {pod, other, false}} {
		c := &madeAnew{conflict: tt.conflict}
		err := deleteOne(t.Context(), c, ID{Kind: tt.kind, Namespace: "n", Name: "x"}, "old", metav1.DeletePropagationBackground)
		if asked := c.gets > 0; asked != (tt.kind != pod) {
			t.Errorf("%s, %s: asked %d times", tt.kind, tt.conflict, c.gets)
		}
		var problem *Problem
		if transient := errors.As(err, &problem) && problem.Transient; (err == nil) != tt.gone || err != nil && !transient {
			t.Errorf("%s, %s: error %v, want it to be gone: %t", tt.kind, tt.conflict, err, tt.gone)
		}
	}
}
