package reconcile

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// Watch calls changed with each collector that there is, whenever it has changed, and with nil when it is gone: whether this process is
// elected or not, one call after the other for the same collector. The object must not be modified. It is to be called before Run;
// synced tells whether changed has been called with all that there was at the start.
func (c *Controller) Watch(changed func(types.NamespacedName, *unstructured.Unstructured)) (synced func() bool, err error) {
	tell := func(obj any, gone bool) {
		if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = last.Obj
		}
		u, ok := obj.(*unstructured.Unstructured)
		if !ok {
			return
		}
		key := types.NamespacedName{Namespace: u.GetNamespace(), Name: u.GetName()}
		if gone {
			u = nil
		}
		changed(key, u)
	}
	var handlers []cache.ResourceEventHandlerRegistration
	for _, w := range c.cache.collectors {
		h, err := w.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { tell(obj, false) },
			UpdateFunc: func(_, obj any) { tell(obj, false) },
			DeleteFunc: func(obj any) { tell(obj, true) },
		})
		if err != nil {
			return nil, fmt.Errorf("watch %s: %w", w.resource.GroupResource(), err)
		}
		handlers = append(handlers, h)
	}
	return func() bool {
		for _, h := range handlers {
			if !h.HasSynced() {
				return false
			}
		}
		return true
	}, nil
}
