package monitor

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const feedNamespaces = "namespaces"

// need starts the feeds that a selection depends on and that are not there yet. They stay to the end: another selection may
// need them. It is called with the mutex held.
func (w *Watcher) need(m *matcher) {
	if w.running == nil {
		return
	}
	for k := range kinds {
		if !m.wants(k) {
			continue
		}
		for _, namespace := range w.namespaces {
			w.start(feedKey{k.plural(), namespace}, func(key feedKey) *feed { return w.objectFeed(k, key) })
		}
	}
	if w.needsNamespaces(m) {
		for _, namespace := range w.namespaces {
			w.start(feedKey{feedNamespaces, namespace}, w.namespaceFeed)
		}
	}
}

// depends are the feeds that a selection depends on.
func (w *Watcher) depends(m *matcher) []feedKey {
	var out []feedKey
	for _, namespace := range w.namespaces {
		for k := range kinds {
			if m.wants(k) {
				out = append(out, feedKey{k.plural(), namespace})
			}
		}
		if w.needsNamespaces(m) {
			out = append(out, feedKey{feedNamespaces, namespace})
		}
	}
	return out
}

// feedsReady says whether everything that a selection depends on is known.
func (w *Watcher) feedsReady(sub *subscription) bool {
	return !slices.ContainsFunc(w.depends(sub.matcher), func(key feedKey) bool { return !w.decided(w.feeds[key], sub) })
}

// decided says whether it is known what a feed has. That it is forbidden tells a selection without a result nothing for a while: a role
// that is about to be applied must not take away jobs that collectors have from a process before this one.
func (w *Watcher) decided(status *feedStatus, sub *subscription) bool {
	switch {
	case status == nil || status.state == feedStarting:
		return false
	case status.state == feedForbidden && sub.last == nil:
		return status.known || !w.clock.Now().Before(w.rightsEnd(status))
	default:
		return true
	}
}

// rightsEnd is when being forbidden is taken for an answer.
func (w *Watcher) rightsEnd(status *feedStatus) time.Time { return status.asked.Add(w.forRights) }

func (*Watcher) needsNamespaces(m *matcher) bool {
	for k := range kinds {
		if m.byNamespaceLabels(k) {
			return true
		}
	}
	return false
}

func (w *Watcher) start(key feedKey, build func(feedKey) *feed) {
	if w.feeds[key] != nil {
		return
	}
	w.feeds[key] = &feedStatus{asked: w.clock.Now()}
	w.launch(w.running, build(key))
}

// launch runs a feed.
func (w *Watcher) launch(ctx context.Context, f *feed) {
	f.clock, f.log = w.clock, w.log
	w.started.Go(func() { f.run(ctx) })
}

func (w *Watcher) setFeed(key feedKey, state feedState, err error) {
	w.mu.Lock()
	if status := w.feeds[key]; status != nil {
		status.state, status.err = state, err
		status.known = status.known || state == feedSynced
	}
	w.mu.Unlock()
	w.poke()
}

func (w *Watcher) objectFeed(k kind, key feedKey) *feed {
	f := w.options.Clients.contentFeed(k.resource(), key.namespace)
	f.transform = transform(k)
	f.report = func(state feedState, err error) {
		if state == feedMissing {
			w.drop(k, key.namespace)
		}
		w.setFeed(key, state, err)
	}
	f.changed = w.objectChanged
	return f
}

// objectChanged takes in that an object is new, different or gone.
func (w *Watcher) objectChanged(was, is any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, ok := is.(*object)
	if !ok {
		if old, ok := was.(*object); ok {
			delete(w.objects, old.key())
			w.poke()
		}
		return
	}
	known := w.objects[now.key()]
	if known != nil && known.same(now) {
		return
	}
	now.since = w.passes
	if known != nil {
		now.since = known.since
	}
	w.objects[now.key()] = now
	w.poke()
}

// drop forgets the objects of a kind, in a namespace or in all.
func (w *Watcher) drop(k kind, namespace string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key := range w.objects {
		if key.kind == k && (namespace == metav1.NamespaceAll || namespace == key.namespace) {
			delete(w.objects, key)
		}
	}
}

