package reconcile

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// configsInUse are the names of the ConfigMaps that pods read, also those on their way out: what replaces them may read the same. They are
// not known when a controller could make a pod that reads what none of the present ones does: then any may be in use.
func configsInUse(in Input) (names map[string]bool, known bool) {
	names = map[string]bool{}
	for _, pod := range in.Pods {
		if !ended(pod) {
			names[configOf(pod)] = true
		}
	}
	for id, u := range in.Live {
		if k, ok := crds.KindOf(schemaGroupKind(id)); !ok || k.Stage != crds.StageWorkload || !belongsTo(in.Collector, u) {
			continue
		}
		names[mountedConfig(u)] = true // its pods are made of that until its controller has seen a change
		if !shown(u, in.Pods) {
			return names, false
		}
	}
	return names, true
}

// shown tells whether the pods that are there, and the template, show all that the controller of a workload makes pods of. What it has
// counted must have come to us, and it must have seen the template: up to then it makes pods of the one before.
func shown(u *unstructured.Unstructured, pods []*unstructured.Unstructured) bool {
	if u.GetDeletionTimestamp() != nil || numberAt(u, "status", "observedGeneration") < u.GetGeneration() {
		return false
	}
	switch u.GetKind() {
	case "Deployment":
		return allNewest(u)
	case "StatefulSet":
		own := members(u, pods)
		return int64(len(own)) >= numberAt(u, "status", "replicas") && (!makesFormer(u) || slices.ContainsFunc(own, func(pod *unstructured.Unstructured) bool {
			return !ended(pod) && pod.GetLabels()["controller-revision-hash"] == valueAt[string](u.Object, "status", "currentRevision")
		}))
	default:
		// A DaemonSet's pods are made of its template, whatever it replaces and how
		// (k8s.io/kubernetes/pkg/controller/daemon, syncNodes).
		return int64(len(members(u, pods))) >= numberAt(u, "status", "currentNumberScheduled")
	}
}

// allNewest tells whether the former ReplicaSets of a Deployment are to have no pods any more: those that have some make them anew, and are
// scaled down as the pods of the newest become available, or before there are any
// (k8s.io/kubernetes/pkg/controller/deployment, reconcileOldReplicaSets, rolloutRecreate).
func allNewest(u *unstructured.Unstructured) bool {
	updated := numberAt(u, "status", "updatedReplicas")
	return updated == numberAt(u, "status", "replicas") &&
		(updated >= replicasOf(u) && numberAt(u, "status", "availableReplicas") >= updated || valueAt[string](u.Object, "spec", "strategy", "type") == "Recreate")
}

// makesFormer tells whether a StatefulSet may make pods of its former revision: below the partition, which may be set at any time, until
// all pods are of the newest one (k8s.io/kubernetes/pkg/controller/statefulset, newVersionedStatefulSetPod, completeRollingUpdate). Where
// pods are replaced by hand, it never takes the newest for the present one, and makes pods of the newest all the same.
func makesFormer(set *unstructured.Unstructured) bool {
	return !onDelete(set) && valueAt[string](set.Object, "status", "currentRevision") != valueAt[string](set.Object, "status", "updateRevision")
}

// ended tells whether a pod will not run again, such as one that was evicted: it stays until somebody deletes it, and reads nothing.
func ended(pod *unstructured.Unstructured) bool {
	phase := valueAt[string](pod.Object, "status", "phase")
	return phase == "Failed" || phase == "Succeeded"
}
