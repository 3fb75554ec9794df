package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// Annotations that renderForTests reads: what no field of a collector gives rise to in this version.
const (
	testCluster    = "test/cluster-role" // also a ClusterRole of this name, and a binding to it
	testSelector   = "test/selector"     // one more label in the selector
	testNoHeadless = "test/no-headless"
)

// renderForTests renders small objects of all kinds; the real renderer has tests of its own.
func renderForTests(c *crds.Collector) (Rendered, error) {
	name, labels := crds.WorkloadName(c.Name), crds.SelectorLabels(c.Namespace, c.Name)
	text := c.Spec.Config.Text
	if text == "bad" {
		return Rendered{}, &crds.FieldError{Path: "spec.config", Detail: "bad"}
	}
	sum := sha256.Sum256([]byte(text))
	config := crds.ConfigMapName(c.Name, hex.EncodeToString(sum[:]))
	build := func(apiVersion, kind, name string, rest map[string]any) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind}}
		maps.Copy(u.Object, rest)
		u.SetName(name)
		u.SetLabels(maps.Clone(labels))
		if !strings.HasPrefix(kind, "ClusterRole") {
			u.SetNamespace(c.Namespace)
		}
		return u
	}
	var out []*unstructured.Unstructured
	add := func(u *unstructured.Unstructured) { out = append(out, u) }
	add(build("v1", "ServiceAccount", name, nil))
	if role := c.Annotations[testCluster]; role != "" {
		add(build("rbac.authorization.k8s.io/v1", "ClusterRole", role, map[string]any{"rules": []any{map[string]any{
			"apiGroups": []any{""}, "resources": []any{"nodes"}, "verbs": []any{"get"},
		}}}))
		for _, binding := range []string{"b1", "b2"} {
			add(build("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", binding, map[string]any{
				"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
				"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": name, "namespace": c.Namespace}},
			}))
		}
	}
	add(build("v1", "ConfigMap", config, map[string]any{"immutable": true, "data": map[string]any{crds.ConfigFile: text}}))
	if len(c.Spec.Ports) > 0 {
		var ports []any
		for _, p := range c.Spec.Ports {
			ports = append(ports, map[string]any{"name": *p.Name, "port": int64(*p.Port), "protocol": "TCP"})
		}
		add(build("v1", "Service", name, map[string]any{"spec": map[string]any{"ports": ports, "selector": anyMap(labels)}}))
	}
	if c.Annotations[testNoHeadless] == "" {
		add(build("v1", "Service", crds.HeadlessServiceName(c.Name), map[string]any{"spec": map[string]any{
			"clusterIP": "None", "ports": []any{map[string]any{"name": "x", "port": int64(1), "protocol": "TCP"}}, "selector": anyMap(labels),
		}}))
	}
	add(workloadForTests(c, name, config, labels, build))
	if c.Spec.Mode != crds.ModeDaemonSet {
		add(build("policy/v1", "PodDisruptionBudget", name, map[string]any{"spec": map[string]any{
			"maxUnavailable": int64(1), "selector": map[string]any{"matchLabels": anyMap(labels)},
		}}))
	}
	return Rendered{Objects: out}, nil
}

func anyMap(labels map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range labels {
		out[k] = v
	}
	return out
}

func workloadForTests(
	c *crds.Collector, name, config string, labels map[string]string,
	create func(apiVersion, kind, name string, rest map[string]any) *unstructured.Unstructured,
) *unstructured.Unstructured {
	selector := anyMap(labels)
	if extra := c.Annotations[testSelector]; extra != "" {
		selector["extra"] = extra
	}
	image := c.Spec.Image
	spec := map[string]any{
		"selector": map[string]any{"matchLabels": selector},
		"template": map[string]any{
			"metadata": map[string]any{"labels": maps.Clone(selector)},
			"spec": map[string]any{
				"containers": []any{map[string]any{
					"name": crds.ContainerName, "image": image, "volumeMounts": []any{map[string]any{"name": crds.ConfigVolume, "mountPath": "/conf"}},
				}},
				"volumes": []any{map[string]any{"name": crds.ConfigVolume, "configMap": map[string]any{"name": config}}},
			},
		},
	}
	if c.Spec.Replicas != nil && c.Spec.Mode != crds.ModeDaemonSet {
		spec["replicas"] = int64(*c.Spec.Replicas)
	}
	switch c.Spec.Mode {
	case crds.ModeDaemonSet:
		return create("apps/v1", "DaemonSet", name, map[string]any{"spec": spec})
	case crds.ModeStatefulSet:
		spec["serviceName"] = crds.HeadlessServiceName(c.Name)
		if c.Spec.ServiceName != "" {
			spec["serviceName"] = c.Spec.ServiceName
		}
		if c.Spec.PodManagementPolicy != "" {
			spec["podManagementPolicy"] = c.Spec.PodManagementPolicy
		}
		var templates []any
		for _, t := range c.Spec.VolumeClaimTemplates {
			size := t.Spec.Resources.Requests.Storage().String()
			templates = append(templates, map[string]any{
				"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": map[string]any{"name": *t.Name},
				"spec": map[string]any{
					"accessModes": []any{"ReadWriteOnce"}, "storageClassName": *t.Spec.StorageClassName, "volumeMode": "Filesystem",
					"resources": map[string]any{"requests": map[string]any{"storage": size}},
				},
				"status": map[string]any{"phase": "Pending"},
			})
		}
		if len(templates) > 0 {
			spec["volumeClaimTemplates"] = templates
		}
		return create("apps/v1", "StatefulSet", name, map[string]any{"spec": spec})
	}
	return create("apps/v1", "Deployment", name, map[string]any{"spec": spec})
}

// collectorObject is a collector, from the fields of its spec in JSON.
func collectorObject(spec map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetAPIVersion(crds.Group + "/" + crds.VersionV1Beta1)
	u.SetKind(crds.Kind)
	u.SetNamespace("ns")
	u.SetName("a")
	return u
}

// baseSpec is what scenarios begin with.
func baseSpec(mode string) map[string]any {
	spec := map[string]any{
		"mode": mode, "config": "one", "image": "collector:1", "ports": []any{map[string]any{"name": "otlp", "port": int64(4317)}},
	}
	if mode != crds.ModeDaemonSet {
		spec["replicas"] = int64(2)
	}
	if mode == crds.ModeStatefulSet {
		spec["volumeClaimTemplates"] = []any{claimTemplate("fast", "1Gi")}
	}
	return spec
}

func claimTemplate(class, size string) any {
	return map[string]any{
		"metadata": map[string]any{"name": "data"},
		"spec": map[string]any{
			"accessModes": []any{"ReadWriteOnce"}, "storageClassName": class,
			"resources": map[string]any{"requests": map[string]any{"storage": size}},
		},
	}
}

// begin is a world with storage classes, one of which allows expansion.
func begin() (*world, error) {
	w := newWorld()
	for name, expands := range map[string]bool{"fast": true, "fixed": false} {
		class := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "x", "allowVolumeExpansion": expands,
		}}
		class.SetName(name)
		if err := w.create(class, "admin"); err != nil {
			return nil, fmt.Errorf("storage class: %w", err)
		}
	}
	return w, nil
}
