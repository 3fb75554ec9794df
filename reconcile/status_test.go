package reconcile

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/otelier/otelier/crds"
)

func at(minute int) time.Time { return time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC) }

// said is what a status says, condition by condition, as "Ready=True Available g3".
func said(s crds.Status) []string {
	var out []string
	for _, c := range s.Conditions {
		out = append(out, c.Type+"="+string(c.Status)+" "+c.Reason)
	}
	return out
}

func TestStatusSaysWhatAnObservationMeans(t *testing.T) {
	progress := Health{Status: status.InProgressStatus, Message: "statefulset/a: Ready: 1/3"}
	tests := map[string]struct {
		was  []metav1.Condition
		o    observation
		want []string
	}{
		"everything is current": {
			o:    observation{health: Health{Status: status.CurrentStatus}},
			want: []string{"Ready=True Available"},
		},
		"a rollout is under way": {
			o:    observation{health: progress},
			want: []string{"Ready=False Progressing", "Reconciling=True Progressing"},
		},
		"a rollout has failed": {
			o:    observation{health: Health{Status: status.FailedStatus, Message: "deployment/a: progress deadline exceeded"}},
			want: []string{"Ready=False Failed", "Stalled=True Failed"},
		},
		"the API server refuses, while what runs is fine": {
			o:    observation{problem: &Problem{Reason: crds.ReasonInvalidSpec, Message: "x"}, health: Health{Status: status.CurrentStatus}},
			want: []string{"Ready=False InvalidSpec", "Stalled=True InvalidSpec"},
		},
		"a request failed for a reason that passes, and nothing was said of this generation": {
			o:    observation{problem: &Problem{Reason: crds.ReasonRetrying, Message: "x", Transient: true}, health: Health{Status: status.CurrentStatus}},
			want: []string{"Ready=Unknown Retrying", "Reconciling=True Retrying"},
		},
		"a request failed for a reason that passes, after this generation was ready": {
			was:  []metav1.Condition{{Type: crds.ConditionReady, Status: metav1.ConditionTrue, Reason: crds.ReasonAvailable, ObservedGeneration: 2}},
			o:    observation{problem: &Problem{Reason: crds.ReasonRetrying, Message: "x", Transient: true}, health: Health{Status: status.CurrentStatus}},
			want: []string{"Ready=True Available", "Reconciling=True Retrying"},
		},
		"conditions that no longer hold go away": {
			was: []metav1.Condition{
				{Type: crds.ConditionStalled, Status: metav1.ConditionTrue, Reason: crds.ReasonInvalidConfig},
				{Type: crds.ConditionReconciling, Status: metav1.ConditionTrue, Reason: crds.ReasonProgressing},
				{Type: crds.ConditionPaused, Status: metav1.ConditionTrue, Reason: crds.ReasonUnmanaged},
				{Type: "SomebodyElses", Status: metav1.ConditionTrue, Reason: "Kept"},
			},
			o:    observation{health: Health{Status: status.CurrentStatus}},
			want: []string{"Ready=True Available", "SomebodyElses=True Kept"},
		},
		"paused collectors are neither stalled nor reconciling": {
			o:    observation{paused: true, health: progress},
			want: []string{"Paused=True Unmanaged", "Ready=False Progressing"},
		},
		"a rollout has made no progress for its deadline": {
			o:    observation{health: progress, deadlineExceeded: true},
			want: []string{"Ready=False ProgressDeadlineExceeded", "Stalled=True ProgressDeadlineExceeded"},
		},
		"a Deployment has missed its own deadline": {
			o:    observation{health: Health{Status: status.FailedStatus, Reason: crds.ReasonProgressDeadlineExceeded, Message: "x"}},
			want: []string{"Ready=False ProgressDeadlineExceeded", "Stalled=True ProgressDeadlineExceeded"},
		},
		"pods keep crashing, which says more than the deadline": {
			o:    observation{health: Health{Status: status.FailedStatus, Reason: crds.ReasonCrashLoop, Message: "x"}, deadlineExceeded: true},
			want: []string{"Ready=False CrashLoop", "Stalled=True CrashLoop"},
		},
		"a rollout that has stopped is tried again after a request failed": {
			o:    observation{health: progress, deadlineExceeded: true, problem: &Problem{Reason: crds.ReasonRetrying, Message: "x", Transient: true}},
			want: []string{"Ready=False Retrying", "Reconciling=True Retrying"},
		},
		"what waits for a person has no deadline": {
			o:    observation{health: Health{Status: status.InProgressStatus, Message: "x", Waiting: true}, deadlineExceeded: true},
			want: []string{"Ready=False Progressing", "Reconciling=True Progressing"},
		},
		"what is paused has no deadline": {
			o:    observation{paused: true, health: progress, deadlineExceeded: true},
			want: []string{"Paused=True Unmanaged", "Ready=False Progressing"},
		},
		"a deadline that was missed is over when all is well": {
			was:  []metav1.Condition{{Type: crds.ConditionStalled, Status: metav1.ConditionTrue, Reason: crds.ReasonProgressDeadlineExceeded}},
			o:    observation{health: Health{Status: status.CurrentStatus}, deadlineExceeded: true},
			want: []string{"Ready=True Available"},
		},
		"what stays as it is and what does not stay is told, and Ready is not affected": {
			o: observation{
				health: Health{Status: status.CurrentStatus}, planned: true, notConverging: "statefulset/a: .spec.x",
				notes: []Note{{Kind: NoteReplicasYielded, Reason: crds.ReasonScaledByOther, Message: "x"}, {Kind: NoteClaimsNotExpanded, Reason: crds.ReasonClassNotExpandable, Message: "y"}},
			},
			want: []string{
				"ClaimsNotExpanded=True ClassNotExpandable", "NotConverging=True FieldsNotConverging", "Ready=True Available", "ReplicasYielded=True ScaledByOther",
			},
		},
		"what was told goes away when it no longer holds": {
			was: []metav1.Condition{
				{Type: crds.ConditionNotConverging, Status: metav1.ConditionTrue, Reason: crds.ReasonFieldsNotConverging},
				{Type: crds.ConditionReplicasYielded, Status: metav1.ConditionTrue, Reason: crds.ReasonScaledByOther},
				{Type: crds.ConditionClaimsNotExpanded, Status: metav1.ConditionTrue, Reason: crds.ReasonClassNotExpandable},
			},
			o:    observation{health: Health{Status: status.CurrentStatus}, planned: true},
			want: []string{"Ready=True Available"},
		},
		"what was told stays while nothing could be planned": {
			was:  []metav1.Condition{{Type: crds.ConditionReplicasYielded, Status: metav1.ConditionTrue, Reason: crds.ReasonScaledByOther}},
			o:    observation{health: Health{Status: status.CurrentStatus}},
			want: []string{"Ready=True Available", "ReplicasYielded=True ScaledByOther"},
		},
		"fields that are not acted on and warnings are named": {
			o:    observation{health: Health{Status: status.CurrentStatus}, unsupported: []string{"spec.ingress"}, warnings: []string{"spec.config.x: odd"}},
			want: []string{"ConfigWarning=True ConfigWarning", "Ready=True Available", "UnsupportedFields=True NotImplemented"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.o.collector = &crds.Collector{Generation: 2, Status: crds.Status{Conditions: tt.was}}
			got := buildStatus(tt.o, at(1))
			if diff := cmp.Diff(tt.want, said(got)); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
			if got.ObservedGeneration != 2 {
				t.Errorf("observedGeneration is %d, want 2", got.ObservedGeneration)
			}
		})
	}
}

