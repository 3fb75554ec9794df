package api_test

import (
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// misspelt has, by the path of a wrong field, a spec with it.
func misspelt() map[string]map[string]any {
	object := func(key string, value any) map[string]any { return map[string]any{key: value} }
	list := func(item map[string]any) []any { return []any{item} }
	return map[string]map[string]any{
		"spec.bogus":                 {"bogus": "x"},
		"spec.affinity.nodeAfinity":  {"affinity": object("nodeAfinity", map[string]any{})},
		"spec.volumes[0].emptyDirr":  {"volumes": list(map[string]any{"name": "a", "emptyDirr": map[string]any{}})},
		"spec.resources.limit":       {"resources": object("limit", map[string]any{})},
		"spec.podDnsConfig.search":   {"podDnsConfig": object("search", []any{})},
		"spec.env[0].valueForm":      {"env": list(map[string]any{"name": "A", "valueForm": map[string]any{}})},
		"spec.ports[0].targetport":   {"ports": list(map[string]any{"port": int64(1), "targetport": int64(1)})},
		"spec.configmaps[0].path":    {"configmaps": list(map[string]any{"name": "a", "mountpath": "b", "path": "b"})},
		"spec.livenessProbe.httpGet": {"livenessProbe": object("httpGet", map[string]any{})},
		"spec.additionalContainers[0].ports[0].port": {"additionalContainers": list(map[string]any{
			"name": "a", "ports": list(map[string]any{"containerPort": int64(1), "port": int64(1)}),
		})},
		"spec.initContainers[0].imagePullpolicy": {"initContainers": list(map[string]any{"name": "a", "imagePullpolicy": "Always"})},
		"spec.tolerations[0].toleration":         {"tolerations": list(map[string]any{"toleration": "x"})},
		"spec.topologySpreadConstraints[0].maxskew": {"topologySpreadConstraints": list(map[string]any{
			"maxSkew": int64(1), "topologyKey": "a", "whenUnsatisfiable": "b", "maxskew": int64(1),
		})},
		"spec.volumeClaimTemplates[0].metadata.label": {
			"mode": "statefulset", "volumeClaimTemplates": list(object("metadata", object("label", "x"))),
		},
		"spec.volumeClaimTemplates[0].spec.accessMode": {
			"mode": "statefulset", "volumeClaimTemplates": list(object("spec", object("accessMode", "x"))),
		},
		"spec.statefulSetUpdateStrategy.rollingUpdate.partitions": {
			"mode": "statefulset", "statefulSetUpdateStrategy": object("rollingUpdate", object("partitions", int64(1))),
		},
		"spec.targetAllocator.prometheusCR.serviceMonitorSelectors": {
			"targetAllocator": object("prometheusCR", object("serviceMonitorSelectors", map[string]any{})),
		},
	}
}

func TestMisspeltFieldsAreRejected(t *testing.T) {
	var heard warnings
	c, err := newClient(&heard)
	if err != nil {
		t.Fatal(err)
	}
	for path, spec := range misspelt() {
		for _, version := range versions() {
			t.Run(path+"/"+version, func(t *testing.T) {
				want := `unknown field "` + path + `"`
				opts := strict()
				opts.DryRun = []string{metav1.DryRunAll}
				_, err := c.collectors(version).Create(t.Context(), collector(version, "misspelt", spec), opts)
				if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), want) {
					t.Errorf("strict: got error %v, want %s", err, want)
				}
				heard.take()
				opts.FieldValidation = metav1.FieldValidationWarn
				if _, err := c.collectors(version).Create(t.Context(), collector(version, "misspelt", spec), opts); err != nil {
					t.Errorf("warn: %v", err)
				}
				if got := heard.take(); !slices.Contains(got, want) {
					t.Errorf("warn: got warnings %q, want %s", got, want)
				}
			})
		}
	}
}

// TestDeprecationIsTheOnlyWarning is for a manifest as Go programs print it, with a null creationTimestamp and an empty
// status in a claim's template.
func TestDeprecationIsTheOnlyWarning(t *testing.T) {
	var heard warnings
	c, err := newClient(&heard)
	if err != nil {
		t.Fatal(err)
	}
	spec := map[string]any{"mode": "statefulset", "affinity": nil, "volumeClaimTemplates": []any{map[string]any{
		"apiVersion": "v1", "kind": "PersistentVolumeClaim",
		"metadata": map[string]any{"name": "a", "creationTimestamp": nil, "labels": map[string]any{"a": "b"}},
		"spec":     map[string]any{"resources": map[string]any{"requests": map[string]any{"storage": "1Gi"}}},
		"status":   map[string]any{},
	}}}
	deprecated := []string{"opentelemetry.io/v1alpha1 OpenTelemetryCollector is deprecated; use opentelemetry.io/v1beta1."}
	for version, want := range map[string][]string{"v1alpha1": deprecated, "v1beta1": nil} {
		opts := strict()
		opts.DryRun = []string{metav1.DryRunAll}
		got, err := c.collectors(version).Create(t.Context(), collector(version, "template", spec), opts)
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		if texts := heard.take(); !slices.Equal(texts, want) {
			t.Errorf("%s: got warnings %q, want %q", version, texts, want)
		}
		template := got.Object["spec"].(map[string]any)["volumeClaimTemplates"].([]any)[0].(map[string]any)
		metadata := template["metadata"].(map[string]any)
		if metadata["creationTimestamp"] != nil || metadata["name"] != "a" || !contains(metadata["labels"], map[string]any{"a": "b"}) {
			t.Errorf("%s: got metadata %v, want name and labels", version, metadata)
		}
	}
}
