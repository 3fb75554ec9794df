package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// Health is what the live objects of a collector say, taken together.
type Health struct {
	// Status of the worst object: Failed, InProgress or Current.
	Status status.Status
	// Message names the worst objects, worst first, and what they wait for. It is empty when all are current.
	Message string
}

// maxNamed is how many objects a message names.
const maxNamed = 3

// health judges the objects with these IDs by kstatus. One that is not live yet is in progress.
func health(ids []ID, live map[ID]*liveObject) Health {
	type verdict struct {
		id      ID
		status  status.Status
		message string
	}
	var bad []verdict
	for _, id := range ids {
		v := verdict{id, status.InProgressStatus, "not created yet"}
		if u := live[id]; u != nil {
			v.status, v.message = compute(u.Unstructured)
		}
		if v.status != status.CurrentStatus {
			bad = append(bad, v)
		}
	}
	if len(bad) == 0 {
		return Health{Status: status.CurrentStatus}
	}
	slices.SortFunc(bad, func(a, b verdict) int {
		return cmp.Or(cmp.Compare(severity(b.status), severity(a.status)), strings.Compare(a.id.String(), b.id.String()))
	})
	out := Health{Status: status.InProgressStatus}
	if bad[0].status == status.FailedStatus {
		out.Status = status.FailedStatus
	}
	var named []string
	for _, v := range bad[:min(maxNamed, len(bad))] {
		named = append(named, fmt.Sprintf("%s: %s", v.id, v.message))
	}
	if more := len(bad) - maxNamed; more > 0 {
		named = append(named, fmt.Sprintf("and %d more", more))
	}
	out.Message = strings.Join(named, "; ")
	return out
}

// compute is kstatus, with what it leaves out for StatefulSets: it takes one whose pods are replaced by hand (OnDelete) for
// current at once, also one that its controller has not looked at yet, and does not know minReadySeconds.
func compute(u *unstructured.Unstructured) (status.Status, string) {
	r, err := status.Compute(u)
	if err != nil {
		return status.InProgressStatus, err.Error()
	}
	if u.GetKind() != "StatefulSet" || r.Status != status.CurrentStatus {
		return r.Status, r.Message
	}
	number := func(path ...string) int64 {
		n, _, _ := unstructured.NestedInt64(u.Object, path...)
		return n
	}
	if number("status", "observedGeneration") < u.GetGeneration() {
		return status.InProgressStatus, "not looked at by its controller yet"
	}
	want := number("spec", "replicas")
	for _, count := range []struct{ field, name string }{
		{"readyReplicas", "Ready"}, {"availableReplicas", "Available"},
	} {
		if n := number("status", count.field); n < want {
			return status.InProgressStatus, fmt.Sprintf("%s: %d/%d", count.name, n, want)
		}
	}
	strategy, _, _ := unstructured.NestedString(u.Object, "spec", "updateStrategy", "type")
	if n := number("status", "updatedReplicas"); strategy == "OnDelete" && n < want {
		return status.InProgressStatus, fmt.Sprintf("Updated: %d/%d, the others when their pods are deleted", n, want)
	}
	return r.Status, r.Message
}

func severity(s status.Status) int {
	if s == status.FailedStatus {
		return 1
	}
	return 0
}
