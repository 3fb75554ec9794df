package reconcile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/otelier/otelier/crds"
)

// world is a cluster in memory: the API server's own algorithm of server-side apply over its own schemas, resourceVersions, UIDs,
// generations, preconditions, finalizers, dry runs, and the validations that decide between changing and replacing. What is missing is
// named where it would be: there is no authorization, and only the defaults that the tests depend on.
type world struct {
	managers *fieldManagers
	clock    *testclock.FakeClock

	mu      sync.Mutex
	objects map[ID]*unstructured.Unstructured // never modified in place
	version int64
	uids    int
	rested  int64 // version at which the controllers had nothing left to do
	events  []event
	// webhook changes what was applied before it is stored, as mutating admission does: without a trace in managedFields.
	webhook func(*unstructured.Unstructured)
	// refuse is validating admission.
	refuse func(*unstructured.Unstructured) error
}

// event is a change of one object: was is nil when it was created, is when it was deleted.
type event struct {
	id      ID
	version int64
	was, is *unstructured.Unstructured
}

func newWorld() *world { return newWorldOf(newFieldManagers()) }

func newWorldOf(managers *fieldManagers) *world {
	return &world{managers: managers, clock: testclock.NewFakeClock(epoch()), objects: map[ID]*unstructured.Unstructured{}, version: 100}
}

// clone is a world that goes its own way from here. Nobody may be watching the original.
func (w *world) clone() *world {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &world{
		managers: w.managers, clock: testclock.NewFakeClock(w.clock.Now()), objects: maps.Clone(w.objects), version: w.version, uids: w.uids, rested: w.rested,
		webhook: w.webhook, refuse: w.refuse,
	}
}

// fieldManagers are those of the API server, by kind and subresource.
type fieldManagers struct {
	types managedfields.TypeConverter
	mu    sync.Mutex
	made  map[string]*managedfields.FieldManager
}

func newFieldManagers() *fieldManagers {
	return &fieldManagers{types: applyconfigurations.NewTypeConverter(scheme.Scheme), made: map[string]*managedfields.FieldManager{}}
}

func (m *fieldManagers) of(gvk schema.GroupVersionKind, subresource string) *managedfields.FieldManager {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := gvk.String() + "/" + subresource
	if m.made[key] != nil {
		return m.made[key]
	}
	converter := m.types
	if gvk.Kind == crds.Kind {
		converter = managedfields.NewDeducedTypeConverter()
	}
	reset := fieldpath.NewSet(fieldpath.MakePathOrDie("status"))
	if subresource == "status" {
		reset = fieldpath.NewSet(fieldpath.MakePathOrDie("spec"))
	}
	version := fieldpath.APIVersion(gvk.GroupVersion().String())
	made, err := managedfields.NewDefaultFieldManager(converter, sameVersion{}, defaulter{}, maker{}, gvk, gvk.GroupVersion(), subresource,
		fieldpath.NewExcludeFilterSetMap(map[fieldpath.APIVersion]*fieldpath.Set{version: reset}))
	if err != nil {
		panic(err) // only of a nil converter
	}
	m.made[key] = made
	return made
}

type sameVersion struct{}

func (sameVersion) Convert(any, any, any) error { return fmt.Errorf("not supported") }
func (sameVersion) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (sameVersion) ConvertFieldLabel(schema.GroupVersionKind, string, string) (string, string, error) {
	return "", "", fmt.Errorf("not supported")
}

type maker struct{}

func (maker) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(gvk)
	return u, nil
}

type defaulter struct{}

func (defaulter) Default(obj runtime.Object) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		setDefaults(u)
	}
}

