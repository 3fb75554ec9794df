package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/otelier/otelier/crds"
)

// evidence is what the health of a collector is judged by.
type evidence struct {
	ids    []ID                         // of what has to be there
	live   Objects                      // may hold more than that
	pods   []*unstructured.Unstructured // of this collector, as slimPod has them
	claims []*unstructured.Unstructured // of this collector
	// crashing is what the status says already: see crashing.
	crashing bool
}

// Health is what the live objects of a collector say, taken together. It is comparable, and the same for the same objects: there are
// no times in it, and no counts that grow while nothing else happens.
type Health struct {
	// Status of the worst object: Failed, InProgress or Current.
	Status status.Status
	// Reason of Failed is one of crds.Reason…; empty otherwise.
	Reason string
	// Message names the worst objects, worst first, what they wait for, and what is wrong with their pods. It is empty when all are
	// current.
	Message string
	// Detail is Message with what pods are doing that is no fault, such as starting or not being ready. It says why a rollout that has
	// stopped goes no further; while it goes on, it would change all the time.
	Detail string
	// Note is what has to be said although all are current, such as that there are no replicas.
	Note string
	// Waiting is set when all that is not current waits for a person, or for pods to go: nothing that has to be done by a deadline.
	Waiting bool

	numbers string // digest of what makes progress
}

// maxNamed is how many objects a message names.
const maxNamed = 3

// verdict is what one object says.
type verdict struct {
	id      ID
	status  status.Status
	reason  string   // of Failed
	message string   // of what is not current
	faults  []string // of its pods
	detail  []string // faults, and what else its pods are doing
	note    string   // of what is current
	waiting bool
}

// health judges by kstatus, with what it leaves out: see judge. What is not live yet is in progress.
func health(e evidence) Health {
	var bad []verdict
	var notes []string
	for _, id := range e.ids {
		v := judge(id, e)
		if v.status != status.CurrentStatus {
			bad = append(bad, v)
		} else if v.note != "" {
			notes = append(notes, fmt.Sprintf("%s: %s", id, v.note))
		}
	}
	slices.Sort(notes)
	out := Health{Status: status.CurrentStatus, Note: strings.Join(notes, "; ")}
	if len(bad) == 0 {
		return out
	}
	slices.SortFunc(bad, func(a, b verdict) int {
		return cmp.Or(cmp.Compare(severity(a), severity(b)), strings.Compare(a.id.String(), b.id.String()))
	})
	out.Status = status.InProgressStatus
	if bad[0].status == status.FailedStatus {
		out.Status, out.Reason = status.FailedStatus, bad[0].reason
	}
	out.Message = tell(bad, func(v verdict) []string { return v.faults })
	out.Detail = tell(bad, func(v verdict) []string { return v.detail })
	out.Waiting = !slices.ContainsFunc(bad, func(v verdict) bool { return !v.waiting })
	out.numbers = numbersOf(bad, e.live)
	return out
}

// tell names the worst objects, each with what is added about it.
func tell(bad []verdict, more func(verdict) []string) string {
	var named []string
	for _, v := range bad[:min(maxNamed, len(bad))] {
		named = append(named, fmt.Sprintf("%s: %s", v.id, v.message))
		named = append(named, more(v)...)
	}
	if n := len(bad) - maxNamed; n > 0 {
		named = append(named, fmt.Sprintf("and %d more", n))
	}
	return strings.Join(named, "; ")
}

// severity orders verdicts, the worst first: what has failed, what moves or should, and what waits for a person.
func severity(v verdict) int {
	switch {
	case v.status == status.FailedStatus:
		return 0
	case !v.waiting:
		return 1
	default:
		return 2
	}
}

// numbersOf digests how far objects are that are not current: when it changes, a rollout has made progress.
func numbersOf(bad []verdict, live Objects) string {
	var out []any
	for _, v := range bad {
		u := live[v.id]
		if u == nil {
			out = append(out, v.id.String())
			continue
		}
		numbers := map[string]any{}
		for k, value := range valueAt[map[string]any](u.Object, "status") {
			if _, ok := value.(int64); ok || k == "currentRevision" || k == "updateRevision" {
				numbers[k] = value
			}
		}
		out = append(out, []any{v.id.String(), u.GetUID(), u.GetGeneration(), u.GetDeletionTimestamp() != nil, numbers})
	}
	return digest(out)
}

