package member

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

func podInformer(client kubernetes.Interface, namespace string, selector labels.Selector) cache.SharedIndexInformer {
	pods := client.CoreV1().Pods(namespace)
	chosen := func(o metav1.ListOptions) metav1.ListOptions {
		o.LabelSelector = selector.String()
		return o
	}
	return informer(client, &corev1.Pod{}, slimPod,
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return pods.List(ctx, chosen(o))
		},
		func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return pods.Watch(ctx, chosen(o))
		},
	)
}

func setInformer(client kubernetes.Interface, namespace, name string) cache.SharedIndexInformer {
	sets := client.AppsV1().StatefulSets(namespace)
	chosen := func(o metav1.ListOptions) metav1.ListOptions {
		if name != "" {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
		}
		return o
	}
	return informer(client, &appsv1.StatefulSet{}, slimSet,
		func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return sets.List(ctx, chosen(o))
		},
		func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return sets.Watch(ctx, chosen(o))
		},
	)
}

func informer(
	client kubernetes.Interface, of runtime.Object, slim cache.TransformFunc, list cache.ListWithContextFunc, watch cache.WatchFuncWithContext,
) cache.SharedIndexInformer {
	lw := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{ListWithContextFunc: list, WatchFuncWithContext: watch}, client)
	i := cache.NewSharedIndexInformer(lw, of, 0, cache.Indexers{})
	_ = i.SetTransform(slim) // fails for those that are running only
	return i
}

// slimPod keeps of a pod what membership depends on.
func slimPod(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	out := &corev1.Pod{Spec: corev1.PodSpec{NodeName: pod.Spec.NodeName}}
	out.ObjectMeta = slimMeta(&pod.ObjectMeta)
	out.DeletionTimestamp, out.DeletionGracePeriodSeconds = pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		out.OwnerReferences = []metav1.OwnerReference{*owner}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Status.Conditions = []corev1.PodCondition{{Type: c.Type, Status: c.Status, LastTransitionTime: c.LastTransitionTime}}
		}
	}
	return out, nil
}

func slimSet(obj any) (any, error) {
	set, ok := obj.(*appsv1.StatefulSet)
	if !ok {
		return obj, nil
	}
	out := &appsv1.StatefulSet{ObjectMeta: slimMeta(&set.ObjectMeta)}
	out.DeletionTimestamp = set.DeletionTimestamp
	out.Spec.Replicas, out.Spec.Ordinals = set.Spec.Replicas, set.Spec.Ordinals
	out.Spec.PodManagementPolicy = set.Spec.PodManagementPolicy
	out.Spec.Template.Labels = set.Spec.Template.Labels
	return out, nil
}

func slimMeta(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion, CreationTimestamp: m.CreationTimestamp,
	}
}

// podOf is what a pod means to membership.
func podOf(pod *corev1.Pod) Pod {
	p := Pod{Name: pod.Name, Node: pod.Spec.NodeName, Created: pod.CreationTimestamp.Time, Since: pod.CreationTimestamp.Time}
	if owner := metav1.GetControllerOfNoCopy(pod); owner != nil {
		p.OwnerKind, p.OwnerName = owner.Kind, owner.Name
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			p.Ready, p.Since = c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	if at := pod.DeletionTimestamp; at != nil {
		// It is when the pod has to be gone: the grace period after it was asked to go (k8s.io/apimachinery, ObjectMeta).
		p.Deleted = at.Time
		if grace := pod.DeletionGracePeriodSeconds; grace != nil {
			p.Deleted = at.Add(-time.Duration(*grace) * time.Second)
		}
	}
	return p
}

// rangeOf is what a StatefulSet's spec says, if its pods are chosen. The pods of one that is about to go speak for themselves.
func rangeOf(obj any, selector labels.Selector) (string, Range, bool) {
	set, ok := obj.(*appsv1.StatefulSet)
	if !ok || set.DeletionTimestamp != nil || !selector.Matches(labels.Set(set.Spec.Template.Labels)) {
		return "", Range{}, false
	}
	r := Range{Replicas: 1, Ordered: set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement}
	if set.Spec.Replicas != nil {
		r.Replicas = *set.Spec.Replicas
	}
	if set.Spec.Ordinals != nil {
		r.Start = set.Spec.Ordinals.Start
	}
	return set.Name, r, true
}

// failed says what is wrong in a way that tells what to do; the informer tries again by itself. Without StatefulSets there are still
// their pods to go by.
func (w *Watcher) failed(of cache.SharedIndexInformer) cache.WatchErrorHandlerWithContext {
	return func(ctx context.Context, r *cache.Reflector, err error) {
		switch {
		case of == w.sets && errors.IsForbidden(err):
			if !w.noSets.Swap(true) {
				w.o.Log.Warn("not allowed to watch statefulsets: members are told by their pods, and leave later than they could",
					"namespace", w.o.Namespace, "error", err)
			}
			w.wake()
		case errors.IsForbidden(err):
			why := fmt.Sprintf("the right to list and watch pods in namespace %s", w.o.Namespace)
			if w.blocked.Swap(&why) == nil {
				w.o.Log.Error("not allowed to watch the collectors' pods", "namespace", w.o.Namespace, "error", err)
			}
		default:
			cache.DefaultWatchErrorHandler(ctx, r, err)
		}
	}
}