// setDefaults sets some of the API server's defaults: those that replicas and immutable fields fall back to, and enough others for a
// live object to hold what nobody has applied.
func setDefaults(u *unstructured.Unstructured) {
	set := func(value any, path ...string) {
		if _, there, _ := unstructured.NestedFieldNoCopy(u.Object, path...); !there {
			_ = unstructured.SetNestedField(u.Object, value, path...)
		}
	}
	switch u.GetKind() {
	case "Deployment":
		set(int64(1), "spec", "replicas")
		set(int64(10), "spec", "revisionHistoryLimit")
		set("Always", "spec", "template", "spec", "restartPolicy")
	case "DaemonSet":
		set("RollingUpdate", "spec", "updateStrategy", "type")
		set("Always", "spec", "template", "spec", "restartPolicy")
	case "StatefulSet":
		set(int64(1), "spec", "replicas")
		set("OrderedReady", "spec", "podManagementPolicy")
		set("RollingUpdate", "spec", "updateStrategy", "type")
		set("Always", "spec", "template", "spec", "restartPolicy")
	case "Service":
		set("ClusterIP", "spec", "type")
		set("None", "spec", "sessionAffinity")
		set("10.0.0.1", "spec", "clusterIP")
	}
}

func (w *world) get(id ID) *unstructured.Unstructured {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.objects[id]
}

func resourceOf(id ID) schema.GroupResource {
	if id.Kind == crds.Kind {
		return crds.CollectorResource().GroupResource()
	}
	k, _ := crds.KindOf(schemaGroupKind(id))
	return k.GVR().GroupResource()
}

// apply is server-side apply, forced. It returns the object as it is then, and whether that is a change.
func (w *world) apply(u *unstructured.Unstructured, manager, subresource string, dryRun bool) (*unstructured.Unstructured, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := idOf(u)
	live := w.objects[id]
	switch {
	case live == nil && subresource != "":
		return nil, false, apierrors.NewNotFound(resourceOf(id), id.Name)
	case live == nil && u.GetUID() != "":
		return nil, false, apierrors.NewConflict(resourceOf(id), id.Name, fmt.Errorf("uid mismatch: no existing object was found"))
	case live != nil && u.GetUID() != "" && u.GetUID() != live.GetUID():
		return nil, false, apierrors.NewConflict(resourceOf(id), id.Name, fmt.Errorf("uid mismatch: %s, not %s", live.GetUID(), u.GetUID()))
	}
	if v := u.GetResourceVersion(); v != "" && (live == nil || v != live.GetResourceVersion()) {
		return nil, false, apierrors.NewConflict(resourceOf(id), id.Name, fmt.Errorf("the object has been modified"))
	}
	base, _ := maker{}.New(u.GroupVersionKind())
	if live != nil {
		base = live.DeepCopy()
	}
	applied, err := w.managers.of(u.GroupVersionKind(), subresource).Apply(base, u.DeepCopy(), manager, true)
	if apierrors.IsBadRequest(err) {
		return nil, false, err
	} else if err != nil {
		return nil, false, apierrors.NewInternalError(err)
	}
	next := applied.(*unstructured.Unstructured)
	dropNulls(next.Object)
	if w.webhook != nil && subresource == "" {
		w.webhook(next)
	}
	return w.store(live, next, subresource, dryRun)
}

// dropNulls leaves out what the Go types of the API server do: what structured-merge-diff makes null when the last field below it goes.
func dropNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, w := range v {
			if w == nil {
				delete(v, k)
			} else {
				dropNulls(w)
			}
		}
	case []any:
		for _, w := range v {
			dropNulls(w)
		}
	}
}

// update is a PUT of what change makes of an object, or of a subresource of it.
func (w *world) update(id ID, manager, subresource string, change func(*unstructured.Unstructured)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	live := w.objects[id]
	if live == nil {
		return apierrors.NewNotFound(resourceOf(id), id.Name)
	}
	next := live.DeepCopy()
	change(next)
	setDefaults(next)
	if untracked(id, manager, subresource) {
		_, _, err := w.store(live, next, subresource, false)
		return err
	}
	updated, err := w.managers.of(live.GroupVersionKind(), subresource).Update(live.DeepCopy(), next, manager)
	if err != nil {
		return err
	}
	_, _, err = w.store(live, updated.(*unstructured.Unstructured), subresource, false)
	return err
}

// untracked is what controllers write often and nobody else owns: that managedFields don't tell of it saves much time.
func untracked(id ID, manager, subresource string) bool {
	return manager == gcManager && (subresource == "status" || id.Kind == "Pod")
}