func TestStatusIsEqualWhenNothingNewIsSeen(t *testing.T) {
	o := observation{
		collector: &crds.Collector{Generation: 1},
		health:    Health{Status: status.InProgressStatus, Message: "deployment/a: not created yet"},
		workload:  statefulSet(1),
	}
	o.collector.Status = buildStatus(o, at(1))
	if diff := cmp.Diff(digest(o.collector.Status), digest(buildStatus(o, at(2)))); diff != "" {
		t.Errorf("a second look at the same changed the status (-first +second):\n%s", diff)
	}
	o.health = Health{Status: status.CurrentStatus}
	ready := meta.FindStatusCondition(buildStatus(o, at(3)).Conditions, crds.ConditionReady)
	if !ready.LastTransitionTime.Time.Equal(at(3)) {
		t.Errorf("Ready turned true at %v, want %v", ready.LastTransitionTime, at(3))
	}
}

func TestMessagesOfConditions(t *testing.T) {
	id := func(name string) ID { return ID{"", "PersistentVolumeClaim", "ns", name} }
	tests := map[string]struct {
		o          observation
		kind, want string
	}{
		"all is well":    {observation{health: Health{Status: status.CurrentStatus}}, crds.ConditionReady, "everything is applied and rolled out"},
		"scaled to zero": {observation{health: Health{Status: status.CurrentStatus, Note: "deployment/x: scaled to zero"}}, crds.ConditionReady, "everything is applied; deployment/x: scaled to zero"},
		"unmanaged and well": {
			observation{paused: true, health: Health{Status: status.CurrentStatus}},
			crds.ConditionReady,
			"what runs is rolled out; the spec is not applied while it is unmanaged",
		},
		"unmanaged and scaled to zero": {
			observation{paused: true, health: Health{Status: status.CurrentStatus, Note: "deployment/x: scaled to zero"}},
			crds.ConditionReady,
			"deployment/x: scaled to zero; the spec is not applied while it is unmanaged",
		},
		"a rollout says what is wrong": {
			observation{health: Health{Status: status.InProgressStatus, Message: "m", Detail: "d"}}, crds.ConditionReconciling, "m",
		},
		"a rollout that has stopped says all that is known": {
			observation{deadlineExceeded: true, health: Health{Status: status.InProgressStatus, Message: "m", Detail: "d"}}, crds.ConditionStalled, "d",
		},
		"notes of a kind are one, in order": {
			observation{planned: true, notes: []Note{
				{Kind: NoteClaimsNotExpanded, Reason: crds.ReasonClassNotExpandable, ID: id("b"), Message: "small"}, {Kind: NoteReplicasYielded, Reason: crds.ReasonScaledByOther, ID: id("c"), Message: "x"}, {Kind: NoteClaimsNotExpanded, Reason: crds.ReasonClassNotExpandable, ID: id("a"), Message: "small"}, {Kind: NoteClaimsNotExpanded, Reason: crds.ReasonClassNotExpandable, ID: id("b"), Message: "small"},
			}}, crds.ConditionClaimsNotExpanded, "persistentvolumeclaim/a: small; persistentvolumeclaim/b: small",
		},
		"what does not converge is named": {observation{planned: true, notConverging: "x: .spec.y"}, crds.ConditionNotConverging, "x: .spec.y"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.o.collector = &crds.Collector{}
			c := meta.FindStatusCondition(buildStatus(tt.o, at(0)).Conditions, tt.kind)
			if c == nil || c.Message != tt.want {
				t.Errorf("%s is %+v, want the message %q", tt.kind, c, tt.want)
			}
		})
	}
}

