package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

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
			r, err := status.Compute(u.Unstructured)
			if err != nil {
				v.message = err.Error()
			} else {
				v.status, v.message = r.Status, r.Message
			}
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

func severity(s status.Status) int {
	if s == status.FailedStatus {
		return 1
	}
	return 0
}
