package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/otelier/otelier/crds"
)

// crashLoopRestarts is how often a container has been restarted when being in CrashLoopBackOff means that it will not come up.
const crashLoopRestarts = 3

// rank orders what pods complain of, the worst first.
type rank int

const (
	rankFatal rank = iota + 1
	rankBroken
	rankLoop // a crash loop that may end yet
	rankImage
	rankUnschedulable
	rankClaim
	rankBusy   // from here on it is no fault as such, and is told only when nothing moves
	rankGoing  // is told only when there is nothing else
	rankFailed // as rankGoing
)

// complaint is why a pod, or a claim, is not what it should be. The zero value is that of one that is well.
type complaint struct {
	rank  rank
	text  string
	fatal string // crds.Reason…, of what no waiting will change
}

// diagnosis is what is wrong with the pods of a workload.
type diagnosis struct {
	faults []string // worst first, equal ones as one
	all    []string // faults, and what pods are doing that is no fault
	fatal  string   // crds.Reason… when it will not come right by itself
}

// diagnose says what is wrong with the pods of u, and with the claims that they wait for.
func diagnose(u *unstructured.Unstructured, e evidence) diagnosis {
	by := map[complaint][]string{}
	if c := replicaFailure(u); c.rank != 0 {
		by[c] = append(by[c], strings.ToLower(u.GetKind())+"/"+u.GetName())
	}
	unbound := map[string]rank{}
	for _, pod := range e.pods {
		if !belongs(pod, u) {
			continue
		}
		c := complaintOf(pod, e.crashing)
		if c.rank == 0 {
			continue
		}
		for _, name := range awaited(pod) {
			unbound[name] = claimRank(c)
		}
		if !newest(pod, u) {
			c = former(c, u)
		}
		by[c] = append(by[c], "pod/"+pod.GetName())
	}
	for _, claim := range e.claims {
		phase := cmp.Or(valueAt[string](claim.Object, "status", "phase"), "Pending")
		if r, ok := unbound[claim.GetName()]; ok && r != 0 && phase != "Bound" {
			c := complaint{rank: r, text: phase}
			by[c] = append(by[c], "persistentvolumeclaim/"+claim.GetName())
		}
	}
	return sum(by)
}

// sum groups and orders complaints.
func sum(by map[complaint][]string) diagnosis {
	var out diagnosis
	for _, about := range by {
		slices.Sort(about)
	}
	order := slices.SortedFunc(maps.Keys(by), func(a, b complaint) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(by[a][0], by[b][0]), strings.Compare(a.text, b.text))
	})
	var faults, all []string
	for _, c := range order {
		out.fatal = cmp.Or(out.fatal, c.fatal)
		who := by[c][0]
		if n := len(by[c]) - 1; n > 0 {
			who += fmt.Sprintf(" and %d more", n)
		}
		text := who + ": " + c.text
		if c.rank < rankBusy {
			faults = append(faults, text)
		}
		if c.rank < rankGoing || len(all) == 0 {
			all = append(all, text)
		}
	}
	out.faults, out.all = atMost(faults), atMost(all)
	return out
}

func atMost(texts []string) []string {
	if n := len(texts) - maxNamed; n > 0 {
		return append(texts[:maxNamed:maxNamed], fmt.Sprintf("and %d more", n))
	}
	return texts
}

// belongs tells whether u is what runs pod. The ReplicaSets between a Deployment and its pods are not watched: a collector has one
// Deployment at most, so that a ReplicaSet's pod with its labels is of that.
func belongs(pod, u *unstructured.Unstructured) bool {
	owner := metav1.GetControllerOfNoCopy(pod)
	switch {
	case owner == nil:
		return false
	case u.GetKind() == "Deployment":
		return owner.Kind == "ReplicaSet"
	default:
		return owner.UID == u.GetUID()
	}
}

