package features_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/e2e/steps"
)

// unknownComponent and unknownValue are what only a collector finds wrong with a configuration, when it starts.
const (
	unknownComponent = "a component that the image does not have"
	unknownValue     = "a value that the component does not know"
)

// goesInOrder are the fields of a StatefulSet that waits for each of its pods.
const goesInOrder = "replicas: 3\npodManagementPolicy: OrderedReady\n"

// TestBrokenConfigurations is about configurations that do not work: collectors that do go on working as far as the mode allows, the
// status says in the words of a new one what is wrong, and to repair the configuration is all that has to be done.
func TestBrokenConfigurations(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		mode, fields string
		broken       string
		affected     int   // pods that make room for a new one before anything is known of it
		deleted      int64 // pods that have to be deleted so that the repaired ones can come
	}{
		"a Deployment":                     {"deployment", `replicas: 2`, unknownComponent, 0, 0},
		"a DaemonSet":                      {"daemonset", `{}`, unknownValue, 1, 0},
		"a StatefulSet":                    {"statefulset", `replicas: 3`, unknownComponent, 1, 0},
		"a StatefulSet that goes in order": {"statefulset", goesInOrder, unknownValue, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, count := broken()[tt.broken], 0
			environment.Test(t, steps.Feature(tt.broken+" breaks "+name).
				WithLabel("run", "full").
				Setup(steps.In(steps.RealPods, func(t *testing.T, s *steps.Scene) {
					s.Create(t, steps.Collector(t, "gateway", tt.mode, tt.fields, withConfig(configured("one"))))
					s.WaitReady(t, "gateway")
					f := fleet{s, "gateway"}
					count = len(f.pods(t))
					f.wantRolledOut(t, "one", count)
				})).
				Assess("and what works goes on", steps.In(func(t *testing.T, s *steps.Scene) {
					fleet{s, "gateway"}.breaks(t, bad.config, bad.says, count-tt.affected)
				})).
				Assess("until it is repaired", steps.In(func(t *testing.T, s *steps.Scene) {
					fleet{s, "gateway"}.recovers(t, count, tt.deleted)
				})).
				Feature())
		})
	}
}

// TestBrokenFromTheStart has the first of the pods fail, without which there are no others.
func TestBrokenFromTheStart(t *testing.T) {
	t.Parallel()
	bad := broken()[unknownComponent]
	environment.Test(t, steps.Feature("a StatefulSet that goes in order and has never worked").
		WithLabel("run", "full").
		Setup(steps.In(steps.RealPods)).
		Assess("says why", steps.In(func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "gateway", "statefulset", goesInOrder, withConfig(bad.config)))
			s.WaitCondition(t, "gateway", "Stalled", "True", "CrashLoop", "pod/gateway-collector-0", bad.says)
		})).
		Assess("comes up when it is repaired", steps.In(func(t *testing.T, s *steps.Scene) {
			fleet{s, "gateway"}.recovers(t, 3, 1)
		})).
		Feature())
}

// TestBrokenCanaries is about a partition: as many configurations in a row do not work as it takes for the one below it to be older than
// all that are kept. The pods below it are not touched, nor is what they read.
func TestBrokenCanaries(t *testing.T) {
	t.Parallel()
	environment.Test(t, steps.Feature("canaries of a StatefulSet").
		WithLabel("run", "full").
		Setup(steps.In(steps.RealPods, func(t *testing.T, s *steps.Scene) {
			s.Create(t, steps.Collector(t, "gateway", "statefulset", goesInOrder, `configVersions: 1`, withConfig(configured("one"))))
			fleet{s, "gateway"}.wantRolledOut(t, "one", 3)
			s.PatchSpec(t, "gateway", `statefulSetUpdateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}}`)
			fleet{s, "gateway"}.wantRolledOut(t, "one", 3)
		})).
		Assess("break, one after the other", steps.In(func(t *testing.T, s *steps.Scene) {
			f, bad := fleet{s, "gateway"}, broken()[unknownValue]
			for _, version := range []string{"a", "b"} {
				f.breaks(t, strings.Replace(bad.config, "config.version: bad", "config.version: bad-"+version, 1), bad.says, 2)
			}
		})).
		Assess("leave the others what they need to be made anew", steps.In(func(t *testing.T, s *steps.Scene) {
			f := fleet{s, "gateway"}
			was := f.lives(t)[f.pod(1)].uid
			s.Kubectl(t, "", "delete", "pod", f.pod(1))
			s.Eventually(t, "another pod "+f.pod(1), func() error { return f.readyAgain(t, f.pod(1), was) })
			f.wantServing(t, "one", f.pod(0), f.pod(1))
		})).
		Assess("are repaired", steps.In(func(t *testing.T, s *steps.Scene) {
			f := fleet{s, "gateway"}
			s.SetConfig(t, "gateway", configured("three"))
			s.WaitReady(t, "gateway")
			f.wantServing(t, "one", f.pod(0), f.pod(1))
			f.wantServing(t, "three", f.pod(2))
		})).
		Feature())
}

