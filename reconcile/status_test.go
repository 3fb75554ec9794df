package reconcile

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	testclock "k8s.io/utils/clock/testing"
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

func TestHealthNamesTheWorstObjectsFirst(t *testing.T) {
	failed := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "z"},
		"status": map[string]any{"conditions": []any{map[string]any{
			"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "no progress",
		}}},
	}}
	a, z := ID{"apps", "StatefulSet", "ns", "a"}, ID{"apps", "Deployment", "ns", "z"}
	missing := []ID{{"", "Service", "ns", "b"}, {"", "Service", "ns", "c"}}
	live := map[ID]*liveObject{a: {Unstructured: statefulSet(1)}, z: {Unstructured: failed}}

	got := health(append(missing, a, z), live)
	if got.Status != status.FailedStatus {
		t.Errorf("status is %s, want Failed", got.Status)
	}
	if !strings.HasPrefix(got.Message, "deployment/z: ") || !strings.HasSuffix(got.Message, "; and 1 more") {
		t.Errorf("message is %q, want the failed Deployment first and one left out", got.Message)
	}
	live[a] = &liveObject{Unstructured: statefulSet(3)}
	if got := health([]ID{a}, live); got != (Health{Status: status.CurrentStatus}) {
		t.Errorf("health of a complete StatefulSet is %+v, want Current", got)
	}
}

func TestHealthOfAStatefulSetWaitsForMinReadySeconds(t *testing.T) {
	id, u := ID{"apps", "StatefulSet", "ns", "a"}, statefulSet(3)
	u.Object["spec"].(map[string]any)["minReadySeconds"] = int64(10)
	u.Object["status"].(map[string]any)["availableReplicas"] = int64(1)
	got := health([]ID{id}, map[ID]*liveObject{id: {Unstructured: u}})
	if want := (Health{Status: status.InProgressStatus, Message: "statefulset/a: Available: 1/3"}); got != want {
		t.Errorf("health is %+v, want %+v", got, want)
	}
}

func TestRefusalsHoldForTheSameIntentOnTheSameObjectsAndForAWhile(t *testing.T) {
	now := testclock.NewFakeClock(at(0))
	c := &Controller{clock: now, refused: map[types.NamespacedName]refusal{}}
	key := types.NamespacedName{Namespace: "ns", Name: "a"}
	u := statefulSet(3)
	u.SetUID("1")
	want, live := []*unstructured.Unstructured{statefulSet(3)}, map[ID]*liveObject{idOf(u): {Unstructured: u}}
	refused := &Problem{Reason: crds.ReasonInvalidSpec}

	c.noteRefusal(key, want, live, refused)
	if c.refusedBefore(key, want, live) != refused {
		t.Error("the same is asked again at once")
	}
	if c.refusedBefore(key, []*unstructured.Unstructured{statefulSet(2)}, live) != nil {
		t.Error("another intent is not asked")
	}
	if c.refusedBefore(key, want, nil) != nil {
		t.Error("what was refused because of an object is not asked when that is gone")
	}
	now.Step(refusedRetry)
	if c.refusedBefore(key, want, live) != nil {
		t.Error("it is never asked again")
	}
	c.noteRefusal(key, want, live, &Problem{Transient: true})
	if len(c.refused) != 0 {
		t.Error("what passes by itself is remembered")
	}
}

func TestEventsOnlyWhenSomethingIsNew(t *testing.T) {
	ready := func(s metav1.ConditionStatus, reason, message string) metav1.Condition {
		return metav1.Condition{Type: crds.ConditionReady, Status: s, Reason: reason, Message: message}
	}
	stalled := func(message string) metav1.Condition {
		return metav1.Condition{Type: crds.ConditionStalled, Status: metav1.ConditionTrue, Reason: crds.ReasonInvalidConfig, Message: message}
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

func TestPruneKeepsTheNewestUnusedConfigMaps(t *testing.T) {
	live := map[ID]*liveObject{}
	add := func(kind, apiVersion, name string, minute int) {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
		u.SetName(name)
		u.SetNamespace("ns")
		u.SetCreationTimestamp(metav1.NewTime(at(minute)))
		live[idOf(u)] = &liveObject{Unstructured: u}
	}
	for i, name := range []string{"c0", "c1", "c2", "c3"} {
		add("ConfigMap", "v1", name, i)
	}
	add("Service", "v1", "s", 0)
	add("PodDisruptionBudget", "policy/v1", "p", 0)
	add("StatefulSet", "apps/v1", "wanted", 0)
	wanted := map[ID]bool{{"", "ConfigMap", "ns", "c0"}: true, {"apps", "StatefulSet", "ns", "wanted"}: true}

	stale, err := staleObjects(live, wanted, 2)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range stale {
		got = append(got, idOf(u.Unstructured).String())
	}
	// In the reverse of the order in which they are applied; c0 is in use, c3 and c2 are the newest others.
	if want := []string{"poddisruptionbudget/p", "service/s", "configmap/c1"}; !slices.Equal(got, want) {
		t.Errorf("stale are %v, want %v", got, want)
	}
}