func TestStatusHasTheInventoryAsItIs(t *testing.T) {
	inventory := []crds.InventoryEntry{{Version: "v1", Kind: "Service", Name: "b"}, {Version: "v1", Kind: "ConfigMap", Name: "a", UID: "1"}}
	c := &crds.Collector{Status: crds.Status{Inventory: []crds.InventoryEntry{{Kind: "Old"}}}}
	if diff := cmp.Diff(inventory, buildStatus(observation{collector: c, inventory: inventory}, at(0)).Inventory); diff != "" {
		t.Errorf("inventory (-want +got):\n%s", diff)
	}
}

func TestOnlyWhatTicksInARolloutIsOnlyProgress(t *testing.T) {
	base := func() crds.Status {
		return crds.Status{
			Image: "i", ObservedGeneration: 1, Scale: &crds.ScaleStatus{Selector: "a=b", Replicas: 1, StatusReplicas: "0/3"},
			Conditions: []metav1.Condition{
				{Type: crds.ConditionReady, Status: metav1.ConditionFalse, Reason: crds.ReasonProgressing, Message: "0/3"},
				{Type: crds.ConditionReconciling, Status: metav1.ConditionTrue, Reason: crds.ReasonProgressing, Message: "0/3"},
				{Type: crds.ConditionConfigWarning, Status: metav1.ConditionTrue, Reason: crds.ReasonConfigWarning, Message: "odd"},
			},
			Inventory: []crds.InventoryEntry{{Kind: "Service", Name: "a"}},
		}
	}
	ready := func(s *crds.Status) *metav1.Condition { return &s.Conditions[0] }
	for what, tt := range map[string]struct {
		change func(*crds.Status)
		want   bool
	}{
		"the message of Ready":           {func(s *crds.Status) { ready(s).Message = "1/3" }, true},
		"the message of Reconciling":     {func(s *crds.Status) { s.Conditions[1].Message = "1/3" }, true},
		"numbers of pods":                {func(s *crds.Status) { s.Scale.Replicas, s.Scale.StatusReplicas = 2, "1/3" }, true},
		"a UID":                          {func(s *crds.Status) { s.Inventory[0].UID = "1" }, true},
		"the status of Ready":            {func(s *crds.Status) { ready(s).Status = metav1.ConditionTrue }, false},
		"the reason of Ready":            {func(s *crds.Status) { ready(s).Reason = crds.ReasonFailed }, false},
		"a condition that goes":          {func(s *crds.Status) { s.Conditions = s.Conditions[:2] }, false},
		"the message of another":         {func(s *crds.Status) { s.Conditions[2].Message = "odder" }, false},
		"the selector":                   {func(s *crds.Status) { s.Scale.Selector = "a=c" }, false},
		"the scale, which was not there": {func(s *crds.Status) { s.Scale = nil }, false},
		"another object":                 {func(s *crds.Status) { s.Inventory[0].Name = "b" }, false},
		"one more object":                {func(s *crds.Status) { s.Inventory = append(s.Inventory, crds.InventoryEntry{Kind: "Pod"}) }, false},
		"the generation":                 {func(s *crds.Status) { s.ObservedGeneration = 2 }, false},
		"the image":                      {func(s *crds.Status) { s.Image = "j" }, false},
	} {
		was, is := base(), base()
		tt.change(&is)
		before := digest(is)
		if got := onlyProgress(was, is); got != tt.want {
			t.Errorf("%s is only progress: %v, want %v", what, got, tt.want)
		}
		if digest(is) != before || digest(was) != digest(base()) {
			t.Errorf("%s: comparing changed a status", what)
		}
	}
}