// TestOldestReader is about the one pod below a partition, which alone reads a configuration older than all that are kept: while there is no
// such pod, nobody does. A quota keeps it away for as long as the operator needs to look.
func TestOldestReader(t *testing.T) {
	t.Parallel()
	const quota = `{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods"}, "spec": {"hard": {"pods": "1"}}}`
	reads := ""
	environment.Test(t, steps.Feature("the only pod of a StatefulSet that has an old configuration").
		WithLabel("run", "full").
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			f := fleet{s, "gateway"}
			s.Create(t, steps.Collector(t, "gateway", "statefulset", "replicas: 2\nconfigVersions: 1\n", withConfig(configured("one"))))
			f.wantRolledOut(t, "one", 2)
			s.PatchSpec(t, "gateway", `statefulSetUpdateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}`)
			f.wantRolledOut(t, "one", 2)
			reads = f.configMap(t, f.pod(0))
			for _, version := range []string{"two", "three", "four"} {
				s.SetConfig(t, "gateway", configured(version))
				s.WaitReady(t, "gateway")
				f.wantServing(t, version, f.pod(1))
			}
		})).
		Assess("comes back with that", steps.In(func(t *testing.T, s *steps.Scene) {
			f := fleet{s, "gateway"}
			was := f.lives(t)[f.pod(0)].uid
			s.Kubectl(t, quota, "create", "-f", "-")
			s.Kubectl(t, "", "wait", "resourcequota/pods", "--for=jsonpath={.status.hard.pods}=1", "--timeout=4m")
			s.Kubectl(t, "", "delete", "pod", f.pod(0))
			s.PatchSpec(t, "gateway", `podDisruptionBudget: {maxUnavailable: 2}`) // something to do, but not to pods
			s.WaitObserved(t, "gateway")
			if u := s.Find(t, steps.Pods, f.pod(0)); u != nil {
				t.Fatalf("the quota has not kept pod %s away", f.pod(0))
			}
			if s.Find(t, steps.ConfigMaps, reads) == nil {
				t.Errorf("ConfigMap %s is gone, which pod %s reads as soon as it is there again", reads, f.pod(0))
			}
			s.Kubectl(t, "", "delete", "resourcequota", "pods")
			s.Eventually(t, "another pod "+f.pod(0), func() error { return f.readyAgain(t, f.pod(0), was) })
			if is := f.configMap(t, f.pod(0)); is != reads {
				t.Errorf("pod %s reads %s, want %s as before", f.pod(0), is, reads)
			}
			f.wantServing(t, "one", f.pod(0))
			s.WaitReady(t, "gateway")
		})).
		Feature())
}

// configMap is the name of the one that a pod mounts.
func (f fleet) configMap(t *testing.T, pod string) string {
	t.Helper()
	volumes, _, _ := unstructured.NestedSlice(f.Get(t, steps.Pods, pod).Object, "spec", "volumes")
	for _, v := range volumes {
		volume, _ := v.(map[string]any)
		if name, found, _ := unstructured.NestedString(volume, "configMap", "name"); found {
			return name
		}
	}
	t.Fatalf("pod %s mounts no ConfigMap: %v", pod, volumes)
	return ""
}

// breaks gives the collector a configuration that does not work, and waits until that is said. So many pods must be as they were, and
// answer.
func (f fleet) breaks(t *testing.T, config, says string, serving int) {
	t.Helper()
	before, since := f.lives(t), time.Now()
	f.SetConfig(t, f.name, config)
	f.WaitCondition(t, f.name, "Stalled", "True", "CrashLoop", "CrashLoopBackOff", says)
	t.Logf("said %s after the change", time.Since(since).Round(time.Second))
	f.WaitCondition(t, f.name, "Ready", "False", "CrashLoop", says)
	f.WaitEvent(t, f.name, "CrashLoop", says)
	var stayed []string
	for _, u := range f.pods(t) {
		if steps.PodReady(&u) && before[u.GetName()] == lifeOf(&u) {
			stayed = append(stayed, u.GetName())
		}
	}
	if len(stayed) != serving {
		t.Errorf("pods %v are as they were, want %d: %v, now %v", stayed, serving, before, f.lives(t))
	}
	f.wantServing(t, "one", stayed...)
}

// recovers gives the collector a configuration that works. Nobody deletes a pod by hand: the operator those that have to be.
func (f fleet) recovers(t *testing.T, count int, deleted int64) {
	t.Helper()
	since := time.Now()
	f.SetConfig(t, f.name, configured("three"))
	f.wantRolledOut(t, "three", count)
	t.Logf("recovered %s after the change", time.Since(since).Round(time.Second))
	if deleted > 0 {
		f.WaitEvent(t, f.name, "PodDeleted", "pod/"+f.workload(), "of a former revision")
	}
	if n := f.CountEvents(t, f.name, "PodDeleted"); n != deleted {
		t.Errorf("%d Events PodDeleted, want %d: %v", n, deleted, f.Events(t, f.name))
	}
}

// readyAgain is nil when a pod is ready and not the one with this UID.
func (f fleet) readyAgain(t *testing.T, pod, uid string) error {
	u := f.Find(t, steps.Pods, pod)
	if err := differs(u, uid); err != nil {
		return err
	}
	if !steps.PodReady(u) {
		return fmt.Errorf("it is not ready: %v", steps.Field(u, "status"))
	}
	return nil
}
