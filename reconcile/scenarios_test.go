package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/otelier/otelier/crds"
)

// deed is something that happens to a world.
type deed func(*world) error

// scenario is what happens to the collector ns/a, and what is to come of it.
type scenario struct {
	name   string
	before deed   // nil when there is no collector yet
	acts   []deed // after each the operator comes to rest
	check  func(*outcome) error

	deletes   bool // there is no collector in the end
	paused    bool // what is rendered does not count
	differs   bool // what is live is not what is wanted, and can't be
	keepsPods bool
	remade    map[string]int // objects, and how often they are deleted
	says      []string       // conditions, when they are not just Ready
}

// having is a collector of a mode, changed by more.
func having(mode string, more ...func(spec map[string]any)) deed {
	return func(w *world) error {
		spec := baseSpec(mode)
		for _, change := range more {
			change(spec)
		}
		return w.create(collectorObject(spec), "user")
	}
}

func edit(change func(u *unstructured.Unstructured)) deed {
	return func(w *world) error { return w.update(collectorID(), "user", "", change) }
}

func set(value any, path ...string) deed {
	return edit(func(u *unstructured.Unstructured) { _ = unstructured.SetNestedField(u.Object, value, path...) })
}

func unset(path ...string) deed {
	return edit(func(u *unstructured.Unstructured) { unstructured.RemoveNestedField(u.Object, path...) })
}

func annotate(key, value string) deed {
	return edit(func(u *unstructured.Unstructured) { u.SetAnnotations(map[string]string{key: value}) })
}

func remove(w *world) error {
	_, err := w.delete(collectorID(), "", "Background")
	return err
}

// all is several steps at a time.
func together(steps ...deed) deed {
	return func(w *world) error {
		for _, s := range steps {
			if err := s(w); err != nil {
				return err
			}
		}
		return nil
	}
}

// then brings what comes before to rest, with an operator of its own.
func then(first deed, next ...deed) deed {
	return func(w *world) error {
		if err := first(w); err != nil {
			return err
		}
		planner := NewPlanner(renderForTests)
		for _, s := range next {
			t, err := newTrial(w, newSlimmed(), planner, fault{})
			if err != nil {
				return err
			}
			if err := t.settle(); err != nil {
				return err
			}
			if err := s(w); err != nil {
				return err
			}
		}
		return nil
	}
}

func foreign(kind, manager, subresource string, change func(u *unstructured.Unstructured)) deed {
	return func(w *world) error {
		group := map[string]string{"StatefulSet": "apps", "Deployment": "apps"}[kind]
		return w.update(ID{group, kind, "ns", workloadOfA}, manager, subresource, change)
	}
}

func setting(value any, path ...string) func(*unstructured.Unstructured) {
	return func(u *unstructured.Unstructured) { _ = unstructured.SetNestedField(u.Object, value, path...) }
}

func scenarios() []scenario {
	return slices.Concat(ordinaryScenarios(), clusterScenarios(), replaceScenarios(), foreignScenarios())
}

const (
	deploymentMode, daemonSetMode, statefulSetMode = crds.ModeDeployment, crds.ModeDaemonSet, crds.ModeStatefulSet
	workloadOfA                                    = "a-collector"
)

