package reconcile

import (
	"log/slog"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/otelier/otelier/crds"
)

// maxNote is the longest note of an Event (k8s.io/api/events/v1, Event.Note).
const maxNote = 1024

// statusObject is the intent that makes the collector's status s. It carries the UID, so that it can't bring back a collector
// that was deleted meanwhile.
func statusObject(c *crds.Collector, s crds.Status) (*unstructured.Unstructured, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&s)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": m}}
	u.SetAPIVersion(crds.Group + "/" + crds.VersionV1Beta1)
	u.SetKind(crds.Kind)
	u.SetNamespace(c.Namespace)
	u.SetName(c.Name)
	u.SetUID(c.UID)
	return u, nil
}

// eventType is the type of the Event that a condition deserves after what it was; empty when it says nothing new. Progress of
// a rollout is no news, its beginning and its end are.
func eventType(was *metav1.Condition, now metav1.Condition) string {
	same := was != nil && was.Status == now.Status && was.Reason == now.Reason
	switch now.Type {
	case crds.ConditionReady:
		// What is wrong has a condition of its own, which has the Event.
		if now.Status == metav1.ConditionTrue && !same {
			return corev1.EventTypeNormal
		}
		if now.Reason == crds.ReasonProgressing && !same {
			return corev1.EventTypeNormal
		}
	case crds.ConditionStalled, crds.ConditionUnsupportedFields, crds.ConditionConfigWarning:
		// How many pods are ready of a rollout that does not move is no news.
		news := !slices.Contains([]string{crds.ReasonProgressDeadlineExceeded, crds.ReasonCrashLoop, crds.ReasonFailed}, now.Reason)
		if !same || news && was.Message != now.Message {
			return corev1.EventTypeWarning
		}
	case crds.ConditionNotConverging, crds.ConditionClaimsNotExpanded, crds.ConditionMonitorsInvalid, crds.ConditionJobsWithheld,
		crds.ConditionTargetsUnassigned, crds.ConditionDiscoveryIncomplete, crds.ConditionCollectorsNotPolling:
		if !same {
			return corev1.EventTypeWarning
		}
	case crds.ConditionPaused, crds.ConditionReplicasYielded:
		if !same {
			return corev1.EventTypeNormal
		}
	case crds.ConditionReconciling:
		if now.Reason == crds.ReasonRetrying && !same {
			return corev1.EventTypeWarning
		}
	}
	return ""
}

// logLevel is that of an Event's type.
func logLevel(eventType string) slog.Level {
	if eventType == corev1.EventTypeWarning {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func noteOf(message string) string {
	return strings.ToValidUTF8(message[:min(maxNote, len(message))], "")
}

func reference(c *crds.Collector) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: crds.Group + "/" + crds.VersionV1Beta1, Kind: crds.Kind, Namespace: c.Namespace, Name: c.Name, UID: c.UID,
		ResourceVersion: c.ResourceVersion,
	}
}
