package api_test

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestBadBeforeTheRules holds the promise of optionalOldSelf: an object that was there, and bad, before the CRD had its
// rules can still be labelled, get a status, lose its finalizer and be deleted; it can't be made anew or get worse.
func TestBadBeforeTheRules(t *testing.T) {
	const group = "before.example.com"
	c := connect(t)
	lax := crdIn(t, group)
	eachVersion(t, lax, func(version map[string]any) { withoutValidation(version["schema"].(map[string]any)) })
	if err := c.installCRD(t.Context(), lax, "kubectl"); err != nil {
		t.Fatal(err)
	}
	bad := badSpecs()
	for name, spec := range bad {
		u := collector("v1beta1", name, spec)
		u.SetAPIVersion(group + "/v1beta1")
		u.SetFinalizers([]string{"example.com/held"})
		if _, err := c.in(group, "v1beta1").Create(t.Context(), u, strict()); err != nil {
			t.Fatalf("without rules, create %s: %v", name, err)
		}
	}
	if err := c.installCRD(t.Context(), crdIn(t, group), "kubectl"); err != nil {
		t.Fatal(err)
	}
	waitForRules(t, c, group)
	for name, spec := range bad {
		t.Run(name, func(t *testing.T) {
			again := collector("v1beta1", name+"-again", spec)
			again.SetAPIVersion(group + "/v1beta1")
			if _, err := c.in(group, "v1beta1").Create(t.Context(), again, strict()); !apierrors.IsInvalid(err) {
				t.Errorf("create another: got error %v, want Invalid: the case shows nothing", err)
			}
			keepServing(t, c, group, name)
		})
	}
}

// keepServing does to a bad object what must go on working.
func keepServing(t *testing.T, c client, group, name string) {
	t.Helper()
	for _, version := range versions() {
		in := c.in(group, version)
		patch := func(what, body string, subresources ...string) {
			t.Helper()
			_, err := in.Patch(t.Context(), name, "application/merge-patch+json", []byte(body), metav1.PatchOptions{}, subresources...)
			if err != nil {
				t.Errorf("%s: %s: %v", version, what, err)
			}
		}
		patch("label", `{"metadata": {"labels": {"seen-by": "`+version+`"}}}`)
		patch("status", `{"status": {"version": "`+version+`"}}`, "status")
		patch("another field", `{"spec": {"image": "`+version+`"}}`)
	}
	worse := `{"spec": {"mode": "daemonset"}}`
	_, err := c.in(group, "v1beta1").Patch(t.Context(), name, "application/merge-patch+json", []byte(worse), metav1.PatchOptions{})
	wantCause(t, err, "spec.mode", "does not support modification")

	if err := c.in(group, "v1beta1").Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatalf("delete: %v", err)
	}
	release := []byte(`{"metadata": {"finalizers": null}}`)
	if _, err := c.in(group, "v1alpha1").Patch(t.Context(), name, "application/merge-patch+json", release, metav1.PatchOptions{}); err != nil {
		t.Fatalf("remove the finalizer: %v", err)
	}
	err = eventually(t.Context(), func(ctx context.Context) error {
		_, err := c.in(group, "v1beta1").Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is still there"), err)
	})
	if err != nil {
		t.Errorf("gone: %v", err)
	}
}

// waitForRules returns when the API server serves the CRD with its rules.
func waitForRules(t *testing.T, c client, group string) {
	t.Helper()
	probe := collector("v1beta1", "probe", map[string]any{"mode": "sidecar", "minReadySeconds": int64(1)})
	probe.SetAPIVersion(group + "/v1beta1")
	err := eventually(t.Context(), func(ctx context.Context) error {
		opts := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
		if _, err := c.in(group, "v1beta1").Create(ctx, probe, opts); !apierrors.IsInvalid(err) {
			return errors.Join(errors.New("a bad object is still accepted"), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// badSpecs has an object per kind of rule, each with a config that is an object: the API server never takes such a spec for
// unchanged, so that its own ratcheting does not help.
func badSpecs() map[string]map[string]any {
	target := func(value string) map[string]any {
		return map[string]any{"type": "AverageValue", "averageValue": value}
	}
	return map[string]map[string]any{
		"claims":    {"volumeClaimTemplates": []any{map[string]any{"metadata": map[string]any{"name": "a"}}}},
		"sidecar":   {"mode": "sidecar", "priorityClassName": "high", "minReadySeconds": int64(1), "affinity": map[string]any{}},
		"allocator": {"targetAllocator": map[string]any{"enabled": true}},
		"mtls":      {"targetAllocator": map[string]any{"mtls": map[string]any{"enabled": true, "useCertManager": false}}},
		"selector": {"targetAllocator": map[string]any{"prometheusCR": map[string]any{
			"probeSelector": map[string]any{"matchLabels": map[string]any{}, "team": "a"},
		}}},
		"bounds":    {"autoscaler": map[string]any{"minReplicas": int64(2), "maxReplicas": int64(1)}},
		"unbounded": {"minReplicas": int64(2)},
		"metric": {"autoscaler": map[string]any{"maxReplicas": int64(1), "metrics": []any{
			map[string]any{"type": "Pods", "pods": map[string]any{"metric": map[string]any{"name": "m"}, "target": target("0")}},
		}}},
		"window": {"autoscaler": map[string]any{"maxReplicas": int64(1), "behavior": map[string]any{
			"scaleUp": map[string]any{"stabilizationWindowSeconds": int64(3601)},
		}}},
		"ports":     {"ports": []any{map[string]any{"name": "8080", "port": int64(0)}}},
		"subdomain": {"ingress": map[string]any{"ruleType": "subdomain"}},
		"strategy":  {"daemonSetUpdateStrategy": map[string]any{"type": "OnDelete"}, "ordinals": map[string]any{}},
		"empty":     {"config": ""},
	}
}

// withoutValidation removes rules, bounds, patterns and enums from a schema, in place.
func withoutValidation(schema map[string]any) {
	for _, key := range []string{"x-kubernetes-validations", "minimum", "maximum", "minLength", "maxLength", "allOf", "enum"} {
		if _, isProperty := schema[key].(map[string]any); !isProperty {
			delete(schema, key)
		}
	}
	if _, isPattern := schema["pattern"].(string); isPattern {
		delete(schema, "pattern")
	}
	for _, child := range schema {
		switch child := child.(type) {
		case map[string]any:
			withoutValidation(child)
		case []any:
			for _, item := range child {
				if item, ok := item.(map[string]any); ok {
					withoutValidation(item)
				}
			}
		}
	}
}
