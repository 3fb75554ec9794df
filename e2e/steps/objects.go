package steps

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
)

// The resources that scenes deal with.
//
//nolint:gochecknoglobals // constants in all but the language
var (
	Collectors      = schema.GroupVersionResource{Group: "opentelemetry.io", Version: "v1beta1", Resource: "opentelemetrycollectors"}
	Namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	Pods            = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	Claims          = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}
	ConfigMaps      = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	Services        = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	ServiceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	Deployments     = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	DaemonSets      = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "daemonsets"}
	StatefulSets    = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}
	Budgets         = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
	Leases          = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	EventResources  = schema.GroupVersionResource{Group: "events.k8s.io", Version: "v1", Resource: "events"}
)

// ManagedBy selects what the operator makes, and the pods and claims of its workloads.
const ManagedBy = "app.kubernetes.io/managed-by=opentelemetry-operator"

// Parse reads one object from YAML.
func Parse(t *testing.T, manifest string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := utilyaml.Unmarshal([]byte(manifest), &u.Object); err != nil {
		t.Fatalf("manifest: %v\n%s", err, manifest)
	}
	return u
}

// Collector is a collector of a mode with further fields of its spec, in YAML. It has an OTLP receiver and one replica unless
// the fields say otherwise.
func Collector(t *testing.T, name, mode string, fields ...string) *unstructured.Unstructured {
	t.Helper()
	spec := map[string]any{"mode": mode, "config": ConfigOTLP}
	for _, f := range fields {
		var more map[string]any
		if err := utilyaml.Unmarshal([]byte(f), &more); err != nil {
			t.Fatalf("fields: %v\n%s", err, f)
		}
		maps.Copy(spec, more)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": Collectors.GroupVersion().String(), "kind": "OpenTelemetryCollector",
		"metadata": map[string]any{"name": name}, "spec": spec,
	}}
}

// ConfigOTLP is a small configuration, whose receiver opens port 4317.
const ConfigOTLP = `receivers: {otlp: {protocols: {grpc: {endpoint: 0.0.0.0:4317}}}}
exporters: {debug: {}}
service:
  pipelines:
    traces: {receivers: [otlp], exporters: [debug]}
`

func (s *Scene) in(r schema.GroupVersionResource) dynamic.ResourceInterface {
	return s.client.Resource(r).Namespace(s.Namespace)
}

// Create creates a collector and returns it as the API server made it.
func (s *Scene) Create(t *testing.T, u *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	return s.CreateIn(t, Collectors, u)
}

// CreateIn creates an object of any resource.
func (s *Scene) CreateIn(t *testing.T, r schema.GroupVersionResource, u *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	got, err := s.in(r).Create(t.Context(), u, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Fatalf("create %s %s: %v", r.Resource, u.GetName(), err)
	}
	return got
}

// Get reads an object, which has to be there.
func (s *Scene) Get(t *testing.T, r schema.GroupVersionResource, name string) *unstructured.Unstructured {
	t.Helper()
	got, err := s.in(r).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatalf("get %s %s: %v", r.Resource, name, err)
	}
	return got
}

// Find reads an object; nil when it is not there.
func (s *Scene) Find(t *testing.T, r schema.GroupVersionResource, name string) *unstructured.Unstructured {
	t.Helper()
	got, err := s.in(r).Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatalf("get %s %s: %v", r.Resource, name, err)
	}
	return got
}

// List reads the objects of a resource that a label selector matches; all when it is empty.
func (s *Scene) List(t *testing.T, r schema.GroupVersionResource, selector string) []unstructured.Unstructured {
	t.Helper()
	got, err := s.in(r).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatalf("list %s: %v", r.Resource, err)
	}
	return got.Items
}

// Patch merges a patch, in YAML, into an object, as kubectl edit would.
func (s *Scene) Patch(t *testing.T, r schema.GroupVersionResource, name, patch string) *unstructured.Unstructured {
	t.Helper()
	got, err := s.TryPatch(t, r, name, patch)
	if err != nil {
		t.Fatalf("patch %s %s: %v", r.Resource, name, err)
	}
	return got
}

