package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/otelier/otelier/crds"
)

// observation is all that a pass has learnt.
type observation struct {
	collector   *crds.Collector
	problem     *Problem                   // nil when everything was applied
	health      Health                     // of what is live
	workload    *unstructured.Unstructured // live, nil when there is none
	unsupported []string                   // paths of fields that are not acted on
	warnings    []string                   // about the configuration
	paused      bool                       // spec.managementState is unmanaged
	inventory   []crds.InventoryEntry      // of what belongs to the collector
	planned     bool                       // there was a plan; without one, what the last one noted still holds
	notes       []Note                     // of the plan, about what stays as it is although the spec says otherwise
	// foreign are the conditions that others found to be true; without foreignKnown what the status says of them still holds.
	foreign      []metav1.Condition
	foreignKnown bool
	// notConverging names the fields that don't stay what was applied; empty when they do.
	notConverging string
	// held are the changes that were not made because they had been made too often.
	held []string
	// contested is set when that is because somebody changes them back.
	contested bool
	// deadlineExceeded is set when a rollout has made no progress for its deadline: progress.exceeded.
	deadlineExceeded bool
}

// maxMessage is the longest message that a condition may have, by the schema of metav1.Condition.
const maxMessage = 32768

// buildStatus says what an observation means. It is pure: conditions keep the time of their last transition unless they make
// one, at now.
func buildStatus(o observation, now time.Time) crds.Status {
	out := crds.Status{
		Version: o.collector.Status.Version, Image: o.collector.Status.Image, Scale: o.collector.Status.Scale,
		ObservedGeneration: o.collector.Generation,
		Conditions:         slices.Clone(o.collector.Status.Conditions),
		Inventory:          o.inventory,
		YieldedReplicas:    o.collector.Status.YieldedReplicas,
	}
	if o.workload != nil {
		out.Image, out.Version = workloadImage(o.workload), o.workload.GetLabels()[crds.LabelVersion]
		out.Scale = workloadScale(o.workload)
	}
	set := conditionSetter(&out.Conditions, o.collector.Generation, now)
	ready, reason, message := readiness(o)
	set(crds.ConditionReady, ready, reason, message)
	on := func(kind string, is bool, reason, message string) {
		if is {
			set(kind, metav1.ConditionTrue, reason, message)
		} else {
			meta.RemoveStatusCondition(&out.Conditions, kind)
		}
	}
	stalled := o.problem != nil && !o.problem.Transient || o.problem == nil && (o.health.Status == status.FailedStatus || o.stopped())
	working := !stalled && (o.problem != nil || o.contested || o.health.Status != status.CurrentStatus)
	if o.paused {
		stalled, working = false, false
	}
	on(crds.ConditionStalled, stalled, reason, message)
	on(crds.ConditionReconciling, working, workReason(o), workMessage(o, message))
	on(crds.ConditionPaused, o.paused, crds.ReasonUnmanaged, "spec.managementState is unmanaged: nothing is changed or deleted")
	on(crds.ConditionUnsupportedFields, len(o.unsupported) > 0, crds.ReasonNotImplemented,
		"set, but not acted on by this version: "+strings.Join(o.unsupported, ", "))
	on(crds.ConditionConfigWarning, len(o.warnings) > 0, crds.ReasonConfigWarning, strings.Join(o.warnings, "; "))
	if o.planned {
		out.YieldedReplicas = nil
		for _, n := range o.notes {
			if n.Kind == NoteReplicasYielded {
				out.YieldedReplicas = &n.Number
			}
		}
		on(crds.ConditionNotConverging, o.notConverging != "", crds.ReasonFieldsNotConverging, o.notConverging)
		for _, kind := range []NoteKind{NoteReplicasYielded, NoteClaimsNotExpanded} {
			reason, text := noteMessage(o.notes, kind)
			on(string(kind), text != "", reason, text)
		}
	}
	if o.foreignKnown {
		for _, kind := range crds.DiscoveryConditions() {
			is, reason, message := foreignCondition(o.foreign, kind)
			on(kind, is, reason, message)
		}
	}
	slices.SortFunc(out.Conditions, func(a, b metav1.Condition) int { return strings.Compare(a.Type, b.Type) })
	return out
}

// stopped tells whether a rollout has stopped for too long. What is paused is not our doing.
func (o observation) stopped() bool {
	return o.deadlineExceeded && !o.paused && o.health.Status == status.InProgressStatus && !o.health.Waiting
}

// foreignCondition is the one of a type that others found to be true. A reason is required by the schema.
func foreignCondition(conditions []metav1.Condition, kind string) (is bool, reason, message string) {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil {
		return false, "", ""
	}
	return true, cmp.Or(c.Reason, kind), c.Message
}

// noteMessage joins the notes of one kind; the reason is that of the first.
func noteMessage(notes []Note, kind NoteKind) (reason, message string) {
	var texts []string
	notes = slices.SortedFunc(slices.Values(notes), func(a, b Note) int {
		return cmp.Or(strings.Compare(a.ID.String(), b.ID.String()), strings.Compare(a.Message, b.Message))
	})
	for _, n := range notes {
		if n.Kind == kind {
			reason = cmp.Or(reason, n.Reason)
			texts = append(texts, fmt.Sprintf("%s: %s", n.ID, n.Message))
		}
	}
	return reason, strings.Join(slices.Compact(texts), "; ")
}