// judge is kstatus with what it leaves out, and what the pods of a workload add to it.
func judge(id ID, e evidence) verdict {
	u := e.live[id]
	v := verdict{id: id, status: status.InProgressStatus}
	switch {
	case u == nil:
		v.message = "not created yet"
		return v
	case u.GetDeletionTimestamp() != nil:
		v.message = "being replaced"
		return v
	}
	r, err := status.Compute(u)
	if err != nil {
		v.message = err.Error()
		return v
	}
	v.status, v.message = r.Status, r.Message
	if n, ok, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration"); ok && n < u.GetGeneration() {
		v.message = "not looked at by its controller yet"
	}
	if v.status == status.FailedStatus {
		v.reason = crds.ReasonFailed
	}
	if id.Group != "apps" {
		return v
	}
	switch id.Kind {
	case "Deployment":
		judgeDeployment(u, &v)
	case "StatefulSet":
		judgeStatefulSet(u, &v)
		judgePods(u, e.pods, &v)
	case "DaemonSet":
		judgeDaemonSet(u, &v)
	default:
		return v
	}
	if v.status != status.CurrentStatus {
		serving(u, &v)
		blame(u, e, &v)
	}
	return v
}

// blame adds what is wrong with the pods of a workload that is not current. What no waiting will change has failed at once.
func blame(u *unstructured.Unstructured, e evidence, v *verdict) {
	d := diagnose(u, e)
	v.faults, v.detail = d.faults, d.all
	if d.fatal != "" && !v.waiting {
		v.status, v.reason = status.FailedStatus, d.fatal
	}
	if v.status == status.FailedStatus {
		v.faults = v.detail
	}
}

// serving adds how many pods are ready to a message that does not say so: the old ones keep serving while new ones don't come up.
func serving(u *unstructured.Unstructured, v *verdict) {
	if strings.HasPrefix(v.message, "Ready: ") || strings.HasPrefix(v.message, "Available: ") {
		return
	}
	if ready, want := readyOf(u); want > 0 && (!v.waiting || ready < want) {
		v.message += fmt.Sprintf(" (%d/%d ready)", min(ready, want), want)
	}
}

func readyOf(u *unstructured.Unstructured) (ready, want int64) {
	if u.GetKind() == "DaemonSet" {
		return numberAt(u, "status", "numberReady"), numberAt(u, "status", "desiredNumberScheduled")
	}
	return numberAt(u, "status", "readyReplicas"), replicasOf(u)
}

func judgeDeployment(u *unstructured.Unstructured, v *verdict) {
	judgeZero(u, v)
	switch {
	case v.status == status.FailedStatus: // the only way that kstatus knows for a Deployment to fail
		v.reason = crds.ReasonProgressDeadlineExceeded
	case v.status == status.InProgressStatus && valueAt[bool](u.Object, "spec", "paused"):
		v.message, v.waiting = v.message+", its rollout is paused", true
	}
}

// judgeZero says that there are to be no pods; waiting for them to go has no deadline.
func judgeZero(u *unstructured.Unstructured, v *verdict) {
	if replicasOf(u) == 0 {
		v.note, v.waiting = "scaled to zero", true
	}
}

// judgeStatefulSet knows what kstatus does not: it takes a StatefulSet whose pods are replaced by hand (OnDelete) for current at
// once, also one that its controller has not looked at yet, and does not look at minReadySeconds.
func judgeStatefulSet(u *unstructured.Unstructured, v *verdict) {
	judgeZero(u, v)
	if v.status != status.CurrentStatus {
		return
	}
	progress := func(message string) { v.status, v.message = status.InProgressStatus, message }
	if numberAt(u, "status", "observedGeneration") < u.GetGeneration() {
		progress("not looked at by its controller yet")
		return
	}
	want := replicasOf(u)
	for _, count := range []struct{ field, name string }{
		{"replicas", "Replicas"}, {"readyReplicas", "Ready"}, {"availableReplicas", "Available"},
	} {
		if n := numberAt(u, "status", count.field); n < want {
			progress(fmt.Sprintf("%s: %d/%d", count.name, n, want))
			return
		}
	}
	if n := numberAt(u, "status", "replicas") - want; n > 0 {
		progress(fmt.Sprintf("Pending termination: %d", n))
		return
	}
	updated := numberAt(u, "status", "updatedReplicas")
	if updated >= want {
		return
	}
	if onDelete(u) {
		waitForDeletion(v, updated, want)
		return
	}
	v.note = partitionNote(u, updated, want)
}