// TryPatch is Patch for what may be refused.
func (s *Scene) TryPatch(t *testing.T, r schema.GroupVersionResource, name, patch string) (*unstructured.Unstructured, error) {
	t.Helper()
	data, err := utilyaml.ToJSON([]byte(patch))
	if err != nil {
		t.Fatalf("patch: %v\n%s", err, patch)
	}
	return s.in(r).Patch(t.Context(), name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: UserAgent})
}

// PatchSpec merges a patch, in YAML, into the spec of a collector.
func (s *Scene) PatchSpec(t *testing.T, name, patch string) *unstructured.Unstructured {
	t.Helper()
	return s.Patch(t, Collectors, name, "spec:\n  "+strings.ReplaceAll(patch, "\n", "\n  "))
}

// SetConfig replaces the configuration of a collector.
func (s *Scene) SetConfig(t *testing.T, name, config string) *unstructured.Unstructured {
	t.Helper()
	return s.PatchSpec(t, name, fmt.Sprintf("config: %q", config))
}

// Delete deletes an object, and what it owns as propagation says.
func (s *Scene) Delete(t *testing.T, r schema.GroupVersionResource, name string, propagation metav1.DeletionPropagation) {
	t.Helper()
	if err := s.in(r).Delete(t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &propagation}); err != nil {
		t.Fatalf("delete %s %s: %v", r.Resource, name, err)
	}
}

// Labelled lists, as "kind/name", all objects of any resource that a label selector matches.
func (s *Scene) Labelled(t *testing.T, selector string) []string {
	t.Helper()
	return slices.Sorted(maps.Keys(s.Versions(t, selector)))
}

// Versions are the resourceVersions, by "kind/name", of all objects of any resource that a label selector matches. Events are not
// among them, and nor are what EndpointSlices say too.
func (s *Scene) Versions(t *testing.T, selector string) map[string]string {
	t.Helper()
	resources, err := s.resources()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, r := range resources {
		list, err := s.in(r).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			t.Fatalf("list %s: %v", r, err)
		}
		for _, u := range list.Items {
			out[strings.ToLower(u.GetKind())+"/"+u.GetName()] = u.GetResourceVersion()
		}
	}
	return out
}

// discover finds the resources of namespaces that hold objects which last.
func (s *Suite) discover() ([]schema.GroupVersionResource, error) {
	lists, err := s.discovery.ServerPreferredNamespacedResources()
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	lists = discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "create"}}, lists)
	all, err := discovery.GroupVersionResources(lists)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	return slices.Collect(func(yield func(schema.GroupVersionResource) bool) {
		for r := range all {
			if r.Resource != "events" && r.Resource != "endpoints" && !yield(r) {
				return
			}
		}
	}), nil
}

// Names are the names of objects, sorted.
func Names(objects []unstructured.Unstructured) []string {
	var out []string
	for _, u := range objects {
		out = append(out, u.GetName())
	}
	slices.Sort(out)
	return out
}

// UIDs are the UIDs of objects, sorted.
func UIDs(objects []unstructured.Unstructured) []string {
	var out []string
	for _, u := range objects {
		out = append(out, string(u.GetUID()))
	}
	slices.Sort(out)
	return out
}

// Field is what an object has at a path of keys, nil when it has nothing there.
func Field(u *unstructured.Unstructured, path ...string) any {
	v, _, _ := unstructured.NestedFieldNoCopy(u.Object, path...)
	return v
}

// Kubectl runs kubectl in the scene's namespace, with an input that may be empty. It returns what it printed, on both
// streams together.
func (s *Scene) Kubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, err := s.TryKubectl(t.Context(), input, args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// TryKubectl is Kubectl for what may fail.
func (s *Scene) TryKubectl(ctx context.Context, input string, args ...string) (string, error) {
	cmd := s.Cluster.KubectlCommand(ctx, append([]string{"--namespace", s.Namespace}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Scale sets the replicas of a workload through its scale subresource, as an autoscaler does that calls itself manager.
func (s *Scene) Scale(t *testing.T, r schema.GroupVersionResource, name string, replicas int, manager string) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec": {"replicas": %d}}`, replicas)
	if _, err := s.in(r).Patch(t.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager}, "scale"); err != nil {
		t.Fatalf("scale %s %s: %v", r.Resource, name, err)
	}
}
