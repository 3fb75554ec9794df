package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

func TestCRDIsSound(t *testing.T) {
	c := connect(t)
	err := eventually(t.Context(), func(ctx context.Context) error {
		crd, err := c.crds().Get(ctx, crdName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if bad := condition(crd, "NonStructuralSchema"); bad != nil {
			t.Fatalf("got condition %v, want none", bad)
		}
		for _, name := range []string{"Established", "NamesAccepted"} {
			if got := condition(crd, name); got == nil || got["status"] != "True" {
				return fmt.Errorf("%s: got %v, want True", name, got)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestApplyAgain has nothing to say and changes nothing.
func TestApplyAgain(t *testing.T) {
	var heard warnings
	c, err := newClient(&heard)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := readCRD()
	if err != nil {
		t.Fatal(err)
	}
	before, err := c.crds().Get(t.Context(), crdName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	after, err := c.crds().Apply(t.Context(), crdName(), manifest, metav1.ApplyOptions{FieldManager: "kubectl"})
	if err != nil {
		t.Fatal(err)
	}
	if texts := heard.take(); len(texts) > 0 {
		t.Errorf("got warnings %q", texts)
	}
	if b, a := before.GetResourceVersion(), after.GetResourceVersion(); a != b {
		t.Errorf("got resourceVersion %s after, %s before: want no write", a, b)
	}
	if b, a := before.GetGeneration(), after.GetGeneration(); a != b {
		t.Errorf("got generation %d after, %d before", a, b)
	}
}

// TestClientSideApply holds the size: kubectl apply keeps the manifest in an annotation, and annotations have a limit.
func TestClientSideApply(t *testing.T) {
	crd := crdIn(t, "clientside.example.com")
	for _, want := range []string{"created", "unchanged"} {
		if out := kubectlApply(t, crd); !strings.HasSuffix(out, want) {
			t.Errorf("kubectl apply: got %q, want %s", out, want)
		}
	}
}

// kubectlApply runs kubectl apply with the given flags and returns what it prints.
func kubectlApply(t *testing.T, u *unstructured.Unstructured, flags ...string) string {
	t.Helper()
	raw, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	cmd := cluster.KubectlCommand(t.Context(), append([]string{"apply", "-f", "-"}, flags...)...)
	cmd.Stdin = bytes.NewReader(raw)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl apply %s of %d bytes: %v: %s", strings.Join(flags, " "), len(raw), err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestExplain(t *testing.T) {
	for field, want := range map[string]string{
		"otelcol.spec.config":    "as an object or as a string that holds it as YAML",
		"otelcols.spec.mode":     "The workload that runs the collector",
		"otelcol.spec.affinity":  "nodeAffinity",
		"otelcol.status.version": "Version of the collectors",
	} {
		out, err := cluster.KubectlCommand(t.Context(), "explain", field).CombinedOutput()
		if text := strings.Join(strings.Fields(string(out)), " "); err != nil || !strings.Contains(text, want) {
			t.Errorf("kubectl explain %s: got error %v and %s\nwant %q", field, err, out, want)
		}
	}
}

func TestPrinterColumns(t *testing.T) {
	c := connect(t)
	made := c.create(t, collector("v1beta1", "printed", map[string]any{"mode": "daemonset"}))
	set(t, made, map[string]any{
		"version": "1.2.3", "image": "example.com/otelcol:1.2.3", "scale": map[string]any{"statusReplicas": "2/3"},
	}, "status")
	if _, err := c.collectors("v1beta1").UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, version := range versions() {
		table, err := getTable(t, version, "printed")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, column := range table.ColumnDefinitions {
			names = append(names, column.Name)
		}
		if want := []string{"Name", "Mode", "Version", "Ready", "Age", "Image", "Management"}; !reflect.DeepEqual(names, want) {
			t.Errorf("%s: got columns %q, want %q", version, names, want)
		}
		cells := table.Rows[0].Cells
		cells[4] = "age"
		want := []any{"printed", "daemonset", "1.2.3", "2/3", "age", "example.com/otelcol:1.2.3", "managed"}
		if !reflect.DeepEqual(cells, want) {
			t.Errorf("%s: got cells %v, want %v", version, cells, want)
		}
	}
}

// getTable asks for what kubectl get prints.
func getTable(t *testing.T, version, name string) (*metav1.Table, error) {
	t.Helper()
	config, err := cluster.RESTConfig("api-test")
	if err != nil {
		return nil, err
	}
	config.GroupVersion = &schema.GroupVersion{Group: group, Version: version}
	config.APIPath, config.NegotiatedSerializer = "/apis", scheme.Codecs.WithoutConversion()
	config.WarningHandler = rest.NoWarnings{}
	c, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	raw, err := c.Get().Namespace(namespace).Resource(plural).Name(name).
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		return nil, err
	}
	table := &metav1.Table{}
	if err := json.Unmarshal(raw, table); err != nil {
		return nil, err
	}
	if len(table.Rows) != 1 {
		return nil, errors.New("the table has no row: " + string(raw))
	}
	return table, nil
}

func TestScaleSubresource(t *testing.T) {
	c := connect(t)
	made := c.create(t, collector("v1beta1", "scaled", map[string]any{"mode": "statefulset"}))
	set(t, made, map[string]any{"scale": map[string]any{"selector": "a=b", "replicas": int64(1)}}, "status")
	if _, err := c.collectors("v1beta1").UpdateStatus(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for i, version := range versions() {
		wanted := int64(3 + i)
		patch := fmt.Appendf(nil, `{"spec": {"replicas": %d}}`, wanted)
		scale, err := c.collectors(version).Patch(t.Context(), "scaled", types.MergePatchType, patch, metav1.PatchOptions{}, "scale")
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		if got := scale.Object["status"]; !reflect.DeepEqual(got, map[string]any{"replicas": int64(1), "selector": "a=b"}) {
			t.Errorf("%s: got scale status %v", version, got)
		}
		u, err := c.collectors(version).Get(t.Context(), "scaled", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _ := unstructured.NestedInt64(u.Object, "spec", "replicas"); got != wanted {
			t.Errorf("%s: got spec.replicas %d, want %d", version, got, wanted)
		}
	}
}

// TestStatusIsKept has every field that the operator writes.
func TestStatusIsKept(t *testing.T) {
	c := connect(t)
	made := c.create(t, collector("v1beta1", "status", nil))
	status := map[string]any{
		"version": "1", "image": "i:1", "observedGeneration": int64(1), "messages": []any{"m"}, "replicas": int64(1),
		"scale": map[string]any{"selector": "a=b", "replicas": int64(2), "statusReplicas": "1/2"},
		"conditions": []any{map[string]any{
			"type": "Ready", "status": "False", "reason": "Progressing", "message": "", "observedGeneration": int64(1),
			"lastTransitionTime": "2026-01-02T03:04:05Z",
		}},
		"inventory": []any{map[string]any{
			"group": "apps", "version": "v1", "kind": "Deployment", "namespace": namespace, "name": "n", "uid": "u",
		}},
	}
	set(t, made, status, "status")
	got, err := c.collectors("v1beta1").UpdateStatus(t.Context(), made, metav1.UpdateOptions{FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Object["status"], status) {
		t.Errorf("got  %v\nwant %v", got.Object["status"], status)
	}
}