func ordinaryScenarios() []scenario {
	config := func(text string) deed { return set(text, "spec", "config") }
	return []scenario{
		{name: "create deployment", acts: []deed{having(deploymentMode)}},
		{name: "create daemonset", acts: []deed{having(daemonSetMode)}},
		{name: "create statefulset", acts: []deed{having(statefulSetMode)}, check: claimsAre("1Gi", "1Gi")},
		{name: "configuration", before: having(deploymentMode), acts: []deed{config("two")}},
		{
			name:   "configuration when there is a history",
			before: then(having(deploymentMode), config("two"), config("three"), set(int64(1), "spec", "configVersions")), acts: []deed{config("four")},
		},
		{name: "scale", before: having(statefulSetMode), acts: []deed{set(int64(3), "spec", "replicas")}, check: claimsAre("1Gi", "1Gi", "1Gi")},
		{name: "scale in", before: having(statefulSetMode), acts: []deed{set(int64(1), "spec", "replicas")}, check: claimsAre("1Gi", "1Gi")},
		{name: "service goes", before: having(deploymentMode), acts: []deed{unset("spec", "ports")}},
		{name: "delete", before: having(statefulSetMode), acts: []deed{remove}, deletes: true},
		{name: "lost status", before: having(deploymentMode), acts: []deed{loseStatus}},
		{name: "lost status while a service goes", before: having(deploymentMode), acts: []deed{together(loseStatus, unset("spec", "ports"))}},
		{
			name: "unmanaged", before: having(deploymentMode),
			acts:   []deed{together(set(crds.StateUnmanaged, "spec", "managementState"), unset("spec", "ports"))},
			paused: true, says: []string{"Paused=True Unmanaged", "Ready=True Available"},
		},
		{
			name:   "managed again",
			before: then(having(deploymentMode), together(set(crds.StateUnmanaged, "spec", "managementState"), unset("spec", "ports"))),
			acts:   []deed{set(crds.StateManaged, "spec", "managementState")},
		},
		{
			name: "refused", before: having(deploymentMode), acts: []deed{together(refusing, set("collector:2", "spec", "image"), config("two"))},
			differs: true, says: []string{"Ready=False InvalidSpec", "Stalled=True InvalidSpec"}, check: imageIs("collector:1"),
		},
		{
			name: "refused, then repaired", before: having(deploymentMode), check: imageIs("collector:3"),
			acts: []deed{together(refusing, set("collector:2", "spec", "image")), set("collector:3", "spec", "image")},
		},
		{
			name: "bad configuration, then repaired", before: having(deploymentMode), acts: []deed{config("bad"), config("two")},
		},
	}
}

// refusing has the API server refuse the image collector:2.
func refusing(w *world) error {
	w.refuse = func(u *unstructured.Unstructured) error {
		if u.GetKind() == "Deployment" && imageOf(u) == "collector:2" {
			return apierrors.NewInvalid(u.GroupVersionKind().GroupKind(), u.GetName(), field.ErrorList{
				field.Invalid(field.NewPath("spec", "template", "spec", "containers").Index(0).Child("image"), "collector:2", "no"),
			})
		}
		return nil
	}
	return nil
}

func imageOf(u *unstructured.Unstructured) string { return workloadImage(u) }

func imageIs(want string) func(*outcome) error {
	return func(r *outcome) error {
		for _, u := range r.world.of("Deployment") {
			if got := imageOf(u); got != want {
				return fmt.Errorf("the image is %s, want %s", got, want)
			}
		}
		return nil
	}
}

func claimsAre(sizes ...string) func(*outcome) error {
	return func(r *outcome) error {
		var got []string
		for _, u := range r.world.of("PersistentVolumeClaim") {
			got = append(got, storage(u))
		}
		if !slices.Equal(got, sizes) {
			return fmt.Errorf("claims are of %v, want %v", got, sizes)
		}
		return nil
	}
}

func loseStatus(w *world) error {
	return w.update(collectorID(), "backup", "status", func(u *unstructured.Unstructured) { delete(u.Object, "status") })
}