func (w *Watcher) namespaceFeed(key feedKey) *feed {
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	f := w.options.Clients.metadataFeed(gvr, "", key.namespace)
	f.transform = slim
	f.report = func(state feedState, err error) { w.setFeed(key, state, err) }
	f.changed = func(was, is any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if now, ok := is.(*metav1.PartialObjectMetadata); ok {
			w.labels[now.Name] = now.Labels
		} else if old, ok := was.(*metav1.PartialObjectMetadata); ok {
			delete(w.labels, old.Name)
		}
		w.poke()
	}
	return f
}

// slim keeps of metadata what is needed of it.
func slim(o any) (any, error) {
	m, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return o, nil
	}
	return &metav1.PartialObjectMetadata{TypeMeta: m.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion, Labels: m.Labels,
	}}, nil
}

// namespaceLabels are those of a namespace. Where they can't be read, a namespace has only the label that all of them have.
func (w *Watcher) namespaceLabels(namespace string) labels.Set {
	if known, ok := w.labels[namespace]; ok {
		return known
	}
	if status := w.statusOf(feedNamespaces, namespace); status != nil && status.state == feedForbidden {
		return labels.Set{labelNamespaceName: namespace}
	}
	return nil
}

// labelNamespaceName is the label with which the API server labels every namespace, https://kep.k8s.io/2161.
const labelNamespaceName = "kubernetes.io/metadata.name"

// statusOf the feed that a namespace's objects come from.
func (w *Watcher) statusOf(what, namespace string) *feedStatus {
	if status := w.feeds[feedKey{what, namespace}]; status != nil {
		return status
	}
	return w.feeds[feedKey{what, metav1.NamespaceAll}]
}

func (w *Watcher) assetChanged(key assetKey) {
	w.mu.Lock()
	w.changed[key] = true
	w.mu.Unlock()
	w.poke()
}

// watchAssets watches the metadata of Secrets and ConfigMaps in the namespaces in which some are referred to, and stops where none is any
// more. It is called with the mutex held.
func (w *Watcher) watchAssets(used map[assetKey]bool) {
	want := map[feedKey]bool{}
	for key := range used {
		want[feedKey{key.kind, key.namespace}] = true
	}
	for key := range want {
		if w.watched[key] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(w.running)
		w.watched[key] = cancel
		w.feeds[key] = &feedStatus{}
		w.launch(ctx, w.assetFeed(key))
	}
	for key, cancel := range w.watched {
		if !want[key] {
			cancel()
			delete(w.watched, key)
			delete(w.feeds, key)
		}
	}
}

func (w *Watcher) assetFeed(key feedKey) *feed {
	resource := "secrets"
	if key.what == kindConfigMap {
		resource = "configmaps"
	}
	f := w.options.Clients.metadataFeed(schema.GroupVersionResource{Version: "v1", Resource: resource}, key.namespace, "")
	f.transform = slimVersion
	f.report = func(state feedState, err error) { w.setFeed(key, state, err) }
	f.changed = func(was, is any) {
		if now, ok := is.(*metav1.PartialObjectMetadata); ok {
			w.assets.seen(assetKey{key.what, now.Namespace, now.Name}, now.ResourceVersion)
		} else if old, ok := was.(*metav1.PartialObjectMetadata); ok {
			w.assets.seen(assetKey{key.what, old.Namespace, old.Name}, "")
		}
	}
	f.synced = func(all []any) {
		versions := make(map[string]string, len(all))
		for _, o := range all {
			if m, ok := o.(*metav1.PartialObjectMetadata); ok {
				versions[m.Name] = m.ResourceVersion
			}
		}
		w.assets.synced(key.what, key.namespace, versions)
	}
	return f
}

// slimVersion keeps nothing but who it is and its version.
func slimVersion(o any) (any, error) {
	m, ok := o.(*metav1.PartialObjectMetadata)
	if !ok {
		return o, nil
	}
	return &metav1.PartialObjectMetadata{TypeMeta: m.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, ResourceVersion: m.ResourceVersion,
	}}, nil
}
