package member

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Ready are the pods that serve now, by name, with when they became ready. It is not limited to members.
func (w *Watcher) Ready() map[string]time.Time {
	out := map[string]time.Time{}
	for _, obj := range w.pods.GetStore().List() {
		p := podOf(obj.(*corev1.Pod))
		if up, _ := p.up(); up {
			out[p.Name] = p.Since
		}
	}
	return out
}
