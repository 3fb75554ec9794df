package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/otelier/otelier/crds"
)

// dependents are the changes to what a StatefulSet has made, and does not change by itself: claims that are smaller than their template,
// and pods that a StatefulSet with another selector has left.
func (p *Planner) dependents(in Input, set *Change, plan *Plan) ([]Change, error) {
	var out []Change
	for _, g := range growing(set.Want, in.Claims) {
		c := Change{ID: idOf(g.claim), Action: ActionUpdate, Live: g.claim, Want: g.intent(), stage: crds.StageClaims}
		expandable, known := in.Expandable[g.class()]
		switch refused := in.Refused[c.ID]; {
		case g.shrinks:
			plan.Notes = append(plan.Notes, g.note(crds.ReasonClaimCannotShrink, "claims can't shrink"))
			continue
		case known && !expandable:
			plan.Notes = append(plan.Notes, g.note(crds.ReasonClassNotExpandable, fmt.Sprintf("its storage class %s does not allow expansion", g.class())))
			continue
		case nested(g.claim, "status", "phase") != "Bound":
			plan.Notes = append(plan.Notes, g.note(crds.ReasonClaimNotBound, "it is not bound yet"))
			continue
		case refused != "":
			plan.Notes = append(plan.Notes, g.note(crds.ReasonClaimRefused, refused))
			continue
		}
		var err error
		if c.delta, err = p.delta(c.Live, c.Want); err != nil {
			return nil, err
		}
		c.Fields = c.delta.fields(c.Live)
		for i := range c.Fields {
			c.Fields[i].TakenFrom = nil // the StatefulSet controller has made the claim, and does not look at it again
		}
		out = append(out, c)
	}
	if set.Live != nil {
		if pod, why := inTheWay(set, in.Pods); pod != nil {
			out = append(out, Change{ID: idOf(pod), Action: ActionDelete, Live: pod, stage: crds.StageClaims, Because: why})
		}
		return out, nil
	}
	for _, pod := range orphans(set.Want, in.Pods) {
		out = append(out, relabelled(set.Want, pod))
	}
	return out, nil
}

// growth is a claim whose size is not what its template says.
type growth struct {
	claim     *unstructured.Unstructured
	has, want resource.Quantity
	shrinks   bool
}

// growing are the claims of a StatefulSet that have another size than their template, by name. Claims of pods that are not there now
// are among them: they are used again when it is scaled out.
func growing(set *unstructured.Unstructured, claims []*unstructured.Unstructured) []growth {
	var out []growth
	for name, want := range templateSizes(set) {
		for _, claim := range claims {
			if !ordinalOf(claim.GetName(), name+"-"+set.GetName()) || claim.GetDeletionTimestamp() != nil {
				continue
			}
			has, err := resource.ParseQuantity(nested(claim, "spec", "resources", "requests", "storage"))
			if err != nil || has.Cmp(want) == 0 {
				continue
			}
			out = append(out, growth{claim, has, want, has.Cmp(want) > 0})
		}
	}
	slices.SortFunc(out, func(a, b growth) int { return strings.Compare(a.claim.GetName(), b.claim.GetName()) })
	return out
}

func templateSizes(set *unstructured.Unstructured) map[string]resource.Quantity {
	out := map[string]resource.Quantity{}
	templates, _, _ := unstructured.NestedSlice(set.Object, "spec", "volumeClaimTemplates")
	for _, t := range templates {
		m, ok := t.(map[string]any)
		if !ok {
			continue
		}
		u := &unstructured.Unstructured{Object: m}
		if size, err := resource.ParseQuantity(nested(u, "spec", "resources", "requests", "storage")); err == nil {
			out[u.GetName()] = size
		}
	}
	return out
}

func nested(u *unstructured.Unstructured, path ...string) string {
	s, _, _ := unstructured.NestedString(u.Object, path...)
	return s
}

// ordinalOf tells whether name is base with an ordinal.
func ordinalOf(name, base string) bool {
	ordinal, ok := strings.CutPrefix(name, base+"-")
	return ok && ordinal != "" && strings.Trim(ordinal, "0123456789") == ""
}

func (g growth) class() string { return nested(g.claim, "spec", "storageClassName") }

// intent is the claim with its new size, and nothing else. With the UID it can't make a claim that is gone.
func (g growth) intent() *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim",
		"spec": map[string]any{"resources": map[string]any{"requests": map[string]any{"storage": g.want.String()}}},
	}}
	u.SetNamespace(g.claim.GetNamespace())
	u.SetName(g.claim.GetName())
	u.SetUID(g.claim.GetUID())
	return u
}