// newest tells whether pod is of the revision that u rolls out, as far as can be told from them. As long as the controller has not
// looked at u, none is.
func newest(pod, u *unstructured.Unstructured) bool {
	if numberAt(u, "status", "observedGeneration") < u.GetGeneration() {
		return false
	}
	var is, want string
	switch u.GetKind() {
	case "StatefulSet":
		is, want = pod.GetLabels()["controller-revision-hash"], valueAt[string](u.Object, "status", "updateRevision")
	case "DaemonSet":
		// The status of a DaemonSet does not name its revision; the generation of its template is kept in an annotation and a label
		// (k8s.io/api/apps/v1, DeprecatedTemplateGeneration; k8s.io/api/extensions/v1beta1, DaemonSetTemplateGenerationKey).
		is, want = pod.GetLabels()["pod-template-generation"], u.GetAnnotations()["deprecated.daemonset.template.generation"]
	case "Deployment":
		if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
			is, want = owner.Name, newReplicaSet(u)
		}
	}
	return is == "" || want == "" || is == want
}

// newReplicaSet is the name of the ReplicaSet that a Deployment rolls out, which only the message of its condition holds, in quotes
// (k8s.io/kubernetes/pkg/controller/deployment, syncRolloutStatus); empty when it does not.
func newReplicaSet(u *unstructured.Unstructured) string {
	_, rest, _ := strings.Cut(valueAt[string](conditionOf(u, "Progressing"), "message"), `"`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

// former is what a complaint means when the pod is of a revision that is on its way out: nothing final. But it may be in the way: see
// stuck.
func former(c complaint, u *unstructured.Unstructured) complaint {
	if c.rank >= rankGoing {
		return c
	}
	c.fatal = ""
	if numberAt(u, "status", "observedGeneration") < u.GetGeneration() {
		return c
	}
	c.text += ", of a former revision"
	if u.GetKind() == "StatefulSet" && c.rank <= rankUnschedulable && (onDelete(u) || waitsForReady(u)) {
		c.text += ": the rollout goes on when the pod is deleted"
	}
	return c
}

// replicaFailure is why a Deployment can't make pods, such as a quota. The name of the pod that was not made is another each time.
func replicaFailure(u *unstructured.Unstructured) complaint {
	c := conditionOf(u, "ReplicaFailure")
	if u.GetKind() != "Deployment" || c["status"] != "True" {
		return complaint{}
	}
	text := regexp.MustCompile(`pods "[^"]*" (is )?`).ReplaceAllString(valueAt[string](c, "message"), "")
	return complaint{rank: rankBroken, text: "pods can't be created: " + tidy(text)}
}

// claimRank is that of the claims of a pod that complains of c, none when they have nothing to do with it: many are bound only once
// a node is found.
func claimRank(c complaint) rank {
	switch {
	case c.rank != rankUnschedulable:
		return rankBusy
	case strings.Contains(strings.ToLower(c.text), "volume"):
		return rankClaim
	default:
		return 0
	}
}

// awaited are the claims of a pod that does not run yet.
func awaited(pod *unstructured.Unstructured) []string {
	if valueAt[string](pod.Object, "status", "phase") != "Pending" {
		return nil
	}
	return claimsOf(pod)
}

// claimsOf are the claims that a pod mounts.
func claimsOf(pod *unstructured.Unstructured) []string {
	var out []string
	for _, v := range elements(pod.Object, "spec", "volumes") {
		if name := valueAt[string](v, "persistentVolumeClaim", "claimName"); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// configOf is the name of the ConfigMap that a pod reads its configuration from.
func configOf(pod *unstructured.Unstructured) string {
	for _, v := range elements(pod.Object, "spec", "volumes") {
		if v["name"] == crds.ConfigVolume {
			return valueAt[string](v, "configMap", "name")
		}
	}
	return ""
}

// crashing tells whether a collector's status says of its present generation that pods crash. A container in a crash loop runs now
// and then; what was said holds until it is ready.
func crashing(c *crds.Collector) bool {
	return stalledFor(c, crds.ReasonCrashLoop)
}

// podChanged tells whether health could read something else from a pod than it did before. Both are as slimPod has them.
func podChanged(old, now *unstructured.Unstructured) bool {
	type reading struct {
		uid, owner    types.UID
		calm, alarmed complaint
		claims        string
	}
	read := func(pod *unstructured.Unstructured) reading {
		out := reading{
			uid: pod.GetUID(), calm: complaintOf(pod, false), alarmed: complaintOf(pod, true), claims: strings.Join(awaited(pod), " "),
		}
		if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
			out.owner = owner.UID
		}
		return out
	}
	return read(old) != read(now) || !maps.Equal(old.GetLabels(), now.GetLabels())
}
