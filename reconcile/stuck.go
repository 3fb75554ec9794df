package reconcile

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// stuck is the next pod to delete because its StatefulSet waits for it in vain, and why: it is of a revision that is no longer wanted,
// can't become ready, and serves nobody. Nobody else would delete it: a StatefulSet controller that goes through its pods in order stops at the first
// that is not ready, also when the template has been repaired since (kubernetes/kubernetes#67250;
// k8s.io/kubernetes/pkg/controller/statefulset, processReplica). So that one goes, and none while another does.
func stuck(set *Change, pods []*unstructured.Unstructured) (pod *unstructured.Unstructured, why string) {
	if set.Action != ActionNone {
		return nil, ""
	}
	if pod, why = waitedFor(set, pods, superseded); pod != nil {
		why = "is of a former revision, and its StatefulSet waits for it in vain: " + why
	}
	return pod, why
}

// stuckThen is the pod that will be deleted as stuck once the change of a StatefulSet is carried out.
func stuckThen(set *Change, pods []*unstructured.Unstructured) *unstructured.Unstructured {
	if set.Action != ActionUpdate && set.Action != ActionReplace || !rollsPods(set.Fields) {
		return nil
	}
	pod, _ := waitedFor(set, pods, supersededThen)
	return pod
}

// waitedFor is the pod that a StatefulSet waits for in vain as the next one, and of what the pod complains, if it is one that is replaced.
func waitedFor(
	set *Change, pods []*unstructured.Unstructured, replaced func(pod, set *unstructured.Unstructured) bool,
) (pod *unstructured.Unstructured, complains string) {
	if !settledPods(set) || !waitsForReady(set.Live) {
		return nil, ""
	}
	for _, pod := range inOrder(set.Live, pods) {
		switch {
		case pod == nil:
			return nil, "" // it is made next
		case podReady(pod):
			continue
		}
		if c := complaintOf(pod, false); hopeless(c) && !collects(pod) && replaced(pod, set.Live) {
			return pod, c.text
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
	return !kept(pod, set) || is != former
}

// supersededThen is superseded as it will be when the template has changed: no pod is of the newest revision then.
func supersededThen(pod, set *unstructured.Unstructured) bool {
	is := pod.GetLabels()["controller-revision-hash"]
	return is != "" && (!kept(pod, set) || is != valueAt[string](set.Object, "status", "currentRevision"))
}

// kept tells whether a pod of a StatefulSet is below the partition.
func kept(pod, set *unstructured.Unstructured) bool {
	first := numberAt(set, "spec", "ordinals", "start")
	return ordinal(pod) < first+numberAt(set, "spec", "updateStrategy", "rollingUpdate", "partition")
}

// collects tells whether the collector in a pod is ready, whatever else in it is not: it may be scraping. Of a slim pod the containers are
// there that are not at rest, once it has a node.
func collects(pod *unstructured.Unstructured) bool {
	if conditionOf(pod, "PodScheduled") != nil {
		return false
	}
	return !slices.ContainsFunc(elements(pod.Object, "status", "containerStatuses"), func(c map[string]any) bool {
		return c["name"] == crds.ContainerName && !atRest(c)
	})
}

// hopeless tells of what a pod complains whether it will not become ready as it is. A crash loop counts when it has lasted: what has
// crashed once may come up again.
func hopeless(c complaint) bool {
	return c.rank == rankFatal || c.rank == rankBroken || c.rank == rankImage || c.rank == rankUnschedulable
}
