package monitor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
)

// rig is a Watcher on an API server in memory.
type rig struct {
	t        *testing.T
	dynamic  *dynamicfake.FakeDynamicClient
	metadata *metadatafake.FakeMetadataClient
	core     *fake.Clientset
	recorder *events.FakeRecorder
	watcher  *Watcher

	mu      sync.Mutex
	refuse  map[string]error // answer to lists of a resource, by its plural
	gets    int              // of Secrets and ConfigMaps
	failGet error
	version int
	watches []watch.Interface
}

// hangUp ends all watches of custom resources, as an API server may at any time.
func (r *rig) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.watches {
		w.Stop()
	}
	r.watches = nil
}

// impatient is a clock on which time passes 20 times as fast: the waits are the product's own, and the test does not wait for them.
type impatient struct {
	clock.RealClock
	start time.Time
}

const haste = 20

func (impatient) NewTimer(d time.Duration) clock.Timer {
	return hurried{clock.RealClock{}.NewTimer(d / haste)}
}

type hurried struct{ clock.Timer }

func (h hurried) Reset(d time.Duration) bool { return h.Timer.Reset(d / haste) }

func (i impatient) Now() time.Time                  { return i.start.Add(time.Since(i.start) * haste) }
func (i impatient) Since(t time.Time) time.Duration { return i.Now().Sub(t) }

func newRig(t *testing.T, namespaces ...string) *rig {
	t.Helper()
	lists := map[schema.GroupVersionResource]string{}
	for k := range kinds {
		lists[k.resource()] = k.String() + "List"
	}
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists),
		metadata: metadatafake.NewSimpleMetadataClient(scheme), core: fake.NewClientset(), recorder: events.NewFakeRecorder(1000),
		refuse: map[string]error{},
	}
	refuse := func(a clienttesting.Action) (bool, runtime.Object, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		err := r.refuse[a.GetResource().Resource]
		return err != nil, nil, err
	}
	r.dynamic.PrependReactor("list", "*", refuse)
	r.dynamic.PrependWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
		w, err := r.dynamic.Tracker().Watch(a.GetResource(), a.GetNamespace())
		r.mu.Lock()
		defer r.mu.Unlock()
		r.watches = append(r.watches, w)
		return true, w, err
	})
	r.metadata.PrependReactor("list", "*", refuse)
	r.core.PrependReactor("get", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.gets++
		return r.failGet != nil, nil, r.failGet
	})
	r.watcher = New(Options{
		Clients:    Clients{r.dynamic, r.metadata, r.core.CoreV1(), r.core.CoreV1()},
		Namespaces: namespaces, Recorder: r.recorder, Clock: impatient{start: time.Now()}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	return r
}

func (r *rig) run() {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.watcher.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.t.Errorf("Run: %v", err)
			}
		case <-time.After(30 * time.Second):
			r.t.Error("Run did not return within 30 s of the end of its context")
		}
	})
}

func (r *rig) answer(resource string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse[resource] = err
}

func (r *rig) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failGet = err
}

func (r *rig) fetched() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gets
}

func (r *rig) next() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version++
	return fmt.Sprint(r.version)
}

