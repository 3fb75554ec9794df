package reconcile

import (
	"log/slog"
	"maps"
	"strconv"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/otelier/otelier/crds"
)

// feed brings the events of a world to a liveCache, in place of its informers: at once, late, or not at all until it lists anew.
type feed struct {
	*liveCache
	world    *world
	selector labels.Selector
	notify   func(types.NamespacedName)
	next     []int        // of each watch, the first event that has not come
	held     map[int]bool // watches that nothing comes to for now
	closed   map[int]bool // watches whose events are lost
	slimmed  *slimmed     // what objects become on their way
	lock     sync.Mutex   // of all this: calls of one stage are concurrent
}

// slimmed are objects as the cache holds them. Stored objects are never modified, so that their address names them.
type slimmed struct {
	mu   sync.Mutex
	done map[*unstructured.Unstructured]*unstructured.Unstructured
}

func (s *slimmed) clone() *slimmed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &slimmed{done: maps.Clone(s.done)}
}

func (s *slimmed) of(w watch, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if out := s.done[u]; out != nil {
		return out, nil
	}
	var in any = u.DeepCopy()
	if k, ok := crds.KindOf(w.kind.GroupKind()); ok && k.MetadataOnly {
		m := &metav1.PartialObjectMetadata{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{
			"apiVersion": u.GetAPIVersion(), "kind": u.GetKind(), "metadata": runtime.DeepCopyJSON(u.Object)["metadata"],
		}, m); err != nil {
			return nil, err
		}
		in = m
	}
	out, err := slim(w.kind)(in)
	if err != nil {
		return nil, err
	}
	s.done[u] = out.(*unstructured.Unstructured)
	return s.done[u], nil
}

// newFeed lists everything. notify is told whose collectors something happened to.
func newFeed(w *world, slims *slimmed, notify func(types.NamespacedName)) (*feed, error) {
	dyn := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme())
	md := metadatafake.NewSimpleMetadataClient(metadatafake.NewTestScheme())
	live, err := newCache(dyn, md, nil, func(types.NamespacedName) {}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	selector, err := labels.Parse(crds.OwnedSelector())
	if err != nil {
		return nil, err
	}
	f := &feed{
		liveCache: live, world: w, selector: selector, notify: notify, next: make([]int, len(live.all())),
		held: map[int]bool{}, closed: map[int]bool{}, slimmed: slims,
	}
	for i := range f.all() {
		f.closed[i] = true
	}
	return f, f.resume()
}

// watched is u as a watch sees it: nil when it is not selected.
func (f *feed) watched(w watch, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if u == nil || u.GroupVersionKind() != w.kind || (w.kind.Kind != crds.Kind && !f.selector.Matches(labels.Set(u.GetLabels()))) {
		return nil, nil
	}
	return f.slimmed.of(w, u)
}

// hold keeps events from coming to the watches that which chooses. If they are lost, resume lists anew.
func (f *feed) hold(lost bool, which func(watch) bool) {
	f.lock.Lock()
	defer f.lock.Unlock()
	for i, w := range f.all() {
		if which(w) {
			f.held[i] = true
			f.closed[i] = lost
		}
	}
}

func (f *feed) waits() bool {
	f.lock.Lock()
	defer f.lock.Unlock()
	return len(f.held) > 0
}

// resume ends a hold.
func (f *feed) resume() error {
	f.lock.Lock()
	defer f.lock.Unlock()
	clear(f.held)
	for i, w := range f.all() {
		if f.closed[i] {
			if err := f.relist(i, w); err != nil {
				return err
			}
		}
	}
	clear(f.closed)
	return nil
}

func (f *feed) relist(i int, w watch) error {
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	var list []any
	for _, u := range f.world.objects {
		is, err := f.watched(w, u)
		if err != nil {
			return err
		}
		if is != nil {
			list = append(list, is)
			f.tell(w, is)
		}
	}
	for _, was := range w.informer.GetStore().List() {
		f.tell(w, was.(*unstructured.Unstructured))
	}
	if err := w.informer.GetIndexer().Replace(list, strconv.FormatInt(f.world.version, 10)); err != nil {
		return err
	}
	f.next[i] = len(f.world.events)
	return nil
}

func (f *feed) tell(w watch, u *unstructured.Unstructured) {
	for _, key := range f.concerned(w, u) {
		f.notify(key)
	}
}

// deliver brings what has happened to all watches that are not held.
func (f *feed) deliver() error {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	for i, w := range f.all() {
		if f.held[i] {
			continue
		}
		for ; f.next[i] < len(f.world.events); f.next[i]++ {
			if err := f.bring(w, f.world.events[f.next[i]]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *feed) bring(w watch, e event) error {
	if e.id.Kind != w.kind.Kind || e.id.Group != w.kind.Group {
		return nil
	}
	was, err := f.watched(w, e.was)
	if err != nil {
		return err
	}
	is, err := f.watched(w, e.is)
	if err != nil {
		return err
	}
	index := w.informer.GetIndexer()
	switch {
	case is != nil:
		err = index.Update(is)
	case was != nil:
		err = index.Delete(was)
	}
	index.Bookmark(strconv.FormatInt(e.version, 10))
	if was != nil && is != nil && w.kind == crds.PodKind().GVK && !podChanged(was, is) {
		return err
	}
	for _, u := range []*unstructured.Unstructured{was, is} {
		if u != nil {
			f.tell(w, u)
		}
	}
	return err
}

func newSlimmed() *slimmed {
	return &slimmed{done: map[*unstructured.Unstructured]*unstructured.Unstructured{}}
}
