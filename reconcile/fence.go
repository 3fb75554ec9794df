package reconcile

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// Fenced is a Cluster that is only written to while may returns nil.
func Fenced(c Cluster, may func() error) Cluster { return &fenced{c, may} }

type fenced struct {
	Cluster
	may func() error
}

func (f *fenced) Apply(ctx context.Context, obj *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error) {
	if err := f.may(); err != nil {
		return nil, err
	}
	return f.Cluster.Apply(ctx, obj, dryRun)
}

func (f *fenced) ApplyStatus(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if err := f.may(); err != nil {
		return nil, err
	}
	return f.Cluster.ApplyStatus(ctx, obj)
}

func (f *fenced) SetOwners(
	ctx context.Context, id ID, uid types.UID, owners []metav1.ManagedFieldsEntry,
) (*unstructured.Unstructured, error) {
	if err := f.may(); err != nil {
		return nil, err
	}
	return f.Cluster.SetOwners(ctx, id, uid, owners)
}

func (f *fenced) Delete(ctx context.Context, id ID, uid types.UID, propagation metav1.DeletionPropagation) error {
	if err := f.may(); err != nil {
		return err
	}
	return f.Cluster.Delete(ctx, id, uid, propagation)
}
