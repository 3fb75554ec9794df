package targets_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/otelier/otelier/e2e/controlplane"
	"github.com/otelier/otelier/e2e/steps"
	"github.com/otelier/otelier/e2e/steps/program"
)

// kubelet runs the pods of a namespace that kwok leaves alone: each is a collector's process, with the configuration, the arguments and the
// environment that its pod would have, that is Ready when it says so and gets its time to end.
type kubelet struct {
	client    kubernetes.Interface
	namespace string
	collector string
	dir       string
	ctx       context.Context // of the pods, whose life is that of the test
	running   sync.WaitGroup

	mu      sync.Mutex
	pods    map[types.UID]*pod
	ready   []change
	crashes []string
}

// pod is a pod that was started.
type pod struct {
	name    string
	stop    context.CancelFunc
	process *program.Process // nil until it is started
}

// change is that of a pod's readiness.
type change struct {
	at    time.Time
	pod   string
	ready bool
}

// startKubelet plays the kubelet in the scene until the test ends. A collector that has ended by itself fails the test then.
func startKubelet(t *testing.T, s *steps.Scene) *kubelet {
	t.Helper()
	config, err := s.Cluster.RESTConfig(steps.UserAgent)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	collector, err := controlplane.EnsureCollector(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	k := &kubelet{client: client, namespace: s.Namespace, collector: collector, dir: t.TempDir(), ctx: ctx, pods: map[types.UID]*pod{}}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(s.Namespace))
	_, err = factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { k.observe(obj.(*corev1.Pod)) },
		UpdateFunc: func(_, obj any) { k.observe(obj.(*corev1.Pod)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(ctx.Done())
	t.Cleanup(func() {
		cancel()
		factory.Shutdown()
		k.running.Wait()
		if len(k.crashes) > 0 {
			t.Errorf("%d collectors have ended by themselves, the first: %s", len(k.crashes), k.crashes[0])
		}
	})
	return k
}

// observe is called for every state of every pod, one after the other.
func (k *kubelet) observe(p *corev1.Pod) {
	name, value, _ := strings.Cut(controlplane.Unplayed, "=")
	if p.Annotations[name] != value || p.Spec.NodeName == "" || k.ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	known := k.pods[p.UID]
	switch {
	case known != nil && p.DeletionTimestamp != nil:
		known.stop()
	case known == nil:
		ctx, stop := context.WithCancel(k.ctx)
		if p.DeletionTimestamp != nil {
			stop()
		}
		known = &pod{name: p.Name, stop: stop}
		k.pods[p.UID] = known
		k.running.Go(func() { k.live(ctx, p, known) })
	}
}

// live is a pod's life, from its binding to a node until it is gone.
func (k *kubelet) live(ctx context.Context, p *corev1.Pod, known *pod) {
	for ctx.Err() == nil {
		if err := k.run(ctx, p, known); err != nil && ctx.Err() == nil {
			k.mu.Lock()
			k.crashes = append(k.crashes, fmt.Sprintf("%s: %v", p.Name, err))
			k.mu.Unlock()
			k.setReady(p, false)
			select { // as a kubelet backs off
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
	if k.ctx.Err() != nil {
		return
	}
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(p.UID))}
	if err := k.client.CoreV1().Pods(p.Namespace).Delete(k.ctx, p.Name, now); err != nil && !apierrors.IsNotFound(err) && k.ctx.Err() == nil {
		k.mu.Lock()
		k.crashes = append(k.crashes, fmt.Sprintf("%s: delete: %v", p.Name, err))
		k.mu.Unlock()
	}
}

// run is one run of a pod's process. It returns when the process has ended.
func (k *kubelet) run(ctx context.Context, p *corev1.Pod, known *pod) error {
	container := p.Spec.Containers[0]
	args, err := k.arguments(ctx, p, container)
	if err != nil {
		return err
	}
	process, err := program.StartWith(k.collector, environmentOf(p, container), args)
	if err != nil {
		return err
	}
	k.mu.Lock()
	known.process = process
	k.mu.Unlock()
	waitErr := process.Wait(ctx, "readiness", func(context.Context) error {
		if !strings.Contains(process.Log(), "Everything is ready") {
			return errors.New("its log does not say that it is ready")
		}
		return nil
	})
	if waitErr == nil {
		k.setReady(p, true)
		select {
		case <-process.Exited():
			waitErr = fmt.Errorf("it has ended with status %d:\n%s", process.ExitCode(), process.Tail())
		case <-ctx.Done():
			k.note(p.Name, false)
		}
	}
	return errors.Join(waitErr, process.Stop())
}

// arguments are the container's, with what its ConfigMaps hold in files of this machine.
func (k *kubelet) arguments(ctx context.Context, p *corev1.Pod, container corev1.Container) ([]string, error) {
	args := slices.Clone(container.Args)
	for _, mount := range container.VolumeMounts {
		i := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		if i < 0 || p.Spec.Volumes[i].ConfigMap == nil {
			continue
		}
		source := p.Spec.Volumes[i].ConfigMap
		data, err := k.client.CoreV1().ConfigMaps(p.Namespace).Get(ctx, source.Name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("volume %s: %w", mount.Name, err)
		}
		dir, err := os.MkdirTemp(k.dir, p.Name+"-")
		if err != nil {
			return nil, err
		}
		for _, item := range source.Items {
			if err := os.WriteFile(filepath.Join(dir, item.Path), []byte(data.Data[item.Key]), 0o600); err != nil {
				return nil, err
			}
		}
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "="+mount.MountPath+"/", "="+dir+"/")
		}
	}
	return args, nil
}

// environmentOf is the container's, as far as it is values and names.
func environmentOf(p *corev1.Pod, container corev1.Container) []string {
	out := program.Environment()
	for _, v := range container.Env {
		switch {
		case v.ValueFrom == nil:
			out = append(out, v.Name+"="+v.Value)
		case v.ValueFrom.FieldRef != nil && v.ValueFrom.FieldRef.FieldPath == "metadata.name":
			out = append(out, v.Name+"="+p.Name)
		case v.ValueFrom.FieldRef != nil && v.ValueFrom.FieldRef.FieldPath == "metadata.namespace":
			out = append(out, v.Name+"="+p.Namespace)
		}
	}
	return out
}

// setReady has the pod's status say whether it is ready.
func (k *kubelet) setReady(p *corev1.Pod, ready bool) {
	now := metav1.Now()
	status := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, PodIP: "192.0.2.1", PodIPs: []corev1.PodIP{{IP: "192.0.2.1"}}}
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		is := corev1.ConditionTrue
		if !ready && kind != corev1.PodInitialized {
			is = corev1.ConditionFalse
		}
		status.Conditions = append(status.Conditions, corev1.PodCondition{Type: kind, Status: is, LastTransitionTime: now})
	}
	patch, err := json.Marshal(map[string]any{"status": status})
	if err == nil {
		_, err = k.client.CoreV1().Pods(p.Namespace).Patch(k.ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil && !apierrors.IsNotFound(err) && k.ctx.Err() == nil {
		k.mu.Lock()
		k.crashes = append(k.crashes, fmt.Sprintf("%s: status: %v", p.Name, err))
		k.mu.Unlock()
	}
	k.note(p.Name, ready)
}

func (k *kubelet) note(pod string, ready bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready = append(k.ready, change{time.Now(), pod, ready})
}

// down is for how long each pod that had been ready at a moment has not been so since, at most at a time. One that has not come back is
// not among them.
func (k *kubelet) down(begin time.Time) map[string]time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	out, since := map[string]time.Duration{}, map[string]time.Time{}
	for _, c := range k.ready {
		switch {
		case !c.ready:
			since[c.pod] = c.at
		case !since[c.pod].IsZero() && c.at.After(begin):
			out[c.pod] = max(out[c.pod], c.at.Sub(since[c.pod]))
			delete(since, c.pod)
		}
	}
	return out
}

// tails are the ends of the logs of all pods.
func (k *kubelet) tails() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out strings.Builder
	for _, p := range slices.SortedFunc(maps.Values(k.pods), func(a, b *pod) int { return strings.Compare(a.name, b.name) }) {
		if p.process != nil {
			fmt.Fprintf(&out, "%s:\n%s\n", p.name, p.process.Tail())
		}
	}
	return out.String()
}