// readiness is the Ready condition. While a change could not be sent for a reason that passes, what was said of the same
// generation before still holds, as long as all is there and well.
func readiness(o observation) (metav1.ConditionStatus, string, string) {
	if p := o.problem; p != nil {
		if !p.Transient {
			return metav1.ConditionFalse, p.Reason, p.Message
		}
		was := meta.FindStatusCondition(o.collector.Status.Conditions, crds.ConditionReady)
		if was != nil && was.ObservedGeneration == o.collector.Generation && o.health.Status == status.CurrentStatus {
			return was.Status, was.Reason, was.Message
		}
		if o.health.Status != status.CurrentStatus && o.health.Message != "" {
			return metav1.ConditionFalse, p.Reason, o.health.Message + "; " + p.Message
		}
		return metav1.ConditionUnknown, p.Reason, p.Message
	}
	switch o.health.Status {
	case status.CurrentStatus:
		if o.contested {
			return metav1.ConditionFalse, crds.ReasonFieldsNotConverging, o.notConverging
		}
		return metav1.ConditionTrue, crds.ReasonAvailable, rolledOut(o)
	case status.FailedStatus:
		return metav1.ConditionFalse, cmp.Or(o.health.Reason, crds.ReasonFailed), o.health.Message
	default:
		if o.stopped() {
			return metav1.ConditionFalse, crds.ReasonProgressDeadlineExceeded, cmp.Or(o.health.Detail, o.health.Message)
		}
		return metav1.ConditionFalse, crds.ReasonProgressing, o.health.Message
	}
}

func rolledOut(o observation) string {
	const unmanaged = "; the spec is not applied while it is unmanaged"
	switch {
	case o.paused && o.health.Note != "":
		return o.health.Note + unmanaged
	case o.paused:
		return "what runs is rolled out" + unmanaged
	case o.notConverging != "":
		return "rolled out, but not all stays as it is applied: see " + crds.ConditionNotConverging
	case o.health.Note != "":
		return "everything is applied; " + o.health.Note
	default:
		return "everything is applied and rolled out"
	}
}

func workReason(o observation) string {
	if o.problem != nil {
		return crds.ReasonRetrying
	}
	return crds.ReasonProgressing
}

func workMessage(o observation, message string) string {
	if o.problem != nil {
		return o.problem.Message
	}
	return message
}

// onlyProgress tells whether two statuses differ in nothing but what a rollout, or discovering targets, changes all the time: what is said while the reason
// stays the same, the numbers of pods, and the UIDs of what is made.
func onlyProgress(was, is crds.Status) bool {
	return digest(withoutProgress(was)) == digest(withoutProgress(is))
}

func withoutProgress(s crds.Status) crds.Status {
	s.Conditions, s.Inventory = slices.Clone(s.Conditions), slices.Clone(s.Inventory)
	for i, c := range s.Conditions {
		if c.Type == crds.ConditionReady || c.Type == crds.ConditionReconciling || slices.Contains(crds.DiscoveryConditions(), c.Type) {
			s.Conditions[i].Message = ""
		}
	}
	if s.Scale != nil {
		s.Scale = &crds.ScaleStatus{Selector: s.Scale.Selector}
	}
	for i := range s.Inventory {
		s.Inventory[i].UID = ""
	}
	return s
}

func conditionSetter(conditions *[]metav1.Condition, generation int64, now time.Time) func(string, metav1.ConditionStatus, string, string) {
	return func(kind string, s metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: kind, Status: s, Reason: reason, Message: strings.ToValidUTF8(message[:min(maxMessage, len(message))], ""),
			ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
		})
	}
}

func workloadImage(u *unstructured.Unstructured) string {
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		if m, ok := c.(map[string]any); ok && m["name"] == crds.ContainerName {
			image, _ := m["image"].(string)
			return image
		}
	}
	return ""
}

// workloadScale reads the numbers of pods, which DaemonSets spell in their own way, and the selector as the workload has it.
func workloadScale(u *unstructured.Unstructured) *crds.ScaleStatus {
	number := func(path ...string) int64 {
		n, _, _ := unstructured.NestedInt64(u.Object, path...)
		return n
	}
	total, ready, want := number("status", "replicas"), number("status", "readyReplicas"), number("spec", "replicas")
	if u.GetKind() == "DaemonSet" {
		total = number("status", "currentNumberScheduled")
		ready, want = number("status", "numberReady"), number("status", "desiredNumberScheduled")
	}
	out := &crds.ScaleStatus{Replicas: total, StatusReplicas: fmt.Sprintf("%d/%d", ready, want)}
	var selector metav1.LabelSelector
	if m, ok, _ := unstructured.NestedStringMap(u.Object, "spec", "selector", "matchLabels"); ok {
		selector.MatchLabels = m
	}
	if s, err := metav1.LabelSelectorAsSelector(&selector); err == nil {
		out.Selector = s.String()
	}
	return out
}
