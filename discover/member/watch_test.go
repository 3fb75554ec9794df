package member

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"

	"github.com/otelier/otelier/allocate"
)

const patience = 20 * time.Second

// cluster is a fake API server, and what a Watcher has told of it.
type cluster struct {
	t       *testing.T
	client  *fake.Clientset
	watcher *Watcher
	log     *slog.Logger

	mu    sync.Mutex
	told  string
	calls int
}

func newCluster(t *testing.T, replicas int32) *cluster {
	c := &cluster{t: t, told: "nothing", log: slog.New(slog.DiscardHandler)}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "ns"}}
	set.Spec.Replicas = &replicas
	set.Spec.Template.Labels = map[string]string{"app": "c"}
	c.client = fake.NewClientset(set)
	for i := range replicas {
		c.putPod(i, true)
	}
	return c
}

func (c *cluster) putPod(i int32, ready bool) {
	c.t.Helper()
	controller := true
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: fmt.Sprintf("c-%d", i), Namespace: "ns", Labels: map[string]string{"app": "c"}, CreationTimestamp: metav1.Now(),
		OwnerReferences: []metav1.OwnerReference{{Kind: KindStatefulSet, Name: "c", Controller: &controller}},
	}}
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.Now()}}
	pods := c.client.CoreV1().Pods("ns")
	_, err := pods.Create(c.t.Context(), pod, metav1.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		_, err = pods.Update(c.t.Context(), pod, metav1.UpdateOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) scale(n int32) {
	c.t.Helper()
	set, err := c.client.AppsV1().StatefulSets("ns").Get(c.t.Context(), "c", metav1.GetOptions{})
	if err == nil {
		set.Spec.Replicas = &n
		_, err = c.client.AppsV1().StatefulSets("ns").Update(c.t.Context(), set, metav1.UpdateOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) start() {
	c.t.Helper()
	w, err := New(Options{
		Client: c.client, Namespace: "ns", Selector: labels.SelectorFromSet(labels.Set{"app": "c"}),
		Notify: func(m []allocate.Member) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.told = names(m)
			c.calls++
		},
		Log: c.log, Clock: clock.RealClock{},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.watcher = w
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	c.t.Cleanup(func() { cancel(); <-done })
}

func (c *cluster) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told
}

func (c *cluster) eventually(want string) {
	c.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); c.last() != want; <-tick.C {
		if time.Now().After(deadline) {
			c.t.Fatalf("members are %q, want %q; waiting for %q", c.last(), want, c.watcher.Waiting())
		}
	}
}

func TestWatcher(t *testing.T) {
	c := newCluster(t, 3)
	c.start()
	c.eventually("0 1 2")
	c.scale(5)
	c.putPod(3, false)
	c.putPod(4, true)
	c.eventually("0 1 2 4")
	c.watcher.Polled("c-3")
	c.eventually("0 1 2 3 4")
	c.watcher.Replicas("c", 2)
	if got := c.last(); got != "0 1" {
		t.Fatalf("after it was announced that two stay, members are %q", got)
	}
	c.scale(2)
	c.putPod(0, false)
	c.putPod(1, false)
	c.eventually("0 1")
	c.watcher.Replicas("c", 4)
	if got := c.last(); got != "0 1" {
		t.Fatalf("after it was announced that two more come, members are %q", got)
	}
}

func TestWatcherWithoutRights(t *testing.T) {
	c := newCluster(t, 2)
	c.client.PrependReactor("list", "statefulsets", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.NewForbidden(appsv1.Resource("statefulsets"), "", nil)
	})
	c.start()
	c.eventually("0 1")
	c.putPod(2, false)
	c.putPod(3, true)
	c.eventually("0 1 3")
}

func TestWatcherKnowsNothing(t *testing.T) {
	c := newCluster(t, 2)
	asked := make(chan struct{})
	var once sync.Once
	c.client.PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		once.Do(func() { close(asked) })
		return true, nil, errors.NewForbidden(corev1.Resource("pods"), "", nil)
	})
	c.start()
	<-asked
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	const want = "the right to list and watch pods in namespace ns"
	for deadline := time.Now().Add(patience); c.watcher.Waiting() != want; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waits for %q, want %q", c.watcher.Waiting(), want)
		}
	}
	c.watcher.Replicas("c", 1)
	if got := c.last(); got != "nothing" {
		t.Fatalf("members are %q before pods were listed", got)
	}
}