// apply creates or replaces a custom resource.
func (r *rig) apply(k kind, o *unstructured.Unstructured) {
	r.t.Helper()
	o = o.DeepCopy()
	o.SetGroupVersionKind(k.resource().GroupVersion().WithKind(k.String()))
	o.SetResourceVersion(r.next())
	o.SetUID(types.UID(o.GetNamespace() + "/" + o.GetName()))
	client := r.dynamic.Resource(k.resource()).Namespace(o.GetNamespace())
	_, err := client.Create(r.t.Context(), o, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = client.Update(r.t.Context(), o, metav1.UpdateOptions{})
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) remove(k kind, namespace, name string) {
	r.t.Helper()
	if err := r.dynamic.Resource(k.resource()).Namespace(namespace).Delete(r.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) secret(namespace, name string, data map[string]string) {
	r.t.Helper()
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, ResourceVersion: r.next()}, Data: map[string][]byte{},
	}
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	gvr := schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	err := r.core.Tracker().Create(gvr, s, namespace)
	if apierrors.IsAlreadyExists(err) {
		err = r.core.Tracker().Update(gvr, s, namespace)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.put("secrets", "Secret", s.ObjectMeta)
}

func (r *rig) namespace(name string, labels map[string]string) {
	r.t.Helper()
	r.put("namespaces", "Namespace", metav1.ObjectMeta{Name: name, Labels: labels, ResourceVersion: r.next()})
}

// put is for what the metadata client sees.
func (r *rig) put(resource, kind string, meta metav1.ObjectMeta) {
	r.t.Helper()
	gvr := schema.GroupVersionResource{Version: "v1", Resource: resource}
	o := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind}, ObjectMeta: meta}
	err := r.metadata.Tracker().Create(gvr, o, meta.Namespace)
	if apierrors.IsAlreadyExists(err) {
		err = r.metadata.Tracker().Update(gvr, o, meta.Namespace)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// listener keeps what a subscription was told.
type listener struct {
	t    *testing.T
	mu   sync.Mutex
	all  []Result
	more chan struct{}
}

func (r *rig) subscribe(s Selection) *listener {
	l := &listener{t: r.t, more: make(chan struct{}, 1)}
	r.t.Cleanup(r.watcher.Subscribe(s, func(result Result) {
		l.mu.Lock()
		l.all = append(l.all, result)
		l.mu.Unlock()
		select {
		case l.more <- struct{}{}:
		default:
		}
	}))
	return l
}

func (l *listener) last() (Result, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return Result{}, 0
	}
	return l.all[len(l.all)-1], len(l.all)
}

// until waits for a result that is as wanted, and returns it.
func (l *listener) until(what string, ok func(Result) bool) Result {
	l.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		result, n := l.last()
		if n > 0 && ok(result) {
			return result
		}
		select {
		case <-l.more:
		case <-deadline:
			l.t.Fatalf("waited 20 s for %s; after %d results the last is\njobs %v\nproblems %v\nmissing %v",
				what, n, names(result), result.Problems, result.Missing)
		}
	}
}

func (l *listener) untilJobs(want ...string) Result {
	l.t.Helper()
	return l.until("the jobs "+strings.Join(want, ", "), func(r Result) bool { return slices.Equal(names(r), want) })
}

func names(r Result) []string {
	var out []string
	for _, j := range r.Jobs {
		out = append(out, j.Config.JobName)
	}
	return out
}

// everything selects all objects of all kinds.
func everything() Selection {
	all := Selector{Objects: &metav1.LabelSelector{}, Namespaces: &metav1.LabelSelector{}}
	return Selection{ServiceMonitors: all, PodMonitors: all, Probes: all, ScrapeConfigs: all, Namespace: "pools"}
}

// manifest is a custom resource with a spec.
func manifest(namespace, name string, spec map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

func service(namespace, name string, endpoint map[string]any) *unstructured.Unstructured {
	if endpoint == nil {
		endpoint = map[string]any{"port": "web"}
	}
	return manifest(namespace, name, map[string]any{
		"selector": map[string]any{"matchLabels": map[string]any{"app": name}}, "endpoints": []any{endpoint},
	})
}

// static is a ScrapeConfig of a fixed target.
func static(namespace, name string) *unstructured.Unstructured {
	return manifest(namespace, name, map[string]any{"staticConfigs": []any{map[string]any{"targets": []any{name + ":80"}}}})
}

func withPassword(secret string) map[string]any {
	ref := func(key string) map[string]any { return map[string]any{"name": secret, "key": key} }
	return map[string]any{"port": "web", "basicAuth": map[string]any{"username": ref("user"), "password": ref("password")}}
}

func notFound(resource string) error {
	return apierrors.NewNotFound(schema.GroupResource{Group: "monitoring.coreos.com", Resource: resource}, "")
}

func forbidden(resource string) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", fmt.Errorf("no role"))
}