// judgePods looks at the pods themselves: what a StatefulSet's status counts is as of when its controller last looked.
// Pods that bear its names and are not its own yet have been adopted, if they count, and the cache does not show it: one after the
// other they will. Where there are none at all, they don't bear our labels.
func judgePods(u *unstructured.Unstructured, pods []*unstructured.Unstructured, v *verdict) {
	owned := members(u, pods)
	bears := func(pod *unstructured.Unstructured) bool { return named(u, pod) }
	if v.status != status.CurrentStatus || len(owned) == 0 && !slices.ContainsFunc(pods, bears) {
		return
	}
	ready, lacking := int64(0), int64(0)
	for _, pod := range owned {
		if lacks(u, pod) {
			lacking++
		}
		if podReady(pod) && pod.GetDeletionTimestamp() == nil {
			ready++
		}
	}
	switch want := replicasOf(u); {
	case lacking > 0:
		v.status, v.message = status.InProgressStatus, fmt.Sprintf("%d/%d pods have all their volumes, the others are made anew one by one", want-lacking, want)
	case ready < want:
		v.status, v.message = status.InProgressStatus, fmt.Sprintf("Ready: %d/%d", ready, want)
	}
}

// partitionNote says what a partition keeps from being rolled out. The partition counts pods from the first one, whatever its
// ordinal is (k8s.io/kubernetes/pkg/controller/statefulset, updateStatefulSetAfterInvariantEstablished).
func partitionNote(u *unstructured.Unstructured, updated, want int64) string {
	kept := min(numberAt(u, "spec", "updateStrategy", "rollingUpdate", "partition"), want)
	if kept <= 0 {
		return ""
	}
	first := numberAt(u, "spec", "ordinals", "start")
	pods := fmt.Sprintf("pod %s-%d stays", u.GetName(), first)
	if kept > 1 {
		pods = fmt.Sprintf("pods %s-%d to %s-%d stay", u.GetName(), first, u.GetName(), first+kept-1)
	}
	return fmt.Sprintf("rolled out to the partition: %d of %d updated, %s at the former revision", updated, want, pods)
}

// judgeDaemonSet knows OnDelete, which for kstatus is in progress for a reason like any other.
func judgeDaemonSet(u *unstructured.Unstructured, v *verdict) {
	want := numberAt(u, "status", "desiredNumberScheduled")
	if v.status == status.CurrentStatus {
		if want == 0 {
			v.note = "no node is to run it"
		}
		return
	}
	if !onDelete(u) || numberAt(u, "status", "observedGeneration") != u.GetGeneration() {
		return
	}
	updated := numberAt(u, "status", "updatedNumberScheduled")
	for _, count := range []struct{ field, name string }{
		{"currentNumberScheduled", "Current"}, {"numberReady", "Ready"}, {"numberAvailable", "Available"},
	} {
		if n := numberAt(u, "status", count.field); n < want {
			v.message = fmt.Sprintf("%s: %d/%d", count.name, n, want)
			return
		}
	}
	if updated < want {
		waitForDeletion(v, updated, want)
	}
}

// waitForDeletion is for workloads whose pods are all well, but are replaced only when somebody deletes them.
func waitForDeletion(v *verdict, updated, want int64) {
	v.status, v.waiting = status.InProgressStatus, true
	v.message = fmt.Sprintf("Updated: %d/%d, the others when their pods are deleted", updated, want)
}

func onDelete(u *unstructured.Unstructured) bool {
	return valueAt[string](u.Object, "spec", "updateStrategy", "type") == "OnDelete"
}

// replicasOf is 1 where the spec does not say it (k8s.io/kubernetes/pkg/apis/apps/v1, SetDefaults_Deployment).
func replicasOf(u *unstructured.Unstructured) int64 {
	if n, ok, _ := unstructured.NestedInt64(u.Object, "spec", "replicas"); ok {
		return n
	}
	return 1
}

func numberAt(u *unstructured.Unstructured, path ...string) int64 {
	return valueAt[int64](u.Object, path...)
}

// valueAt is the value at path, without copying it; the zero value where there is none or it is something else.
func valueAt[T any](m map[string]any, path ...string) T {
	value, _, _ := unstructured.NestedFieldNoCopy(m, path...)
	out, _ := value.(T)
	return out
}
