package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// complaintOf is the worst of what a pod complains of. A container that was in a crash loop and runs for the moment is still in it
// when crashing is set.
func complaintOf(pod *unstructured.Unstructured, crashing bool) complaint {
	phase := valueAt[string](pod.Object, "status", "phase")
	switch {
	case pod.GetDeletionTimestamp() != nil:
		return complaint{rank: rankGoing, text: "being deleted"}
	case phase == "Failed":
		return complaint{rank: rankFailed, text: joined("failed", pod, "status")}
	case phase == "Succeeded":
		return complaint{rank: rankFailed, text: "ended"}
	}
	var worst complaint
	for _, list := range []string{"initContainerStatuses", "containerStatuses"} {
		for _, c := range elements(pod.Object, "status", list) {
			if got := containerComplaint(c, crashing); got.rank != 0 && (worst.rank == 0 || got.rank < worst.rank) {
				got.text = valueAt[string](c, "name") + ": " + got.text
				worst = got
			}
		}
	}
	if worst.rank != 0 {
		return worst
	}
	if c := conditionOf(pod, "PodScheduled"); c["status"] == "False" {
		return unscheduled(c)
	}
	if c := conditionOf(pod, "Ready"); phase == "Running" && c != nil && c["status"] != "True" {
		return complaint{rank: rankBusy, text: reasonAnd("not ready", c)}
	}
	if phase == "Pending" {
		return complaint{rank: rankBusy, text: "pending"}
	}
	return complaint{}
}

// containerComplaint reads a container's status (k8s.io/api/core/v1, ContainerStatus; the reasons are the kubelet's:
// k8s.io/kubernetes/pkg/kubelet/container/sync_result.go and pkg/kubelet/images/types.go).
func containerComplaint(c map[string]any, crashing bool) complaint {
	if atRest(c) {
		return complaint{}
	}
	waiting := valueAt[map[string]any](c, "state", "waiting")
	ended := valueAt[map[string]any](c, "state", "terminated")
	last := valueAt[map[string]any](c, "lastState", "terminated")
	loop := valueAt[int64](c, "restartCount") >= crashLoopRestarts
	reason := valueAt[string](waiting, "reason")
	switch {
	case reason == "CrashLoopBackOff" || crashing && loop && waiting == nil && last != nil:
		out := complaint{rank: rankLoop, text: "CrashLoopBackOff"}
		if last != nil {
			out.text += " (" + cause(last) + ")" + message(last)
		}
		if loop {
			out.rank, out.fatal = rankFatal, crds.ReasonCrashLoop
		}
		return out
	case reason == "InvalidImageName":
		return complaint{rank: rankFatal, text: reasonAnd("", waiting), fatal: crds.ReasonFailed}
	case slices.Contains([]string{"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}, reason):
		return complaint{rank: rankImage, text: reasonAnd("", waiting)}
	case reason == "" && waiting != nil, reason == "ContainerCreating", reason == "PodInitializing":
		return complaint{rank: rankBusy, text: cmp.Or(reason, "waiting")}
	case waiting != nil:
		return complaint{rank: rankBroken, text: reasonAnd("", waiting)}
	case ended != nil:
		return complaint{rank: rankBusy, text: "ended (" + cause(ended) + ")" + message(ended)}
	case last != nil:
		return complaint{rank: rankBusy, text: "not ready, after it ended (" + cause(last) + ")" + message(last)}
	default:
		return complaint{rank: rankBusy, text: "not ready"}
	}
}

// atRest tells of a container whether it is ready, or has done what it was there for.
func atRest(c map[string]any) bool {
	ended := valueAt[map[string]any](c, "state", "terminated")
	return valueAt[bool](c, "ready") || ended != nil && valueAt[int64](ended, "exitCode") == 0 && ended["reason"] == "Completed"
}

// cause says how a container has ended.
func cause(ended map[string]any) string {
	code := fmt.Sprintf("exit code %d", valueAt[int64](ended, "exitCode"))
	switch reason := valueAt[string](ended, "reason"); reason {
	case "", "Error", "Completed":
		return code
	default:
		return reason + ", " + code
	}
}

func message(m map[string]any) string {
	if text := valueAt[string](m, "message"); text != "" {
		return ": " + text
	}
	return ""
}

// joined is text, and the reason and message at path of an object.
func joined(text string, u *unstructured.Unstructured, path ...string) string {
	return reasonAnd(text, valueAt[map[string]any](u.Object, path...))
}

// reasonAnd is text, reason and message of m, as far as they are there.
func reasonAnd(text string, m map[string]any) string {
	parts := []string{text, valueAt[string](m, "reason"), valueAt[string](m, "message")}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

func unscheduled(c map[string]any) complaint {
	what := map[string]string{"Unschedulable": "unschedulable", "SchedulingGated": "held by its scheduling gates"}
	text := cmp.Or(what[valueAt[string](c, "reason")], "not scheduled")
	return complaint{rank: rankUnschedulable, text: text + message(c)}
}

// conditionOf is the one of a type in a status, nil when there is none.
func conditionOf(u *unstructured.Unstructured, kind string) map[string]any {
	for _, c := range elements(u.Object, "status", "conditions") {
		if c["type"] == kind {
			return c
		}
	}
	return nil
}

// elements are the objects in the list at path.
func elements(m map[string]any, path ...string) []map[string]any {
	var out []map[string]any
	for _, e := range valueAt[[]any](m, path...) {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
