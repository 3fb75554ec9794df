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

// madeAnew is an API server on which the object to delete was made anew a moment ago.
type madeAnew struct {
	Cluster
	gets int
}

func (c *madeAnew) Delete(_ context.Context, id ID, _ types.UID, _ metav1.DeletionPropagation) error {
	return apierrors.NewConflict(schema.GroupResource{Resource: id.Kind}, id.Name, errors.New("precondition failed: UID"))
}

func (c *madeAnew) Get(context.Context, ID) (*unstructured.Unstructured, error) {
	c.gets++
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetUID("new")
	return u, nil
}

// Pods may not be read one by one, which is a right that nothing else takes: a pod that was made anew is left to the pass that its event
// brings.
func TestDeletionOfWhatWasMadeAnew(t *testing.T) {
	for kind, wantGets := range map[string]int{"StatefulSet": 1, crds.PodKind().GVK.Kind: 0} {
		c := &madeAnew{}
		err := deleteOne(t.Context(), c, ID{Kind: kind, Namespace: "n", Name: "x"}, "old", metav1.DeletePropagationBackground)
		var problem *Problem
		if transient := errors.As(err, &problem) && problem.Transient; c.gets != wantGets || (err == nil) != (wantGets > 0) || err != nil && !transient {
			t.Errorf("%s: asked %d times, want %d; error %v", kind, c.gets, wantGets, err)
		}
	}
}