func clusterScenarios() []scenario {
	with := func(s deed) deed { return together(s, annotate(testCluster, "role1")) }
	return []scenario{
		{name: "create with cluster-scoped objects", acts: []deed{with(having(deploymentMode))}},
		{name: "cluster-scoped objects appear", before: having(deploymentMode), acts: []deed{annotate(testCluster, "role1")}},
		{name: "cluster-scoped objects go", before: with(having(deploymentMode)), acts: []deed{annotate("x", "y")}},
		{name: "delete with cluster-scoped objects", before: with(having(deploymentMode)), acts: []deed{remove}, deletes: true},
		{name: "lost status with cluster-scoped objects", before: with(having(deploymentMode)), acts: []deed{loseStatus}},
		{
			name: "lost status, then delete, with cluster-scoped objects", before: with(having(deploymentMode)), acts: []deed{loseStatus, remove},
			deletes: true,
		},
		{
			name: "another role", before: with(having(deploymentMode)), acts: []deed{annotate(testCluster, "role2")},
			remade: map[string]int{"clusterrolebinding/b1": 1, "clusterrolebinding/b2": 1},
		},
	}
}

func replaceScenarios() []scenario {
	grow := func(class, size string) deed {
		return set([]any{claimTemplate(class, size)}, "spec", "volumeClaimTemplates")
	}
	fixed := func(spec map[string]any) { spec["volumeClaimTemplates"] = []any{claimTemplate("fixed", "1Gi")} }
	remade := map[string]int{"statefulset/a-collector": 1}
	return []scenario{
		{
			name: "claims grow", before: having(statefulSetMode), acts: []deed{grow("fast", "2Gi")}, keepsPods: true, remade: remade,
			check: claimsAre("2Gi", "2Gi"),
		},
		{
			name: "claims grow while a service goes", before: having(statefulSetMode), acts: []deed{together(grow("fast", "2Gi"), unset("spec", "ports"))},
			keepsPods: true, remade: remade, check: claimsAre("2Gi", "2Gi"),
		},
		{
			name: "another claim", before: having(statefulSetMode),
			acts:   []deed{set([]any{claimTemplate("fast", "1Gi"), anotherTemplate()}, "spec", "volumeClaimTemplates")},
			remade: map[string]int{"statefulset/a-collector": 1, "pod/a-collector-0": 1, "pod/a-collector-1": 1},
			check:  claimsAre("1Gi", "1Gi", "1Gi", "1Gi"),
		},
		{
			name: "claims can't grow", before: having(statefulSetMode, fixed), acts: []deed{grow("fixed", "2Gi")}, keepsPods: true, remade: remade,
			check: claimsAre("1Gi", "1Gi"), says: []string{"ClaimsNotExpanded=True ClassNotExpandable", "Ready=True Available"},
		},
		{
			name: "service name", before: having(statefulSetMode), acts: []deed{set("other", "spec", "serviceName")}, keepsPods: true, remade: remade,
		},
		{
			name: "pod management policy", before: having(statefulSetMode), acts: []deed{set("Parallel", "spec", "podManagementPolicy")},
			keepsPods: true, remade: remade,
		},
		{name: "selector of a statefulset", before: having(statefulSetMode), acts: []deed{annotate(testSelector, "x")}, remade: remade, check: adopted},
		{
			name: "selector of a deployment", before: having(deploymentMode), acts: []deed{annotate(testSelector, "x")},
			remade: map[string]int{"deployment/a-collector": 1},
		},
		{
			name: "replacement is refused", before: having(statefulSetMode), keepsPods: true, differs: true,
			acts: []deed{together(refusingService, set("bad", "spec", "serviceName"))},
			says: []string{"Ready=False InvalidSpec", "Stalled=True InvalidSpec"},
		},
	}
}

func anotherTemplate() any {
	t := claimTemplate("fast", "1Gi").(map[string]any)
	t["metadata"] = map[string]any{"name": "more"}
	return t
}

func refusingService(w *world) error {
	w.refuse = func(u *unstructured.Unstructured) error {
		if u.GetKind() == "StatefulSet" && nested(u, "spec", "serviceName") == "bad" {
			return apierrors.NewInvalid(u.GroupVersionKind().GroupKind(), u.GetName(), field.ErrorList{
				field.Invalid(field.NewPath("spec", "serviceName"), "bad", "no"),
			})
		}
		return nil
	}
	return nil
}

