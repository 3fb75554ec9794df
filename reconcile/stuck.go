package reconcile

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// stuck is the next pod to delete because its StatefulSet waits for it in vain, and why: it is of a revision that is no longer wanted,
// and can't become ready. Nobody else would delete it: a StatefulSet controller that goes through its pods in order stops at the first
// that is not ready, also when the template has been repaired since (kubernetes/kubernetes#67250;
// k8s.io/kubernetes/pkg/controller/statefulset, processReplica). So that one goes, and none while another does.
func stuck(set *Change, pods []*unstructured.Unstructured) (pod *unstructured.Unstructured, why string) {
	if set.Action != ActionNone || !settledPods(set) || !waitsForReady(set.Live) {
		return nil, ""
	}
	for _, pod := range inOrder(set.Live, pods) {
		switch {
		case pod == nil:
			return nil, "" // it is made next
		case podReady(pod):
			continue
		}
		if c := complaintOf(pod, false); hopeless(c) && superseded(pod, set.Live) {
			return pod, "is of a former revision, and its StatefulSet waits for it in vain: " + c.text
		}
		return nil, ""
	}
	return nil, ""
}

// settledPods tells whether the controller of a StatefulSet has seen all that it is to do about its pods, and does it by itself.
func settledPods(set *Change) bool {
	return set.Live.GetDeletionTimestamp() == nil && set.Problem == nil && !onDelete(set.Live) &&
		numberAt(set.Live, "status", "observedGeneration") >= set.Live.GetGeneration()
}

// inOrder are the pods that a StatefulSet should have, nil where one is not there yet; none as long as any is on its way out.
func inOrder(set *unstructured.Unstructured, pods []*unstructured.Unstructured) []*unstructured.Unstructured {
	first, out := numberAt(set, "spec", "ordinals", "start"), make([]*unstructured.Unstructured, replicasOf(set))
	for _, pod := range members(set, pods) {
		if pod.GetDeletionTimestamp() != nil {
			return nil
		}
		if i := ordinal(pod) - first; i >= 0 && i < int64(len(out)) {
			out[i] = pod
		}
	}
	return out
}

// waitsForReady tells whether a StatefulSet replaces no pod before all are ready. The API server sets maxUnavailable where the
// controller counts pods that are not ready against it, whatever revision they are of (feature MaxUnavailableStatefulSet;
// k8s.io/kubernetes/pkg/controller/statefulset, updateStatefulSetAfterInvariantEstablished).
func waitsForReady(set *unstructured.Unstructured) bool {
	return valueAt[string](set.Object, "spec", "podManagementPolicy") != "Parallel" ||
		valueAt[any](set.Object, "spec", "updateStrategy", "rollingUpdate", "maxUnavailable") != nil
}

// superseded tells whether a pod of a StatefulSet would be made anew of another revision. Below the partition that is the former one
// (k8s.io/kubernetes/pkg/controller/statefulset, newVersionedStatefulSetPod).
func superseded(pod, set *unstructured.Unstructured) bool {
	is := pod.GetLabels()["controller-revision-hash"]
	wanted, former := valueAt[string](set.Object, "status", "updateRevision"), valueAt[string](set.Object, "status", "currentRevision")
	if is == "" || wanted == "" || is == wanted {
		return false
	}
	first := numberAt(set, "spec", "ordinals", "start")
	kept := ordinal(pod) < first+numberAt(set, "spec", "updateStrategy", "rollingUpdate", "partition")
	return !kept || is != former
}

// hopeless tells of what a pod complains whether it will not become ready as it is, and serves nobody meanwhile. A crash loop counts
// when it has lasted: what has crashed once may come up again.
func hopeless(c complaint) bool {
	return c.rank == rankFatal || c.rank == rankBroken || c.rank == rankImage || c.rank == rankUnschedulable
}
