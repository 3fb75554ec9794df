package api_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

const namespace = "default"

// strict has unknown and repeated fields rejected, as kubectl does.
func strict() metav1.CreateOptions {
	return metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}
}

// client talks to the control plane as its administrator.
type client struct{ dynamic.Interface }

func newClient(warnings rest.WarningHandler) (client, error) {
	config, err := cluster.RESTConfig("api-test")
	if err != nil {
		return client{}, err
	}
	config.WarningHandler = warnings
	d, err := dynamic.NewForConfig(config)
	return client{d}, err
}

// connect returns a client that drops warnings.
func connect(t *testing.T) client {
	t.Helper()
	c, err := newClient(rest.NoWarnings{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// warnings keeps what an API server warned of.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

// take returns the warnings since the last call.
func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	texts := w.texts
	w.texts = nil
	return texts
}

// collectors of the given version in the test namespace.
func (c client) collectors(version string) dynamic.ResourceInterface {
	return c.in(group, version)
}

// in is collectors of a copy of the CRD in another API group.
func (c client) in(group, version string) dynamic.ResourceInterface {
	return c.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: plural}).Namespace(namespace)
}

func (c client) crds() dynamic.ResourceInterface {
	return c.Resource(schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	})
}

// installCRD applies a CRD and waits until each version is served.
func (c client) installCRD(ctx context.Context, crd *unstructured.Unstructured, manager string) error {
	if _, err := c.crds().Apply(ctx, crd.GetName(), crd, metav1.ApplyOptions{FieldManager: manager}); err != nil {
		return fmt.Errorf("apply %s: %w", crd.GetName(), err)
	}
	for _, version := range []string{"v1alpha1", "v1beta1"} {
		err := eventually(ctx, func(ctx context.Context) error {
			_, err := c.in(groupOf(crd), version).List(ctx, metav1.ListOptions{})
			return err
		})
		if err != nil {
			return fmt.Errorf("list %s of %s: %w", version, groupOf(crd), err)
		}
	}
	return nil
}

// readCRD reads the file that users apply.
func readCRD() (*unstructured.Unstructured, error) {
	raw, err := os.ReadFile(crdFile)
	if err != nil {
		return nil, err
	}
	crd := &unstructured.Unstructured{}
	return crd, yaml.Unmarshal(raw, &crd.Object)
}

// crdIn is the CRD moved to another API group, for tests that change it.
func crdIn(t *testing.T, group string) *unstructured.Unstructured {
	t.Helper()
	crd, err := readCRD()
	if err != nil {
		t.Fatal(err)
	}
	crd.SetName(plural + "." + group)
	set(t, crd, group, "spec", "group")
	return crd
}

func groupOf(crd *unstructured.Unstructured) string {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	return group
}

// eachVersion calls change with every version of the CRD.
func eachVersion(t *testing.T, crd *unstructured.Unstructured, change func(version map[string]any)) {
	t.Helper()
	versions, ok, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if err != nil || !ok {
		t.Fatalf("spec.versions: found %v, error %v", ok, err)
	}
	for _, version := range versions {
		change(version.(map[string]any))
	}
	set(t, crd, versions, "spec", "versions")
}

func set(t *testing.T, u *unstructured.Unstructured, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(u.Object, value, path...); err != nil {
		t.Fatal(err)
	}
}

// collector has a config in the form of its version, unless spec has one.
func collector(version, name string, spec map[string]any) *unstructured.Unstructured {
	spec = maps.Clone(spec)
	if spec == nil {
		spec = map[string]any{}
	}
	if _, has := spec["config"]; !has {
		spec["config"] = map[string]any{"receivers": map[string]any{"otlp": map[string]any{}}}
		if version == "v1alpha1" {
			spec["config"] = "receivers: {otlp: {}}"
		}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": group + "/" + version, "kind": "OpenTelemetryCollector",
		"metadata": map[string]any{"name": name, "namespace": namespace}, "spec": spec,
	}}
}

// create creates a collector and removes it with the test.
func (c client) create(t *testing.T, u *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	gv := u.GroupVersionKind()
	created, err := c.in(gv.Group, gv.Version).Create(t.Context(), u, strict())
	if err != nil {
		t.Fatalf("create %s: %v", u.GetName(), err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := c.in(gv.Group, "v1beta1").Delete(ctx, u.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete %s: %v", u.GetName(), err)
		}
	})
	return created
}

// eventually calls try until it returns nil; the error has what it last returned.
func eventually(ctx context.Context, try func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		last = try(ctx)
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waited %s, last: %w", patience, last)
	}
	return nil
}

// condition returns the named condition of an object, or nil.
func condition(u *unstructured.Unstructured, name string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	i := slices.IndexFunc(conditions, func(c any) bool { return c.(map[string]any)["type"] == name })
	if i < 0 {
		return nil
	}
	return conditions[i].(map[string]any)
}

// versions are the served ones.
func versions() []string { return []string{"v1alpha1", "v1beta1"} }

// crdName of the CRD proper.
func crdName() string { return schema.GroupResource{Group: group, Resource: plural}.String() }
