package reconcile

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/otelier/otelier/crds"
)

// podOf is a slim pod of workload u, of revision x-2, with a status.
func podOf(t testing.TB, name, text string, more ...string) *unstructured.Unstructured {
	t.Helper()
	return slimPod(fromYAML(t, `{apiVersion: v1, kind: Pod, metadata: {name: `+name+`, namespace: ns, uid: p, resourceVersion: "1",
labels: {controller-revision-hash: x-2}, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: x, uid: u, controller: true}]},
status: {`+text+`}, `+strings.Join(more, ", ")+`}`))
}

const (
	loop4    = `restartCount: 4, state: {waiting: {reason: CrashLoopBackOff, message: back-off 1m20s restarting failed container}}, lastState: {terminated: {reason: Error, exitCode: 1}}`
	resting4 = `restartCount: 4, state: {running: {startedAt: "2026-01-01T00:00:00Z"}}, lastState: {terminated: {reason: Error, exitCode: 1}}`
	claimed  = `spec: {volumes: [{name: v, persistentVolumeClaim: {claimName: data-x-0}}]}`
)

func container(text string) string {
	return `phase: Running, containerStatuses: [{name: otc-container, ready: false, ` + text + `}]`
}

func waitingFor(reason, message string) string {
	return `phase: Pending, containerStatuses: [{name: otc-container, state: {waiting: {reason: ` + reason + `, message: '` + message + `'}}}]`
}

func unschedulable(message string) string {
	return `phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: '` + message + `'}]`
}

func rolling(t testing.TB) *unstructured.Unstructured {
	return workload(t, "StatefulSet", `replicas: 3`, `replicas: 3, readyReplicas: 2, currentRevision: x-1, updateRevision: x-2`)
}