// withStatus is a collector as others see it, with its status.
func withStatus(t *testing.T, generation int64, s crds.Status) *unstructured.Unstructured {
	t.Helper()
	u, err := statusObject(&crds.Collector{Namespace: "ns", Name: "x", Generation: generation}, s)
	if err != nil {
		t.Fatal(err)
	}
	u.SetGeneration(generation)
	return u
}

// argo is what a check says that knows of conditions but not of collectors: what is true of Ready, and whether it is of this spec.
func argo(u *unstructured.Unstructured) string {
	if numberAt(u, "status", "observedGeneration") != u.GetGeneration() {
		return "Progressing"
	}
	switch {
	case conditionOf(u, crds.ConditionStalled)["status"] == "True":
		return "Degraded"
	case conditionOf(u, crds.ConditionReady)["status"] == "True":
		return "Healthy"
	default:
		return "Progressing"
	}
}

func TestACollectorIsWhatKstatusTakesItFor(t *testing.T) {
	current, moving := Health{Status: status.CurrentStatus}, Health{Status: status.InProgressStatus, Message: "m"}
	retry := &Problem{Reason: crds.ReasonRetrying, Message: "x", Transient: true}
	tests := map[string]struct {
		o          observation
		generation int64 // that the collector has by now, if not the one observed
		want       status.Status
		argo       string
	}{
		"rolled out":                   {observation{health: current}, 0, status.CurrentStatus, "Healthy"},
		"rolled out, and worth a word": {observation{health: current, planned: true, notConverging: "x", warnings: []string{"w"}, notes: []Note{{Kind: NoteReplicasYielded}}}, 0, status.CurrentStatus, "Healthy"},
		"rolled out and unmanaged":     {observation{health: current, paused: true}, 0, status.CurrentStatus, "Healthy"},
		"rolled out, but changed":      {observation{health: current}, 3, status.InProgressStatus, "Progressing"},
		"rolling out":                  {observation{health: moving}, 0, status.InProgressStatus, "Progressing"},
		"rolling out unmanaged":        {observation{health: moving, paused: true}, 0, status.InProgressStatus, "Progressing"},
		"waiting for a person":         {observation{health: Health{Status: status.InProgressStatus, Waiting: true}}, 0, status.InProgressStatus, "Progressing"},
		"trying again":                 {observation{health: current, problem: retry}, 0, status.InProgressStatus, "Progressing"},
		"without progress":             {observation{health: moving, deadlineExceeded: true}, 0, status.FailedStatus, "Degraded"},
		"without progress, changed":    {observation{health: moving, deadlineExceeded: true}, 3, status.InProgressStatus, "Progressing"},
		"crashing":                     {observation{health: Health{Status: status.FailedStatus, Reason: crds.ReasonCrashLoop}}, 0, status.FailedStatus, "Degraded"},
		"refused":                      {observation{health: current, problem: &Problem{Reason: crds.ReasonInvalidSpec}}, 0, status.FailedStatus, "Degraded"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.o.collector = &crds.Collector{Generation: 2}
			u := withStatus(t, max(2, tt.generation), buildStatus(tt.o, at(0)))
			got, err := status.Compute(u)
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != tt.want {
				t.Errorf("kstatus says %s: %s, want %s; conditions: %v", got.Status, got.Message, tt.want, said(buildStatus(tt.o, at(0))))
			}
			if got := argo(u); got != tt.argo {
				t.Errorf("by its conditions it is %s, want %s", got, tt.argo)
			}
		})
	}
}

