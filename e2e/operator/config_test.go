package operator_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/steps"
)

const hashAnnotation = "opentelemetry-operator-config/sha256"

// configLevel is a configuration that differs from others by a number alone.
func configLevel(n int) string {
	return fmt.Sprintf(`receivers: {otlp: {protocols: {grpc: {endpoint: 0.0.0.0:4317}}}}
exporters: {debug: {sampling_initial: %d}}
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [debug]}
`, n)
}

func TestConfigChange(t *testing.T) {
	t.Parallel()
	var (
		used []string // names of ConfigMaps, in the order in which they came
		pods []string // UIDs of the pods that ran last
	)
	change := func(n int) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			s.SetConfig(t, "rolling", configLevel(n))
			s.WaitReady(t, "rolling")
			used = append(used, wantConfigInUse(t, s, steps.StatefulSets, "rolling"))
			now := steps.UIDs(s.List(t, steps.Pods, steps.ManagedBy))
			if len(now) != 2 || slices.ContainsFunc(now, func(uid string) bool { return slices.Contains(pods, uid) }) {
				t.Errorf("pods %v after the change, want two others than %v", now, pods)
			}
			pods = now
		}
	}
	kept := func(newest int) steps.Act {
		return func(t *testing.T, s *steps.Scene) {
			got := steps.Names(s.List(t, steps.ConfigMaps, steps.ManagedBy))
			if want := slices.Sorted(slices.Values(used[len(used)-newest:])); !slices.Equal(got, want) {
				t.Errorf("ConfigMaps %v, want %v", got, want)
			}
		}
	}
	var uid string // of the ConfigMap that a rollback finds
	environment.Test(t, steps.Feature("a change of the configuration").
		Setup(steps.Operator()).
		Setup(create("rolling", "statefulset", `{replicas: 2, configVersions: 2}`)).
		Setup(steps.In(func(t *testing.T, s *steps.Scene) {
			used = append(used, wantConfigInUse(t, s, steps.StatefulSets, "rolling"))
			pods = steps.UIDs(s.List(t, steps.Pods, steps.ManagedBy))
		})).
		Assess("rolls the pods", steps.In(change(1), kept(2))).
		Assess("keeps as many former ConfigMaps as configVersions says", steps.In(change(2), kept(3))).
		Assess("prunes older ones", steps.In(change(3), kept(3))).
		Assess("finds the former ConfigMap when it is taken back", steps.In(func(t *testing.T, s *steps.Scene) {
			uid = string(s.Get(t, steps.ConfigMaps, used[2]).GetUID())
		}, change(2), func(t *testing.T, s *steps.Scene) {
			if got := string(s.Get(t, steps.ConfigMaps, used[2]).GetUID()); got != uid || used[4] != used[2] {
				t.Errorf("ConfigMap %s with UID %s, want %s with %s", used[4], got, used[2], uid)
			}
		})).
		Feature())
}

// wantConfigInUse holds the three together: the workload's annotation is the hash of what is in the ConfigMap that its pods
// mount. It returns the ConfigMap's name.
func wantConfigInUse(t *testing.T, s *steps.Scene, workload schema.GroupVersionResource, collector string) string {
	t.Helper()
	u := s.Get(t, workload, collector+"-collector")
	var name string
	for _, v := range steps.Field(u, "spec", "template", "spec", "volumes").([]any) {
		if volume := v.(map[string]any); volume["name"] == "otc-internal" {
			name, _ = volume["configMap"].(map[string]any)["name"].(string)
		}
	}
	text, _ := steps.Field(s.Get(t, steps.ConfigMaps, name), "data", "collector.yaml").(string)
	sum := sha256.Sum256([]byte(text))
	if got, want := steps.Field(u, "spec", "template", "metadata", "annotations", hashAnnotation), hex.EncodeToString(sum[:]); got != want {
		t.Errorf("annotation %s is %v, want %s, the SHA-256 of collector.yaml in %s", hashAnnotation, got, want, name)
	}
	return name
}