func TestPodsSayWhyARolloutDoesNotMove(t *testing.T) {
	tests := map[string]struct {
		pods   []*unstructured.Unstructured
		fault  string // what Message adds
		detail string // what Detail adds, if that is something else
		reason string // of Failed
	}{
		"ready pods say nothing":               {pods: pods(t, `phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: a, ready: true, state: {running: {}}}]`)},
		"a crash loop has failed":              {pods: pods(t, container(loop4)), fault: "pod/x-0: otc-container: CrashLoopBackOff (exit code 1)", reason: crds.ReasonCrashLoop},
		"a crash loop that begins may end yet": {pods: pods(t, container(strings.ReplaceAll(loop4, "4", "2"))), fault: "pod/x-0: otc-container: CrashLoopBackOff (exit code 1)"},
		"a crash loop for lack of memory": {
			pods:  pods(t, container(strings.ReplaceAll(strings.ReplaceAll(loop4, "exitCode: 1", "exitCode: 137"), "reason: Error", "reason: OOMKilled"))),
			fault: "pod/x-0: otc-container: CrashLoopBackOff (OOMKilled, exit code 137)", reason: crds.ReasonCrashLoop,
		},
		"a crash loop with a last word": {
			pods:  pods(t, container(strings.ReplaceAll(loop4, "exitCode: 1}", `exitCode: 1, message: "2026-01-01T00:00:00.123Z info\n2026/01/01 00:00:01 bye"}`))),
			fault: "pod/x-0: otc-container: CrashLoopBackOff (exit code 1): bye", reason: crds.ReasonCrashLoop,
		},
		"a crash loop of an init container": {
			pods:  pods(t, `phase: Pending, initContainerStatuses: [{name: init, `+loop4+`}], containerStatuses: [{name: a, state: {waiting: {reason: PodInitializing}}}]`),
			fault: "pod/x-0: init: CrashLoopBackOff (exit code 1)", reason: crds.ReasonCrashLoop,
		},
		"a container that runs between crashes is only not ready": {pods: pods(t, container(resting4)), detail: "pod/x-0: otc-container: not ready, after it ended (exit code 1)"},
		"a container that has just ended":                         {pods: pods(t, container(`state: {terminated: {reason: OOMKilled, exitCode: 137}}`)), detail: "pod/x-0: otc-container: ended (OOMKilled, exit code 137)"},
		"a container that is not ready":                           {pods: pods(t, container(`state: {running: {}}`)), detail: "pod/x-0: otc-container: not ready"},
		"an image name that is none has failed": {
			pods:  pods(t, waitingFor("InvalidImageName", `couldn''t parse image name "A:"`)),
			fault: `pod/x-0: otc-container: InvalidImageName: couldn't parse image name "A:"`, reason: crds.ReasonFailed,
		},
		"an image that can't be pulled may come yet":   {pods: pods(t, waitingFor("ErrImagePull", `rpc error: not found`)), fault: `pod/x-0: otc-container: ImagePullBackOff: rpc error: not found`},
		"a pull that waits says what the pull said":    {pods: pods(t, waitingFor("ImagePullBackOff", `Back-off pulling image "a:1": ErrImagePull: rpc error: not found`)), fault: `pod/x-0: otc-container: ImagePullBackOff: rpc error: not found`},
		"a container that lacks its configuration":     {pods: pods(t, waitingFor("CreateContainerConfigError", `secret "s" not found`)), fault: `pod/x-0: otc-container: CreateContainerConfigError: secret "s" not found`},
		"a container that can't be created":            {pods: pods(t, waitingFor("CreateContainerError", `name is reserved for `+strings.Repeat("0a", 32))), fault: `pod/x-0: otc-container: CreateContainerError: name is reserved for …`},
		"a container that can't be run":                {pods: pods(t, waitingFor("RunContainerError", `exec: "no"`)), fault: `pod/x-0: otc-container: RunContainerError: exec: "no"`},
		"a container that starts":                      {pods: pods(t, waitingFor("ContainerCreating", ``)), detail: "pod/x-0: otc-container: ContainerCreating"},
		"a pod that waits for its readiness gates":     {pods: pods(t, `phase: Running, conditions: [{type: Ready, status: "False", reason: ReadinessGatesNotReady, message: g}], containerStatuses: [{name: a, ready: true}]`), detail: "pod/x-0: not ready: ReadinessGatesNotReady: g"},
		"a pod that the scheduler has not looked at":   {pods: pods(t, `phase: Pending`), detail: "pod/x-0: pending"},
		"a pod that is held by gates":                  {pods: pods(t, strings.ReplaceAll(unschedulable("m"), "Unschedulable", "SchedulingGated")), fault: "pod/x-0: held by its scheduling gates: m"},
		"the worst container speaks":                   {pods: pods(t, `phase: Running, containerStatuses: [{name: a}, {name: b, `+loop4+`}]`), fault: "pod/x-0: b: CrashLoopBackOff (exit code 1)", reason: crds.ReasonCrashLoop},
		"a pod that was evicted, when nothing else is": {pods: pods(t, `phase: Failed, reason: Evicted, message: memory`), detail: "pod/x-0: failed: Evicted: memory"},
		"no node fits, however many there are": {
			pods:  pods(t, unschedulable(`0/13 nodes are available: 2 Insufficient cpu, 11 node(s) had untolerated taint {a: b}. preemption: 0/13 nodes are available: 13 Preemption is not helpful.`)),
			fault: "pod/x-0: unschedulable: no node fits: Insufficient cpu, node(s) had untolerated taint {a: b}",
		},
		"equal complaints are one, and the worst is first": {
			pods:   pods(t, container(`state: {running: {}}`), waitingFor("ErrImagePull", "m"), container(loop4), waitingFor("ImagePullBackOff", "m")),
			fault:  "pod/x-2: otc-container: CrashLoopBackOff (exit code 1); pod/x-1 and 1 more: otc-container: ImagePullBackOff: m",
			detail: "pod/x-2: otc-container: CrashLoopBackOff (exit code 1); pod/x-1 and 1 more: otc-container: ImagePullBackOff: m; pod/x-0: otc-container: not ready",
			reason: crds.ReasonCrashLoop,
		},
		"a pod that was evicted, when another is not well": {
			pods:   pods(t, `phase: Failed, reason: Evicted`, container(`state: {running: {}}`)),
			detail: "pod/x-1: otc-container: not ready",
		},
		"at most three are named": {
			pods:  pods(t, waitingFor("A", ""), waitingFor("B", ""), waitingFor("C", ""), waitingFor("D", ""), waitingFor("E", "")),
			fault: "pod/x-0: otc-container: A; pod/x-1: otc-container: B; pod/x-2: otc-container: C; and 2 more",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := evidenceOf(rolling(t))
			e.pods = tt.pods
			got := health(e)
			add := func(text string) string { return strings.TrimSuffix("statefulset/x: Ready: 2/3; "+text, "; ") }
			want := Health{Status: status.InProgressStatus, Message: add(tt.fault), Detail: add(tt.fault), numbers: got.numbers}
			if tt.detail != "" {
				want.Detail = add(tt.detail)
			}
			if tt.reason != "" {
				want.Status, want.Reason, want.Message = status.FailedStatus, tt.reason, want.Detail
			}
			if got != want {
				t.Errorf("health is\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

// pods are slim pods x-0, x-1, … with these statuses.
func pods(t testing.TB, statuses ...string) []*unstructured.Unstructured {
	t.Helper()
	var out []*unstructured.Unstructured
	for i, s := range statuses {
		out = append(out, podOf(t, fmt.Sprintf("x-%d", i), s))
	}
	return out
}

func TestClaimsThatHoldPodsUpAreNamed(t *testing.T) {
	const unbound = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
	tests := map[string]struct{ pod, phase, fault, detail string }{
		"a pod that waits for its claim": {
			unschedulable(unbound), "Pending",
			"pod/x-0: unschedulable: no node fits: pod has unbound immediate PersistentVolumeClaims; persistentvolumeclaim/data-x-0: Pending", "",
		},
		"a claim that has lost its volume": {
			unschedulable(unbound), "Lost",
			"pod/x-0: unschedulable: no node fits: pod has unbound immediate PersistentVolumeClaims; persistentvolumeclaim/data-x-0: Lost", "",
		},
		"a claim that is bound":             {unschedulable(unbound), "Bound", "pod/x-0: unschedulable: no node fits: pod has unbound immediate PersistentVolumeClaims", ""},
		"a claim that waits for the pod":    {unschedulable("0/1 nodes are available: 1 Insufficient cpu."), "Pending", "pod/x-0: unschedulable: no node fits: Insufficient cpu", ""},
		"a claim before anybody has looked": {`phase: Pending`, "Pending", "", "persistentvolumeclaim/data-x-0: Pending; pod/x-0: pending"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := evidenceOf(rolling(t))
			e.pods = []*unstructured.Unstructured{podOf(t, "x-0", tt.pod, claimed)}
			for _, claim := range []string{"data-x-0", "data-x-9"} {
				e.claims = append(e.claims, fromYAML(t, `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: `+claim+`}, status: {phase: `+tt.phase+`}}`))
			}
			got := health(e)
			add := func(text string) string { return strings.TrimSuffix("statefulset/x: Ready: 2/3; "+text, "; ") }
			if got.Message != add(tt.fault) || tt.detail != "" && got.Detail != add(tt.detail) {
				t.Errorf("health is\n%+v\nwant\n%s\n%s", got, add(tt.fault), add(tt.detail))
			}
		})
	}
}

func TestOnlyPodsOfTheWorkloadCount(t *testing.T) {
	ofDeployment := func(owner string) string {
		return `{apiVersion: v1, kind: Pod, metadata: {name: x-0, ownerReferences: [{kind: ReplicaSet, name: ` + owner + `, uid: r, controller: true}]}, status: {` + container(loop4) + `}}`
	}
	deployment := workload(t, "Deployment", `replicas: 3`, `replicas: 3, conditions: [{type: Progressing, status: "True", message: 'ReplicaSet "x-new" is progressing.'}]`)
	daemon := workload(t, "DaemonSet", ``, `desiredNumberScheduled: 3`)
	daemon.SetAnnotations(map[string]string{"deprecated.daemonset.template.generation": "7"})
	ofDaemon := func(generation string) *unstructured.Unstructured {
		p := podOf(t, "x-0", container(loop4))
		p.SetLabels(map[string]string{"pod-template-generation": generation})
		return p
	}
	stranger := podOf(t, "x-0", container(loop4))
	stranger.Object["metadata"].(map[string]any)["ownerReferences"].([]any)[0].(map[string]any)["uid"] = "v"
	nobodys := podOf(t, "x-0", container(loop4))
	nobodys.SetOwnerReferences(nil)
	old := podOf(t, "x-0", container(loop4))
	old.SetLabels(map[string]string{"controller-revision-hash": "x-1"})
	parallel := rolling(t)
	parallel.Object["spec"].(map[string]any)["podManagementPolicy"] = "Parallel"
	unseen := rolling(t)
	unseen.SetGeneration(3)
	scaledDown := workload(t, "StatefulSet", `replicas: 0`, `replicas: 1, updateRevision: x-2`)
	const crash = "pod/x-0: otc-container: CrashLoopBackOff (exit code 1)"
	tests := map[string]struct {
		of, pod *unstructured.Unstructured
		failed  bool
		says    string
		not     string
	}{
		"a pod of a StatefulSet's newest revision":         {rolling(t), podOf(t, "x-0", container(loop4)), true, crash, "former"},
		"a pod of a former one that is in the way":         {rolling(t), old, false, crash + ", of a former revision: the rollout goes on when the pod is deleted", ""},
		"a pod of a former one that is not in the way":     {parallel, old, false, crash + ", of a former revision", "deleted"},
		"a pod of a spec that was not looked at yet":       {unseen, podOf(t, "x-0", container(loop4)), false, crash, "former"},
		"a pod that goes because there are to be none":     {scaledDown, podOf(t, "x-0", container(loop4)), false, crash, ""},
		"a pod of somebody else":                           {rolling(t), stranger, false, "", "pod/"},
		"a pod of a DaemonSet's newest template":           {daemon, ofDaemon("7"), true, crash, "former"},
		"a pod of a DaemonSet's former template":           {daemon, ofDaemon("6"), false, crash + ", of a former revision", "deleted"},
		"a pod of a Deployment's newest ReplicaSet":        {deployment, slimPod(fromYAML(t, ofDeployment("x-new"))), true, crash, "former"},
		"a pod of a Deployment's former ReplicaSet":        {deployment, slimPod(fromYAML(t, ofDeployment("x-old"))), false, crash + ", of a former revision", ""},
		"a pod of nobody":                                  {rolling(t), nobodys, false, "", "pod/"},
		"a pod of no ReplicaSet is none of a Deployment's": {deployment, podOf(t, "x-0", container(loop4)), false, "", "pod/"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := evidenceOf(tt.of)
			e.pods = []*unstructured.Unstructured{tt.pod}
			got := health(e)
			if (got.Status == status.FailedStatus) != tt.failed || !strings.HasSuffix(got.Message, tt.says) ||
				tt.not != "" && strings.Contains(got.Message, tt.not) {
				t.Errorf("health is %+v, want failed: %v, and %q", got, tt.failed, tt.says)
			}
		})
	}
}

func TestACrashLoopLastsUntilTheContainerIsReady(t *testing.T) {
	e := evidenceOf(rolling(t))
	e.pods = pods(t, container(loop4))
	inLoop := health(e)
	e.crashing = true
	for what, text := range map[string]string{
		"runs": container(resting4), "has just ended": container(strings.ReplaceAll(resting4, "running: {startedAt", "terminated: {startedAt")),
	} {
		e.pods = pods(t, text)
		if got := health(e); got != inLoop {
			t.Errorf("while the container %s, health is\n%+v\nwant\n%+v", what, got, inLoop)
		}
	}
	e.pods = pods(t, container(strings.ReplaceAll(resting4, "4", "2")))
	if got := health(e); got.Status != status.InProgressStatus || strings.Contains(got.Detail, "CrashLoop") {
		t.Errorf("a container that is not in a loop is taken to be: %+v", got)
	}
	e.pods = pods(t, container(strings.ReplaceAll(loop4, "CrashLoopBackOff", "ImagePullBackOff")))
	if got := health(e); got.Status != status.InProgressStatus || !strings.Contains(got.Message, "ImagePullBackOff") {
		t.Errorf("a container whose image is gone is taken to be in a loop: %+v", got)
	}
	c := &crds.Collector{Generation: 2}
	c.Status = buildStatus(observation{collector: c, health: inLoop}, at(0))
	if !crashing(c) {
		t.Error("the status of a crash loop does not say that pods crash")
	}
	if c.Generation++; crashing(c) {
		t.Error("a new generation is taken to crash as the one before")
	}
}

func TestMessagesOfPodsStayTheSameWhileNothingElseHappens(t *testing.T) {
	for _, pair := range [][2]string{
		{container(loop4), container(strings.NewReplacer("4", "17", "1m20s", "5m0s").Replace(loop4))},
		{waitingFor("CreateContainerError", "read tcp 10.0.0.1:41234->10.0.0.2:443: reset"), waitingFor("CreateContainerError", "read tcp 10.0.0.1:5->10.0.0.2:443: reset")},
		{waitingFor("ErrImagePull", "no"), waitingFor("ImagePullBackOff", `Back-off pulling image "a": ErrImagePull: no`)},
		{
			unschedulable("0/9 nodes are available: 4 Insufficient cpu, 5 Insufficient memory."),
			unschedulable("0/10 nodes are available: 6 Insufficient memory, 9 Insufficient cpu. preemption: none"),
		},
	} {
		was, is := podOf(t, "x-0", pair[0]), podOf(t, "x-0", pair[1])
		if podChanged(was, is) {
			t.Errorf("health would read something else:\n%v\n%v", complaintOf(was, false), complaintOf(is, false))
		}
		if diff := cmp.Diff(was.Object, is.Object); diff != "" {
			t.Errorf("the pod is another (-was +is):\n%s", diff)
		}
	}
}

func TestPodsChangeWhenHealthWouldReadSomethingElse(t *testing.T) {
	base := podOf(t, "x-0", container(`state: {running: {}}`))
	change := func(f func(*unstructured.Unstructured)) *unstructured.Unstructured {
		p := base.DeepCopy()
		f(p)
		return p
	}
	for what, is := range map[string]*unstructured.Unstructured{
		"it is ready":                podOf(t, "x-0", `phase: Running, containerStatuses: [{name: otc-container, ready: true}]`),
		"it crashes":                 podOf(t, "x-0", container(loop4)),
		"it has crashed and runs":    podOf(t, "x-0", container(resting4)),
		"it is another of that name": change(func(p *unstructured.Unstructured) { p.SetUID("q") }),
		"it has other labels":        change(func(p *unstructured.Unstructured) { p.SetLabels(map[string]string{"a": "b"}) }),
		"it has no owner":            change(func(p *unstructured.Unstructured) { p.SetOwnerReferences(nil) }),
		"it goes": change(func(p *unstructured.Unstructured) {
			p.Object["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
		}),
		"it is pending with a volume": podOf(t, "x-0", `phase: Pending`, claimed),
	} {
		if !podChanged(base, is) {
			t.Errorf("%s, and that is no change", what)
		}
	}
	// While another pod is in a crash loop it matters how often this one has crashed, although it runs.
	if !podChanged(podOf(t, "x-0", container(strings.ReplaceAll(resting4, "4", "2"))), podOf(t, "x-0", container(resting4))) {
		t.Error("the third restart is no change")
	}
	touched := change(func(p *unstructured.Unstructured) { p.SetResourceVersion("2") })
	if podChanged(base, touched) {
		t.Error("a new resourceVersion is a change")
	}
	// A container that was restarted twice crashes for the third time while it runs: only then it is in a loop.
	if !podChanged(podOf(t, "x-0", container(resting4)), podOf(t, "x-0", container(loop4))) {
		t.Error("a crash loop is no change after a container that runs")
	}
}

// fullPod is about what an API server has of a collector's pod that a kubelet runs.
func fullPod(t testing.TB, i int, status string) *unstructured.Unstructured {
	t.Helper()
	u := fromYAML(t, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata:
  name: x-%d
  namespace: ns
  uid: 00000000-0000-0000-0000-%012d
  resourceVersion: "%d"
  creationTimestamp: "2026-01-01T00:00:00Z"
  generateName: x-
  annotations: {opentelemetry-operator-config/sha256: 0123456789abcdef0123456789abcdef, prometheus.io/scrape: "true"}
  labels:
    app.kubernetes.io/managed-by: opentelemetry-operator
    app.kubernetes.io/instance: ns.x
    app.kubernetes.io/part-of: opentelemetry
    app.kubernetes.io/component: opentelemetry-collector
    app.kubernetes.io/name: x-collector
    app.kubernetes.io/version: 1.2.3
    controller-revision-hash: x-2
    statefulset.kubernetes.io/pod-name: x-%d
    apps.kubernetes.io/pod-index: "%d"
  ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: x, uid: u, controller: true, blockOwnerDeletion: true}]
  managedFields: [{manager: kubelet, operation: Update, fieldsV1: {"f:status": {"f:phase": {}, "f:podIP": {}}}}]
spec:
  nodeName: n
  containers: [{name: otc-container, image: "collector:1", args: [--config=/conf/collector.yaml], volumeMounts: [{name: c, mountPath: /conf}]}]
  volumes: [{name: c, configMap: {name: c}}, {name: data, persistentVolumeClaim: {claimName: data-x-0}}]
  tolerations: [{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]
`, i, i, i, i, i))
	u.Object["status"] = fromYAML(t, `{apiVersion: v1, kind: X, `+status+`}`).Object
	return u
}

const healthyStatus = `phase: Running, podIP: 10.0.0.1, startTime: "2026-01-01T00:00:00Z", conditions: [{type: PodScheduled, status: "True"}, {type: Ready, status: "True"}],
containerStatuses: [{name: otc-container, ready: true, restartCount: 0, image: "collector:1", state: {running: {startedAt: "2026-01-01T00:00:00Z"}}}]`

func TestSlimPodsKeepWhatIsReadAndNothingElse(t *testing.T) {
	got := slimPod(fullPod(t, 0, healthyStatus))
	for _, key := range []string{"containers", "tolerations", "managedFields", "annotations", "conditions", "containerStatuses"} {
		if text, _ := json.Marshal(got); strings.Contains(string(text), `"`+key+`"`) {
			t.Errorf("a pod that is well keeps %s: %s", key, text)
		}
	}
	told, _ := json.Marshal([]any{
		slimPod(fullPod(t, 0, container(loop4))), slimPod(fullPod(t, 0, `phase: Running, conditions: [{type: Ready, status: "False", reason: ContainersNotReady, message: unready}]`)),
	})
	if strings.Contains(string(told), "restarting") || strings.Contains(string(told), "unready") {
		t.Errorf("messages are kept that say nothing: %s", told)
	}
	if got.GetName() != "x-0" || got.GetNamespace() != "ns" || got.GetUID() == "" || got.GetResourceVersion() != "0" || got.GetKind() != "Pod" {
		t.Errorf("a slim pod has lost its identity: %v", got)
	}
	if len(got.GetLabels()) != 9 || len(got.GetOwnerReferences()) != 1 {
		t.Errorf("a slim pod has lost labels or owners: %v", got)
	}
}

func TestSlimPodsAreSlimAlready(t *testing.T) {
	for _, s := range []string{
		healthyStatus, container(loop4), container(resting4), waitingFor("ErrImagePull", strings.Repeat("é", 200)), `phase: Failed, reason: Evicted, message: "a\nb"`,
		waitingFor("ImagePullBackOff", `Back-off pulling image "a": ErrImagePull: no`), unschedulable("0/9 nodes are available: 4 Insufficient cpu. preemption: " + strings.Repeat("x", 300)),
		`phase: Pending, conditions: [{type: Ready, status: "False", reason: ContainersNotReady, message: m}]`,
	} {
		full := fullPod(t, 1, s)
		before := full.DeepCopy()
		once := slimPod(full)
		if diff := cmp.Diff(before.Object, full.Object); diff != "" {
			t.Errorf("slimming changed its argument (-was +is):\n%s", diff)
		}
		if diff := cmp.Diff(once.Object, slimPod(once).Object); diff != "" {
			t.Errorf("a slim pod can be made slimmer (-once +twice):\n%s", diff)
		}
		if a, b := complaintOf(full, false), complaintOf(once, false); a.rank != b.rank || a.fatal != b.fatal {
			t.Errorf("slimming changed what a pod complains of from %+v to %+v", a, b)
		}
		if c := complaintOf(once, false); len(c.text) > maxTold+100 {
			t.Errorf("a complaint has %d bytes: %s", len(c.text), c.text)
		}
	}
}

func TestSlimPodsAreSmall(t *testing.T) {
	for what, of := range map[string]struct {
		status string
		limit  uint64 // bytes
	}{"well": {healthyStatus, 4000}, "crashing": {container(loop4), 6500}} {
		const n = 2000
		full := fullPod(t, 0, of.status)
		data, err := full.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		before := heap()
		kept := map[int]*unstructured.Unstructured{}
		for i := range n {
			u := &unstructured.Unstructured{}
			if err := u.UnmarshalJSON(data); err != nil {
				t.Fatal(err)
			}
			kept[i] = slimPod(u)
		}
		each := (heap() - before) / n
		t.Logf("a pod that is %s takes %d bytes", what, each)
		if each > of.limit {
			t.Errorf("a pod that is %s takes %d bytes, want at most %d", what, each, of.limit)
		}
		maps.DeleteFunc(kept, func(int, *unstructured.Unstructured) bool { return true })
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