func TestStatusOfLongMessageFitsTheSchema(t *testing.T) {
	long := strings.Repeat("é", maxMessage)
	got := buildStatus(observation{
		collector: &crds.Collector{}, problem: &Problem{Reason: crds.ReasonInvalidSpec, Message: long},
	}, at(0))
	message := got.Conditions[0].Message
	if len(message) > maxMessage || !strings.HasPrefix(long, message) {
		t.Errorf("message has %d bytes, want at most %d of the original", len(message), maxMessage)
	}
}

func statefulSet(ready int64) *unstructured.Unstructured {
	const want = int64(3)
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "StatefulSet",
		"metadata": map[string]any{
			"name": "a", "namespace": "ns", "labels": map[string]any{crds.LabelVersion: "1.2.3"}, "generation": int64(1),
		},
		"spec": map[string]any{
			"replicas": want,
			"selector": map[string]any{"matchLabels": map[string]any{"b": "2", "a": "1"}},
			"template": map[string]any{"spec": map[string]any{"containers": []any{
				map[string]any{"name": "other", "image": "x"},
				map[string]any{"name": crds.ContainerName, "image": "collector:1.2.3"},
			}}},
		},
		"status": map[string]any{
			"replicas": want, "readyReplicas": ready, "availableReplicas": ready, "updatedReplicas": want, "currentReplicas": want,
			"observedGeneration": int64(1), "currentRevision": "r", "updateRevision": "r",
		},
	}}
}

