package api_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// TestTakeOver is for a cluster whose CRD has a conversion webhook that no longer answers. Server-side apply can't remove
// fields that another manager owns, and the API server refuses strategy None beside a webhook: so no manifest does it,
// and the conversion has to be replaced first.
func TestTakeOver(t *testing.T) {
	for name, foreign := range map[string]func(*testing.T, client, *unstructured.Unstructured){
		"helm": func(t *testing.T, c client, crd *unstructured.Unstructured) {
			t.Helper()
			if _, err := c.crds().Apply(t.Context(), crd.GetName(), crd, metav1.ApplyOptions{FieldManager: "helm"}); err != nil {
				t.Fatal(err)
			}
		},
		"kubectl": func(t *testing.T, _ client, crd *unstructured.Unstructured) {
			t.Helper()
			kubectlApply(t, crd)
		},
	} {
		t.Run(name, func(t *testing.T) {
			group := name + ".takeover.example.com"
			c := connect(t)
			crd := foreignCRD(t, group)
			foreign(t, c, crd)
			injectPort(t, c, crd)
			testTakeOver(t, c, group)
		})
	}
}

func testTakeOver(t *testing.T, c client, group string) {
	t.Helper()
	ours := crdIn(t, group)
	was := collector("v1beta1", "old", map[string]any{"mode": "daemonset"})
	was.SetAPIVersion(group + "/v1beta1")
	was = c.create(t, was)

	if _, err := c.in(group, "v1alpha1").Get(t.Context(), "old", metav1.GetOptions{}); !apierrors.IsInternalError(err) {
		t.Fatalf("read as v1alpha1 before: got error %v, want the webhook's failure: the case shows nothing", err)
	}
	_, err := c.crds().Apply(t.Context(), ours.GetName(), ours, metav1.ApplyOptions{FieldManager: "kubectl", Force: true})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "spec.conversion.webhookClientConfig: Forbidden") {
		t.Fatalf("apply alone: got error %v, want one that makes the two steps necessary", err)
	}

	if err := takeOver(t.Context(), c, ours); err != nil {
		t.Fatal(err)
	}
	if err := takeOver(t.Context(), c, ours); err != nil {
		t.Errorf("again: %v", err)
	}
	wantTakenOver(t, c, group, was)

	// From here on, what users run is enough: no forcing, and a later CRD replaces this one.
	kubectlApply(t, ours, "--server-side")
	eachVersion(t, ours, func(version map[string]any) { delete(version, "additionalPrinterColumns") })
	kubectlApply(t, ours, "--server-side")
	wantTakenOver(t, c, group, was)
}

// foreignCRD is like the one of an operator with webhooks, whose Service is gone.
func foreignCRD(t *testing.T, group string) *unstructured.Unstructured {
	t.Helper()
	crd := crdIn(t, group)
	crd.SetAnnotations(map[string]string{"cert-manager.io/inject-ca-from": "system/serving-cert"})
	set(t, crd, map[string]any{
		"strategy": "Webhook",
		"webhook": map[string]any{
			"clientConfig":             map[string]any{"service": map[string]any{"name": "gone", "namespace": "default", "path": "/convert"}},
			"conversionReviewVersions": []any{"v1alpha1", "v1beta1"},
		},
	}, "spec", "conversion")
	eachVersion(t, crd, func(version map[string]any) {
		version["schema"] = map[string]any{"openAPIV3Schema": map[string]any{
			"type": "object", "x-kubernetes-preserve-unknown-fields": true,
		}}
	})
	return crd
}

// injectPort changes the webhook as a third manager, as cert-manager does with the CA bundle, and waits for the CRD.
func injectPort(t *testing.T, c client, crd *unstructured.Unstructured) {
	t.Helper()
	port := []byte(`{"spec": {"conversion": {"webhook": {"clientConfig": {"service": {"port": 9443}}}}}}`)
	_, err := c.crds().Patch(t.Context(), crd.GetName(), types.MergePatchType, port, metav1.PatchOptions{FieldManager: "cainjector"})
	if err != nil {
		t.Fatal(err)
	}
	err = eventually(t.Context(), func(ctx context.Context) error {
		_, err := c.in(groupOf(crd), "v1beta1").List(ctx, metav1.ListOptions{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// takeOver is the sequence: switch the conversion off if there is a webhook, then apply with force, as the manager that
// kubectl apply --server-side will be.
func takeOver(ctx context.Context, c client, crd *unstructured.Unstructured) error {
	live, err := c.crds().Get(ctx, crd.GetName(), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	if err == nil {
		strategy, _, _ := unstructured.NestedString(live.Object, "spec", "conversion", "strategy")
		if strategy == "Webhook" {
			off := []byte(`[
				{"op": "test", "path": "/spec/conversion/strategy", "value": "Webhook"},
				{"op": "replace", "path": "/spec/conversion", "value": {"strategy": "None"}}
			]`)
			if _, err := c.crds().Patch(ctx, crd.GetName(), types.JSONPatchType, off, metav1.PatchOptions{FieldManager: "kubectl"}); err != nil {
				return err
			}
		}
	}
	_, err = c.crds().Apply(ctx, crd.GetName(), crd, metav1.ApplyOptions{FieldManager: "kubectl", Force: true})
	return err
}

// wantTakenOver wants our CRD to be served, and the old object to be there as it was, through both versions.
func wantTakenOver(t *testing.T, c client, group string, was *unstructured.Unstructured) {
	t.Helper()
	waitForRules(t, c, group)
	live, err := c.crds().Get(t.Context(), plural+"."+group, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	conversion, _, _ := unstructured.NestedMap(live.Object, "spec", "conversion")
	if want := map[string]any{"strategy": "None"}; !reflect.DeepEqual(conversion, want) {
		t.Errorf("got conversion %v, want %v", conversion, want)
	}
	for _, version := range versions() {
		var now *unstructured.Unstructured
		err := eventually(t.Context(), func(ctx context.Context) (err error) {
			now, err = c.in(group, version).Get(ctx, was.GetName(), metav1.GetOptions{})
			return err
		})
		if err != nil {
			t.Fatalf("read as %s: %v", version, err)
		}
		if now.GetUID() != was.GetUID() {
			t.Errorf("%s: got UID %s, want %s", version, now.GetUID(), was.GetUID())
		}
		if !contains(now.Object["spec"], was.Object["spec"]) {
			t.Errorf("%s: got spec %v, want what was there: %v", version, now.Object["spec"], was.Object["spec"])
		}
		label := []byte(`{"metadata": {"labels": {"a": "b"}}}`)
		_, err = c.in(group, version).Patch(t.Context(), was.GetName(), types.MergePatchType, label, metav1.PatchOptions{})
		if err != nil {
			t.Errorf("label through %s: %v", version, err)
		}
	}
}
