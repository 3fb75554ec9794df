package reconcile

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"

	"github.com/otelier/otelier/crds"
)

// fromYAML is the object in text, with the types of numbers that come from the API server.
func fromYAML(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return u
}

// workload is one called x of a kind, of generation 2, that its controller has looked at.
func workload(t testing.TB, kind, spec, status string) *unstructured.Unstructured {
	t.Helper()
	return fromYAML(t, `{apiVersion: apps/v1, kind: `+kind+`, metadata: {name: x, namespace: ns, uid: u, generation: 2},
spec: {`+spec+`}, status: {observedGeneration: 2, `+status+`}}`)
}

func evidenceOf(objects ...*unstructured.Unstructured) evidence {
	e := evidence{live: Objects{}}
	for _, u := range objects {
		e.ids = append(e.ids, idOf(u))
		e.live[idOf(u)] = u
	}
	return e
}

// said is what is compared of a Health.
func (h Health) said() Health {
	h.Detail, h.numbers = "", ""
	return h
}

const (
	rolledDeployment = `replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 3,
conditions: [{type: Available, status: "True"}, {type: Progressing, status: "True", reason: NewReplicaSetAvailable, message: 'ReplicaSet "x-new" has'}]`
	emptyDeployment = `conditions: [{type: Available, status: "True"}, {type: Progressing, status: "True", reason: NewReplicaSetAvailable}]`
	rolledSet       = `replicas: 3, readyReplicas: 3, availableReplicas: 3, currentReplicas: 3, updatedReplicas: 3, currentRevision: x-1, updateRevision: x-1`
	daemons         = `desiredNumberScheduled: 3, currentNumberScheduled: 3, `
)

