package reconcile

import (
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"github.com/otelier/otelier/crds"
)

// Generators of what a renderer may want, and of what others may do to it. Small sets of names and values make collisions likely.

func drawMap(t *rapid.T, label string, atLeast int) map[string]any {
	m := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), rapid.SampledFrom([]string{"1", "2", "3"}), atLeast, 4).Draw(t, label)
	return anyMap(m)
}

func chance(t *rapid.T, label string) bool { return rapid.Bool().Draw(t, label) }

// drawWant is an object as a renderer makes it.
func drawWant(t *rapid.T) *unstructured.Unstructured {
	kind := rapid.SampledFrom([]string{"Deployment", "StatefulSet", "DaemonSet", "Service", "ConfigMap", "ServiceAccount", "PodDisruptionBudget"}).Draw(t, "kind")
	return drawKind(t, kind)
}

func drawKind(t *rapid.T, kind string) *unstructured.Unstructured {
	versions := map[string]string{"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1", "PodDisruptionBudget": "policy/v1"}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind}}
	if v := versions[kind]; v != "" {
		u.SetAPIVersion(v)
	}
	labels := drawMap(t, "labels", 0)
	for k, v := range crds.SelectorLabels("ns", "a") {
		labels[k] = v
	}
	metadata := map[string]any{"name": "x", "namespace": "ns", "labels": labels}
	if annotations := drawMap(t, "annotations", 0); len(annotations) > 0 {
		metadata["annotations"] = annotations
	}
	u.Object["metadata"] = metadata
	switch kind {
	case "Deployment", "StatefulSet", "DaemonSet":
		u.Object["spec"] = drawWorkload(t, kind)
	case "Service":
		u.Object["spec"] = map[string]any{"ports": drawPorts(t, "port"), "selector": drawMap(t, "selector", 1)}
	case "ConfigMap":
		u.Object["data"] = map[string]any{crds.ConfigFile: "x"} // it names the object, so that it never changes
		u.Object["immutable"] = true
	case "PodDisruptionBudget":
		u.Object["spec"] = map[string]any{"maxUnavailable": int64(1), "selector": map[string]any{"matchLabels": drawMap(t, "selector", 1)}}
	}
	return u
}

func drawWorkload(t *rapid.T, kind string) map[string]any {
	selector := anyMap(crds.SelectorLabels("ns", "a"))
	template := drawMap(t, "pod labels", 0)
	maps.Copy(template, selector)
	pod := map[string]any{"containers": drawContainers(t)}
	if chance(t, "tolerations") {
		pod["tolerations"] = []any{map[string]any{"key": rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "key"), "operator": "Exists"}}
	}
	if volumes := drawVolumes(t); len(volumes) > 0 {
		pod["volumes"] = volumes
	}
	spec := map[string]any{
		"selector": map[string]any{"matchLabels": selector},
		"template": map[string]any{"metadata": map[string]any{"labels": template}, "spec": pod},
	}
	if kind != "DaemonSet" && chance(t, "has replicas") {
		spec["replicas"] = rapid.Int64Range(0, 3).Draw(t, "replicas")
	}
	if kind == "StatefulSet" {
		spec["serviceName"] = "x"
	}
	return spec
}

func drawContainers(t *rapid.T) []any {
	names := rapid.Permutation([]string{"otc-container", "c2", "c3"}).Draw(t, "containers")
	var out []any
	for _, name := range names[:rapid.IntRange(1, 3).Draw(t, "number of containers")] {
		c := map[string]any{"name": name, "image": rapid.SampledFrom([]string{"i1", "i2"}).Draw(t, "image")}
		if ports := drawContainerPorts(t); len(ports) > 0 {
			c["ports"] = ports
		}
		if env := drawEnv(t); len(env) > 0 {
			c["env"] = env
		}
		if chance(t, "has args") {
			c["args"] = []any{"--a", rapid.SampledFrom([]string{"--b", "--c"}).Draw(t, "arg")}
		}
		if chance(t, "has resources") {
			c["resources"] = map[string]any{"limits": map[string]any{"memory": rapid.SampledFrom([]string{"1Gi", "2Gi"}).Draw(t, "memory")}}
		}
		if chance(t, "has a probe") {
			c["livenessProbe"] = map[string]any{
				"httpGet": map[string]any{"port": int64(13133), "path": "/"}, "periodSeconds": rapid.Int64Range(1, 3).Draw(t, "period"),
			}
		}
		out = append(out, c)
	}
	return out
}

func drawEnv(t *rapid.T) []any {
	var out []any
	names := rapid.Permutation([]string{"A", "B", "C"}).Draw(t, "env")
	for _, name := range names[:rapid.IntRange(0, 3).Draw(t, "number of env")] {
		e := map[string]any{"name": name}
		if chance(t, "from a field") {
			e["valueFrom"] = map[string]any{"fieldRef": map[string]any{"apiVersion": "v1", "fieldPath": "metadata.name"}}
		} else {
			e["value"] = rapid.SampledFrom([]string{"v1", "v2"}).Draw(t, "value")
		}
		out = append(out, e)
	}
	return out
}

func drawContainerPorts(t *rapid.T) []any {
	out := drawPorts(t, "containerPort")
	return out[:rapid.IntRange(0, len(out)).Draw(t, "number of container ports")]
}

// drawPorts are one at least. Ports of one number may differ in their protocol, which is part of their key.
func drawPorts(t *rapid.T, field string) []any {
	type key struct {
		number   int64
		protocol string
	}
	all := []key{{1, "TCP"}, {1, "UDP"}, {2, "TCP"}, {3, "TCP"}}
	keys := rapid.Permutation(all).Draw(t, "ports")
	var out []any
	for _, k := range keys[:rapid.IntRange(1, 4).Draw(t, "number of ports")] {
		p := map[string]any{field: k.number, "protocol": k.protocol, "name": fmt.Sprintf("p%d-%c", k.number, k.protocol[0]+32)}
		if chance(t, "renamed") {
			p["name"] = fmt.Sprintf("q%d-%c", k.number, k.protocol[0]+32)
		}
		out = append(out, p)
	}
	return out
}

func drawVolumes(t *rapid.T) []any {
	var out []any
	for _, name := range []string{"v1", "v2"} {
		switch rapid.IntRange(0, 2).Draw(t, "volume "+name) {
		case 1:
			out = append(out, map[string]any{"name": name, "emptyDir": map[string]any{}})
		case 2:
			out = append(out, map[string]any{"name": name, "configMap": map[string]any{"name": rapid.SampledFrom([]string{"m1", "m2"}).Draw(t, "config map")}})
		}
	}
	return out
}
