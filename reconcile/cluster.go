package reconcile

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/otelier/otelier/crds"
)

// Cluster is how a pass acts.
type Cluster interface {
	// Get reads one object from the API server itself.
	Get(ctx context.Context, id ID) (*unstructured.Unstructured, error)
	// Apply creates or changes obj by server-side apply and returns it as it is then. With dryRun nothing is changed. Of a collector
	// only finalizers are applied, under a manager of their own.
	Apply(ctx context.Context, obj *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error)
	// ApplyStatus writes the status of a collector; obj has its name, UID and status.
	ApplyStatus(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error)
	// SetOwners replaces the managedFields of the object if it is still the one with this UID, and returns it as it is then.
	SetOwners(ctx context.Context, id ID, uid types.UID, owners []metav1.ManagedFieldsEntry) (*unstructured.Unstructured, error)
	// Delete deletes the object if it is still the one with this UID.
	Delete(ctx context.Context, id ID, uid types.UID, propagation metav1.DeletionPropagation) error
}

// NewCluster returns the Cluster that client talks to.
func NewCluster(client dynamic.Interface) Cluster { return &cluster{client} }

type cluster struct{ client dynamic.Interface }

func (c *cluster) resource(id ID) (dynamic.ResourceInterface, error) {
	if id.Group == crds.Group && id.Kind == crds.Kind {
		return c.client.Resource(crds.CollectorResource()).Namespace(id.Namespace), nil
	}
	k, ok := crds.KindOf(schemaGroupKind(id))
	if !ok {
		return nil, fmt.Errorf("%s: not a kind that collectors own", id)
	}
	return c.client.Resource(k.GVR()).Namespace(id.Namespace), nil
}

func (c *cluster) Get(ctx context.Context, id ID) (*unstructured.Unstructured, error) {
	r, err := c.resource(id)
	if err != nil {
		return nil, err
	}
	return r.Get(ctx, id.Name, metav1.GetOptions{})
}

func (c *cluster) Apply(ctx context.Context, obj *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error) {
	r, err := c.resource(idOf(obj))
	if err != nil {
		return nil, err
	}
	o := applyOptions(dryRun)
	if obj.GetKind() == crds.Kind {
		o.FieldManager = crds.FinalizerManager
	}
	return r.Apply(ctx, obj.GetName(), obj, o)
}

func (c *cluster) ApplyStatus(ctx context.Context, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	r := c.client.Resource(crds.CollectorResource()).Namespace(obj.GetNamespace())
	return r.ApplyStatus(ctx, obj.GetName(), obj, applyOptions(false))
}

func (c *cluster) SetOwners(
	ctx context.Context, id ID, uid types.UID, owners []metav1.ManagedFieldsEntry,
) (*unstructured.Unstructured, error) {
	r, err := c.resource(id)
	if err != nil {
		return nil, err
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": uid, "managedFields": owners}})
	if err != nil {
		return nil, err
	}
	return r.Patch(ctx, id.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: crds.FieldManager})
}

func (c *cluster) Delete(ctx context.Context, id ID, uid types.UID, propagation metav1.DeletionPropagation) error {
	r, err := c.resource(id)
	if err != nil {
		return err
	}
	return r.Delete(ctx, id.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &propagation,
	})
}

// applyOptions force: the collector is the only place where its user speaks to us, and a refusal would leave things half done.
func applyOptions(dryRun bool) metav1.ApplyOptions {
	o := metav1.ApplyOptions{FieldManager: crds.FieldManager, Force: true}
	if dryRun {
		o.DryRun = []string{metav1.DryRunAll}
	}
	return o
}