func TestHealthKnowsWhatKstatusDoesNot(t *testing.T) {
	current := func(note string) Health { return Health{Status: status.CurrentStatus, Note: note} }
	progress := func(message string) Health { return Health{Status: status.InProgressStatus, Message: message} }
	waiting := func(message string) Health {
		return Health{Status: status.InProgressStatus, Message: message, Waiting: true}
	}
	const onDelete = `updateStrategy: {type: OnDelete}`
	tests := map[string]struct {
		kind, spec, status string
		want               Health
	}{
		"a Deployment that is rolled out is current": {"Deployment", `replicas: 3, progressDeadlineSeconds: 600`, rolledDeployment, current("")},
		"a Deployment whose old pods keep serving says how many are ready": {
			"Deployment", `replicas: 3`, `replicas: 4, updatedReplicas: 1, readyReplicas: 3, availableReplicas: 3`,
			progress("deployment/x: Updated: 1/3 (3/3 ready)"),
		},
		"more ready pods than there are to be are not told of": {
			"Deployment", `replicas: 3`, `replicas: 5, updatedReplicas: 1, readyReplicas: 4`,
			progress("deployment/x: Updated: 1/3 (3/3 ready)"),
		},
		"a Deployment that missed its own deadline has failed": {
			"Deployment", `replicas: 3`, `replicas: 3, readyReplicas: 2, conditions: [{type: Progressing, status: "False", reason: ProgressDeadlineExceeded}]`,
			Health{
				Status: status.FailedStatus, Reason: crds.ReasonProgressDeadlineExceeded,
				Message: "deployment/x: Progress deadline exceeded (2/3 ready)",
			},
		},
		"a Deployment that was paused waits for a person": {
			"Deployment", `replicas: 3, paused: true`, `replicas: 3, updatedReplicas: 1, readyReplicas: 3`,
			waiting("deployment/x: Updated: 1/3, its rollout is paused"),
		},
		"a Deployment of no replicas is scaled to zero":         {"Deployment", `replicas: 0, progressDeadlineSeconds: 600`, emptyDeployment, current("deployment/x: scaled to zero")},
		"a Deployment that is scaled to zero has all the time":  {"Deployment", `replicas: 0`, `replicas: 2`, waiting("deployment/x: Pending termination: 2")},
		"a Deployment that can't make pods says why":            {"Deployment", `replicas: 3`, `conditions: [{type: ReplicaFailure, status: "True", message: 'pods "x-new-abcde" is forbidden: exceeded quota: q'}]`, progress("deployment/x: Replicas: 0/3 (0/3 ready); deployment/x: pods can't be created: forbidden: exceeded quota: q")},
		"a StatefulSet that is rolled out is current":           {"StatefulSet", `replicas: 3`, rolledSet, current("")},
		"a StatefulSet of no replicas is scaled to zero":        {"StatefulSet", `replicas: 0`, ``, current("statefulset/x: scaled to zero")},
		"a StatefulSet with the default of replicas wants one":  {"StatefulSet", onDelete, `replicas: 0`, progress("statefulset/x: Replicas: 0/1 (0/1 ready)")},
		"a StatefulSet that is replaced by hand waits for pods": {"StatefulSet", `replicas: 3, ` + onDelete, `replicas: 3, readyReplicas: 2, availableReplicas: 2, updatedReplicas: 1`, progress("statefulset/x: Ready: 2/3")},
		"a StatefulSet that is replaced by hand, and too big":   {"StatefulSet", `replicas: 3, ` + onDelete, `replicas: 4, readyReplicas: 4, availableReplicas: 4, updatedReplicas: 4`, progress("statefulset/x: Pending termination: 1 (3/3 ready)")},
		"a StatefulSet that is replaced by hand waits for a hand": {
			"StatefulSet", `replicas: 3, ` + onDelete, `replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 1`,
			waiting("statefulset/x: Updated: 1/3, the others when their pods are deleted"),
		},
		"a StatefulSet that is replaced by hand, and was, is current": {
			"StatefulSet", `replicas: 3, ` + onDelete, `replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 3, currentRevision: x-1, updateRevision: x-2`, current(""),
		},
		"a partition keeps pods as they are, which is said": {
			"StatefulSet", `replicas: 3, updateStrategy: {rollingUpdate: {partition: 2}}`,
			`replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 1, currentReplicas: 2, currentRevision: x-1, updateRevision: x-2`,
			current("statefulset/x: rolled out to the partition: 1 of 3 updated, pods x-0 to x-1 stay at the former revision"),
		},
		"a partition counts from the first ordinal": {
			"StatefulSet", `replicas: 3, ordinals: {start: 5}, updateStrategy: {rollingUpdate: {partition: 1}}`,
			`replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 2, currentRevision: x-1, updateRevision: x-2`,
			current("statefulset/x: rolled out to the partition: 2 of 3 updated, pod x-5 stays at the former revision"),
		},
		"a partition is not rolled out to before its pods are": {
			"StatefulSet", `replicas: 3, updateStrategy: {rollingUpdate: {partition: 1}}`,
			`replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 1, currentRevision: x-1, updateRevision: x-2`,
			progress("statefulset/x: updated: 1/2 (3/3 ready)"),
		},
		"a partition without another revision is nothing to tell": {"StatefulSet", `replicas: 3, updateStrategy: {rollingUpdate: {partition: 2}}`, rolledSet, current("")},
		"a DaemonSet that is rolled out is current":               {"DaemonSet", ``, daemons + `updatedNumberScheduled: 3, numberAvailable: 3, numberReady: 3`, current("")},
		"a DaemonSet that no node is to run says so":              {"DaemonSet", ``, `desiredNumberScheduled: 0`, current("daemonset/x: no node is to run it")},
		"a DaemonSet waits for minReadySeconds":                   {"DaemonSet", `minReadySeconds: 9`, daemons + `updatedNumberScheduled: 3, numberReady: 3, numberAvailable: 1`, progress("daemonset/x: Available: 1/3")},
		"a DaemonSet that is rolled out moves":                    {"DaemonSet", ``, daemons + `updatedNumberScheduled: 1, numberReady: 2, numberAvailable: 2`, progress("daemonset/x: Updated: 1/3 (2/3 ready)")},
		"a DaemonSet that is replaced by hand waits for a hand": {
			"DaemonSet", onDelete, daemons + `updatedNumberScheduled: 1, numberReady: 3, numberAvailable: 3`,
			waiting("daemonset/x: Updated: 1/3, the others when their pods are deleted"),
		},
		"a DaemonSet that is replaced by hand waits for pods that are missing": {
			"DaemonSet", onDelete, `desiredNumberScheduled: 3, currentNumberScheduled: 2, updatedNumberScheduled: 1, numberReady: 2, numberAvailable: 2`,
			progress("daemonset/x: Current: 2/3 (2/3 ready)"),
		},
		"a DaemonSet that is replaced by hand waits for minReadySeconds": {
			"DaemonSet", onDelete, daemons + `updatedNumberScheduled: 1, numberReady: 3, numberAvailable: 2`, progress("daemonset/x: Available: 2/3"),
		},
		"a DaemonSet that is replaced by hand waits for pods that were": {
			"DaemonSet", onDelete, daemons + `updatedNumberScheduled: 1, numberReady: 2, numberAvailable: 2`, progress("daemonset/x: Ready: 2/3"),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := health(evidenceOf(workload(t, tt.kind, tt.spec, tt.status))).said(); got != tt.want {
				t.Errorf("health is\n%+v\nwant\n%+v", got, tt.want)
			}
		})
	}
}