// adopted tells that all pods are the StatefulSet's.
func adopted(r *outcome) error {
	set := r.world.get(ID{"apps", "StatefulSet", "ns", workloadOfA})
	for _, pod := range r.world.of("Pod") {
		if owners := pod.GetOwnerReferences(); len(owners) != 1 || owners[0].UID != set.GetUID() {
			return fmt.Errorf("pod %s has owners %v", pod.GetName(), owners)
		}
	}
	if n := len(r.world.of("Pod")); n != 2 {
		return fmt.Errorf("there are %d pods, want 2", n)
	}
	return nil
}

func foreignScenarios() []scenario {
	scaled := foreign("StatefulSet", "vpa", "scale", setting(int64(5), "spec", "replicas"))
	yields := []string{"Ready=True Available", "ReplicasYielded=True ScaledByOther"}
	return []scenario{
		{
			name: "drift is taken back", before: having(deploymentMode),
			acts: []deed{foreign("Deployment", "kubectl-edit", "", setting(int64(7), "spec", "replicas"))},
			check: func(r *outcome) error {
				if n := intAt(r.world.of("Deployment")[0], "spec", "replicas"); n != 2 {
					return fmt.Errorf("there are %d replicas, want 2", n)
				}
				return r.tells("FieldTakenBack", "kubectl-edit")
			},
		},
		{
			name: "what others add stays", before: having(deploymentMode),
			acts: []deed{
				foreign("Service", "kubectl-annotate", "", setting("v", "metadata", "annotations", "k")), set("two", "spec", "config"),
			},
			check: func(r *outcome) error {
				if got := r.world.get(ID{"", "Service", "ns", workloadOfA}).GetAnnotations()["k"]; got != "v" {
					return errors.New("the annotation is gone")
				}
				return nil
			},
		},
		{name: "deleted by somebody", before: having(statefulSetMode), acts: []deed{deleteSet("Background")}},
		{name: "orphaned by somebody", before: having(statefulSetMode), acts: []deed{deleteSet("Orphan")}, keepsPods: true},
		{
			name: "managedFields are reset", before: having(deploymentMode),
			acts: []deed{foreign("Service", "backup", "", func(u *unstructured.Unstructured) {
				_ = unstructured.SetNestedSlice(u.Object, []any{map[string]any{}}, "metadata", "managedFields")
			})},
		},
		{name: "replicas are yielded", before: having(statefulSetMode), acts: []deed{scaled}, says: yields, check: replicasAre(5)},
		{
			name: "replicas are taken back", before: then(having(statefulSetMode), scaled), acts: []deed{set(int64(3), "spec", "replicas")}, check: replicasAre(3),
		},
		{
			name: "yielded while it is made anew", before: then(having(statefulSetMode), scaled), acts: []deed{set("other", "spec", "serviceName")},
			says: yields, check: replicasAre(5), keepsPods: true, remade: map[string]int{"statefulset/a-collector": 1},
		},
	}
}

func deleteSet(propagation string) deed {
	return func(w *world) error {
		_, err := w.delete(ID{"apps", "StatefulSet", "ns", workloadOfA}, "", metav1.DeletionPropagation(propagation))
		return err
	}
}

func replicasAre(want int64) func(*outcome) error {
	return func(r *outcome) error {
		set := r.world.get(ID{"apps", "StatefulSet", "ns", workloadOfA})
		if n := intAt(set, "spec", "replicas"); n != want {
			return fmt.Errorf("there are %d replicas, want %d", n, want)
		}
		return nil
	}
}

func (r *outcome) tells(words ...string) error {
	if !slices.ContainsFunc(r.told, func(told string) bool {
		for _, w := range words {
			if !strings.Contains(told, w) {
				return false
			}
		}
		return true
	}) && r.fault.kind == faultNone {
		return fmt.Errorf("no Event tells of %v: %q", words, r.told)
	}
	return nil
}