func TestStatusReadsTheWorkload(t *testing.T) {
	got := buildStatus(observation{collector: &crds.Collector{}, workload: statefulSet(1)}, at(0))
	want := crds.ScaleStatus{Selector: "a=1,b=2", Replicas: 3, StatusReplicas: "1/3"}
	if diff := cmp.Diff(want, *got.Scale); diff != "" {
		t.Errorf("scale (-want +got):\n%s", diff)
	}
	if got.Image != "collector:1.2.3" || got.Version != "1.2.3" {
		t.Errorf("image %q and version %q, want collector:1.2.3 and 1.2.3", got.Image, got.Version)
	}
}

func TestEventsOnlyWhenSomethingIsNew(t *testing.T) {
	ready := func(s metav1.ConditionStatus, reason, message string) metav1.Condition {
		return metav1.Condition{Type: crds.ConditionReady, Status: s, Reason: reason, Message: message}
	}
	stalled := func(message string) metav1.Condition {
		return metav1.Condition{Type: crds.ConditionStalled, Status: metav1.ConditionTrue, Reason: crds.ReasonInvalidConfig, Message: message}
	}
	condition := func(kind, reason, message string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message}
	}
	tests := map[string]struct {
		was  *metav1.Condition
		now  metav1.Condition
		want string
	}{
		"becoming ready":                       {nil, ready("True", crds.ReasonAvailable, ""), "Normal"},
		"still ready":                          {new(ready("True", crds.ReasonAvailable, "")), ready("True", crds.ReasonAvailable, ""), ""},
		"a rollout begins":                     {new(ready("True", crds.ReasonAvailable, "")), ready("False", crds.ReasonProgressing, "1/3"), "Normal"},
		"a rollout goes on":                    {new(ready("False", crds.ReasonProgressing, "1/3")), ready("False", crds.ReasonProgressing, "2/3"), ""},
		"not ready for what Stalled tells":     {nil, ready("False", crds.ReasonInvalidConfig, "x"), ""},
		"stalled":                              {nil, stalled("line 3"), "Warning"},
		"stalled as before":                    {new(stalled("line 3")), stalled("line 3"), ""},
		"stalled by something else meanwhile":  {new(stalled("line 3")), stalled("line 4"), "Warning"},
		"crashing":                             {nil, condition(crds.ConditionStalled, crds.ReasonCrashLoop, "1/3"), "Warning"},
		"crashing as before, with fewer pods":  {new(condition(crds.ConditionStalled, crds.ReasonCrashLoop, "1/3")), condition(crds.ConditionStalled, crds.ReasonCrashLoop, "0/3"), ""},
		"not converging":                       {nil, condition(crds.ConditionNotConverging, crds.ReasonFieldsNotConverging, "x"), "Warning"},
		"not converging as before":             {new(condition(crds.ConditionNotConverging, crds.ReasonFieldsNotConverging, "x")), condition(crds.ConditionNotConverging, crds.ReasonFieldsNotConverging, "y"), ""},
		"claims that can't grow":               {nil, condition(crds.ConditionClaimsNotExpanded, crds.ReasonClassNotExpandable, "x"), "Warning"},
		"claims that can't grow as before":     {new(condition(crds.ConditionClaimsNotExpanded, crds.ReasonClassNotExpandable, "x")), condition(crds.ConditionClaimsNotExpanded, crds.ReasonClassNotExpandable, "x"), ""},
		"replicas that are left to another":    {nil, condition(crds.ConditionReplicasYielded, crds.ReasonScaledByOther, "x"), "Normal"},
		"replicas that were left before":       {new(condition(crds.ConditionReplicasYielded, crds.ReasonScaledByOther, "x")), condition(crds.ConditionReplicasYielded, crds.ReasonScaledByOther, "y"), ""},
		"somebody else's condition is no news": {nil, metav1.Condition{Type: "Other", Status: "True"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := eventType(tt.was, tt.now); got != tt.want {
				t.Errorf("event type is %q, want %q", got, tt.want)
			}
		})
	}
}