func TestHealthOfWhatItsControllerHasNotLookedAtIsInProgress(t *testing.T) {
	for kind, of := range map[string]string{
		"Deployment": rolledDeployment, "StatefulSet": rolledSet, "DaemonSet": daemons + `updatedNumberScheduled: 1, numberReady: 3, numberAvailable: 3`,
	} {
		for _, strategy := range []string{"OnDelete", "RollingUpdate"} {
			u := workload(t, kind, `replicas: 3, updateStrategy: {type: `+strategy+`}`, of)
			u.SetGeneration(3)
			if got := health(evidenceOf(u)); got.Status != status.InProgressStatus || got.Waiting {
				t.Errorf("%s, %s: %+v, want in progress, and not waiting for a person", kind, strategy, got)
			}
		}
	}
}

func TestHealthOfAStatefulSetWithoutStatusIsInProgress(t *testing.T) {
	u := workload(t, "StatefulSet", `replicas: 0, updateStrategy: {type: OnDelete}`, ``)
	delete(u.Object, "status")
	if got := health(evidenceOf(u)); got.Status != status.InProgressStatus {
		t.Errorf("health is %+v, want in progress", got)
	}
}

func TestHealthOfAnObjectThatGoesIsInProgress(t *testing.T) {
	u := workload(t, "StatefulSet", `replicas: 3`, rolledSet)
	if err := unstructured.SetNestedField(u.Object, "2026-01-01T00:00:00Z", "metadata", "deletionTimestamp"); err != nil {
		t.Fatal(err)
	}
	want := Health{Status: status.InProgressStatus, Message: "statefulset/x: being replaced"}
	if got := health(evidenceOf(u)).said(); got != want {
		t.Errorf("health is %+v, want %+v", got, want)
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
	live := Objects{a: statefulSet(1), z: failed}

	got := health(evidence{ids: append(missing, a, z), live: live})
	if got.Status != status.FailedStatus {
		t.Errorf("status is %s, want Failed", got.Status)
	}
	if !strings.HasPrefix(got.Message, "deployment/z: ") || !strings.HasSuffix(got.Message, "; and 1 more") {
		t.Errorf("message is %q, want the failed Deployment first and one left out", got.Message)
	}
	live[a] = statefulSet(3)
	if got := health(evidence{ids: []ID{a}, live: live}); got != (Health{Status: status.CurrentStatus}) {
		t.Errorf("health of a complete StatefulSet is %+v, want Current", got)
	}
}

func TestHealthOfAStatefulSetWaitsForMinReadySeconds(t *testing.T) {
	u := statefulSet(3)
	u.Object["spec"].(map[string]any)["minReadySeconds"] = int64(10)
	u.Object["status"].(map[string]any)["availableReplicas"] = int64(1)
	got := health(evidenceOf(u)).said()
	if want := (Health{Status: status.InProgressStatus, Message: "statefulset/a: Available: 1/3"}); got != want {
		t.Errorf("health is %+v, want %+v", got, want)
	}
}

// TestHealthOfAStatefulSetWaitsForTheCacheToShowItsPods goes through what a lagging cache shows of pods that another StatefulSet of
// the name has left, and this one has adopted. Ready must not come and go meanwhile.
func TestHealthOfAStatefulSetWaitsForTheCacheToShowItsPods(t *testing.T) {
	u := workload(t, "StatefulSet", `replicas: 3`, rolledSet)
	e := evidenceOf(u)
	e.pods = pods(t, `phase: Running`, `phase: Running`, `phase: Running`)
	for _, pod := range e.pods {
		pod.SetOwnerReferences(nil)
	}
	controller := true
	for adopted := range 4 {
		if adopted > 0 {
			e.pods[adopted-1].SetOwnerReferences([]metav1.OwnerReference{{Kind: "StatefulSet", Name: "x", UID: "u", Controller: &controller}})
		}
		want := Health{Status: status.InProgressStatus, Message: fmt.Sprintf("statefulset/x: Ready: %d/3", adopted)}
		if adopted == 3 {
			want = Health{Status: status.CurrentStatus}
		}
		if got := health(e).said(); got != want {
			t.Errorf("%d of 3 adopted: health is %+v, want %+v", adopted, got, want)
		}
	}
	for _, name := range []string{"x-new-12345", "y-0", "x"} {
		e.pods = []*unstructured.Unstructured{podOf(t, name, `phase: Running`)}
		e.pods[0].SetOwnerReferences(nil)
		if got := health(e).said(); got.Status != status.CurrentStatus {
			t.Errorf("beside pod %s: health is %+v, want it to be none of the StatefulSet's", name, got)
		}
	}
}

func TestHealthIsOfTheWorstNotOfWhatWaits(t *testing.T) {
	hand := workload(t, "StatefulSet", `replicas: 3, updateStrategy: {type: OnDelete}`, `replicas: 3, readyReplicas: 3, availableReplicas: 3, updatedReplicas: 1`)
	moving := workload(t, "StatefulSet", `replicas: 3`, `replicas: 1`)
	moving.SetName("y")
	got := health(evidenceOf(hand, moving))
	if got.Waiting || !strings.HasPrefix(got.Message, "statefulset/y: ") {
		t.Errorf("health is %+v, want what moves first, and a deadline for it", got)
	}
}

func TestProgressIsWhatNumbersSay(t *testing.T) {
	of := func(status string, change func(*unstructured.Unstructured)) string {
		u := workload(t, "StatefulSet", `replicas: 3`, status)
		change(u)
		return health(evidenceOf(u)).numbers
	}
	same := func(*unstructured.Unstructured) {}
	base := of(`readyReplicas: 1`, same)
	if base == "" || base != of(`readyReplicas: 1, conditions: [{type: X, status: "True", message: ticks}]`, same) {
		t.Error("a condition counts as progress")
	}
	for what, got := range map[string]string{
		"a pod that is ready": of(`readyReplicas: 2`, same),
		"a new revision":      of(`readyReplicas: 1, updateRevision: x-2`, same),
		"a new generation":    of(`readyReplicas: 1`, func(u *unstructured.Unstructured) { u.SetGeneration(3) }),
		"an object made anew": of(`readyReplicas: 1`, func(u *unstructured.Unstructured) { u.SetUID("v") }),
		"not being there":     health(evidence{ids: []ID{{"apps", "StatefulSet", "ns", "x"}}}).numbers,
	} {
		if got == base {
			t.Errorf("%s is no progress", what)
		}
	}
}

// TestANewCollectorIsNotCurrent is about the time before the operator has seen it: the CRD has a default for that.
func TestANewCollectorIsNotCurrent(t *testing.T) {
	admission, err := crds.NewAdmission()
	if err != nil {
		t.Fatal(err)
	}
	u, err := admission.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "opentelemetry.io/v1beta1", "kind": "OpenTelemetryCollector",
		"metadata": map[string]any{"name": "new", "namespace": "ns"}, "spec": map[string]any{"config": map[string]any{"receivers": map[string]any{}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	u.SetGeneration(1)
	if got, err := status.Compute(u); err != nil || got.Status != status.InProgressStatus {
		t.Errorf("kstatus has %v (%v), want InProgress", got, err)
	}
}