func (g growth) note(reason, why string) Note {
	return Note{Kind: NoteClaimsNotExpanded, Reason: reason, ID: idOf(g.claim), Message: fmt.Sprintf("stays at %s instead of %s: %s", g.has.String(), g.want.String(), why)}
}

// orphans are pods that bear the names of a StatefulSet's, have no controller, and don't fit its selector.
func orphans(set *unstructured.Unstructured, pods []*unstructured.Unstructured) []*unstructured.Unstructured {
	selector, _, _ := unstructured.NestedStringMap(set.Object, "spec", "selector", "matchLabels")
	var out []*unstructured.Unstructured
	for _, pod := range pods {
		fits := true
		for k, v := range selector {
			fits = fits && pod.GetLabels()[k] == v
		}
		if !fits && ordinalOf(pod.GetName(), set.GetName()) && metav1.GetControllerOfNoCopy(pod) == nil && pod.GetDeletionTimestamp() == nil {
			out = append(out, pod)
		}
	}
	return out
}

// relabelled makes a pod one that the new StatefulSet adopts instead of being kept from making its own.
func relabelled(set, pod *unstructured.Unstructured) Change {
	selector, _, _ := unstructured.NestedStringMap(set.Object, "spec", "selector", "matchLabels")
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Pod"}}
	u.SetNamespace(pod.GetNamespace())
	u.SetName(pod.GetName())
	u.SetUID(pod.GetUID())
	u.SetLabels(selector)
	c := Change{ID: idOf(pod), Action: ActionUpdate, Live: pod, Want: u, stage: crds.StageServices}
	for k, v := range selector {
		if old := pod.GetLabels()[k]; old != v {
			c.Fields = append(c.Fields, FieldChange{Path: spell(fieldpath.MakePathOrDie("metadata", "labels", k)), Op: FieldSet, Old: old, New: v})
		}
	}
	slices.SortFunc(c.Fields, func(a, b FieldChange) int { return strings.Compare(a.Path, b.Path) })
	return c
}

// inTheWay is the next pod to delete so that its StatefulSet can go on, and why.
func inTheWay(set *Change, pods []*unstructured.Unstructured) (pod *unstructured.Unstructured, why string) {
	if pod := lacking(set, pods); pod != nil {
		return pod, "lacks a claim of its StatefulSet, which can't add volumes to a pod that is there"
	}
	return stuck(set, pods)
}

// lacking is the next pod to make anew because it lacks a claim that its StatefulSet has come to want. The StatefulSet controller only
// fails at such pods (k8s.io/kubernetes/pkg/controller/statefulset, storageMatches): in the order of their ordinals, so that is the
// order here too. One goes at a time, and only while all that should be there are, and those that lack nothing are ready.
func lacking(set *Change, pods []*unstructured.Unstructured) *unstructured.Unstructured {
	if set.Action == ActionReplace || !settledPods(set) {
		return nil
	}
	var next *unstructured.Unstructured
	for _, pod := range inOrder(set.Live, pods) {
		switch {
		case pod == nil:
			return nil
		case lacks(set.Live, pod):
			next = cmp.Or(next, pod)
		case !podReady(pod):
			return nil
		}
	}
	return next
}

// members are the pods that a StatefulSet has made or adopted.
func members(set *unstructured.Unstructured, pods []*unstructured.Unstructured) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, pod := range pods {
		if owner := metav1.GetControllerOfNoCopy(pod); owner != nil && owner.UID == set.GetUID() {
			out = append(out, pod)
		}
	}
	return out
}

// named tells whether a pod bears a name that a StatefulSet gives, whoever's it is.
func named(set, pod *unstructured.Unstructured) bool {
	n := ordinal(pod)
	return n >= 0 && pod.GetName() == fmt.Sprintf("%s-%d", set.GetName(), n)
}

// lacks tells whether a pod mounts less than all the claims that its StatefulSet has templates for.
func lacks(set, pod *unstructured.Unstructured) bool {
	has := claimsOf(pod)
	for name := range templateSizes(set) {
		if !slices.Contains(has, name+"-"+pod.GetName()) {
			return true
		}
	}
	return false
}

// podReady reads a pod as slimPod leaves it: with the conditions that don't hold.
func podReady(pod *unstructured.Unstructured) bool {
	ready := conditionOf(pod, "Ready")
	return valueAt[string](pod.Object, "status", "phase") == "Running" && (ready == nil || ready["status"] == "True")
}

// ordinal of a StatefulSet's pod.
func ordinal(pod *unstructured.Unstructured) int64 {
	name := pod.GetName()
	n, err := strconv.ParseInt(name[strings.LastIndex(name, "-")+1:], 10, 64)
	if err != nil {
		return -1
	}
	return n
}