// create is a POST.
func (w *world) create(u *unstructured.Unstructured, manager string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.objects[idOf(u)] != nil {
		return apierrors.NewAlreadyExists(resourceOf(idOf(u)), u.GetName())
	}
	next := u.DeepCopy()
	setDefaults(next)
	if untracked(idOf(u), manager, "") {
		_, _, err := w.store(nil, next, "", false)
		return err
	}
	empty, _ := maker{}.New(u.GroupVersionKind())
	made, err := w.managers.of(u.GroupVersionKind(), "").Update(empty, next, manager)
	if err != nil {
		return err
	}
	_, _, err = w.store(nil, made.(*unstructured.Unstructured), "", false)
	return err
}

// store validates what live is to become, and makes it so unless it is the same. It returns a copy.
func (w *world) store(live, next *unstructured.Unstructured, subresource string, dryRun bool) (*unstructured.Unstructured, bool, error) {
	if live == nil {
		next.SetUID("")
	} else {
		keepStored(live, next, subresource)
		if sameButTimes(live, next) {
			return live.DeepCopy(), false, nil
		}
	}
	if err := w.validate(live, next); err != nil {
		return nil, false, err
	}
	switch {
	case live == nil:
		w.uids++
		next.SetUID(types.UID("uid-" + strconv.Itoa(w.uids)))
		next.SetCreationTimestamp(metav1.NewTime(w.clock.Now()))
		next.SetGeneration(1)
	case !sameButTimes(contentOf(live), contentOf(next)):
		next.SetGeneration(live.GetGeneration() + 1)
	}
	if dryRun {
		return next.DeepCopy(), true, nil
	}
	if next.GetDeletionTimestamp() != nil && len(next.GetFinalizers()) == 0 {
		return w.remove(live).DeepCopy(), true, nil
	}
	w.put(next)
	return next.DeepCopy(), true, nil
}

func (w *world) put(u *unstructured.Unstructured) {
	w.version++
	u.SetResourceVersion(strconv.FormatInt(w.version, 10))
	id := idOf(u)
	w.events = append(w.events, event{id, w.version, w.objects[id], u})
	w.objects[id] = u
}

func (w *world) remove(u *unstructured.Unstructured) *unstructured.Unstructured {
	w.version++
	id := idOf(u)
	last := w.objects[id].DeepCopy()
	last.SetResourceVersion(strconv.FormatInt(w.version, 10))
	w.events = append(w.events, event{id, w.version, last, nil})
	delete(w.objects, id)
	return last
}

// delete is a DELETE. It tells whether that is a change.
func (w *world) delete(id ID, uid types.UID, propagation metav1.DeletionPropagation) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	live := w.objects[id]
	switch {
	case live == nil:
		return false, apierrors.NewNotFound(resourceOf(id), id.Name)
	case uid != "" && uid != live.GetUID():
		return false, apierrors.NewConflict(resourceOf(id), id.Name, fmt.Errorf("the UID in the precondition is %s, that of the object %s", uid, live.GetUID()))
	}
	next := live.DeepCopy()
	if propagation == metav1.DeletePropagationOrphan && !slices.Contains(next.GetFinalizers(), metav1.FinalizerOrphanDependents) {
		next.SetFinalizers(append(next.GetFinalizers(), metav1.FinalizerOrphanDependents))
	}
	if len(next.GetFinalizers()) == 0 {
		w.remove(live)
		return true, nil
	}
	if next.GetDeletionTimestamp() == nil {
		next.SetDeletionTimestamp(new(metav1.NewTime(w.clock.Now())))
	}
	if sameButTimes(live, next) {
		return false, nil
	}
	w.put(next)
	return true, nil
}

// of are the objects of a kind, by name.
func (w *world) of(kind string) []*unstructured.Unstructured {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ofKind(kind)
}

func (w *world) ofKind(kind string) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for id, u := range w.objects {
		if id.Kind == kind {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}

// mustDo fails the test when a step of its preparation fails.
func mustDo(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// objectFrom reads one from JSON, with the numbers as the API machinery has them.
func objectFrom(t testing.TB, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	mustDo(t, u.UnmarshalJSON([]byte(text)))
	return u
}

// pretty is for messages.
func pretty(v any) string {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func epoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
