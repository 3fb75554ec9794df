package reconcile

import (
	"regexp"
	"slices"
	"strings"
	"unique"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/otelier/otelier/crds"
)

// maxTold is how many bytes are kept of a message about a pod.
const maxTold = 200

// slimPod makes what is cached of a pod: its labels and owners, its phase, the claims and the configuration that it mounts, and in the form that the API server has it what there is
// to say when it is not well. Messages are made such that they stay the same while nothing else happens: see tidy. Restarts count to
// crashLoopRestarts. The pod that it returns shares values with the one it is given; of its own result it returns an equal one.
func slimPod(pod *unstructured.Unstructured) *unstructured.Unstructured {
	meta := map[string]any{}
	for _, key := range []string{"name", "namespace", "uid", "resourceVersion", "deletionTimestamp", "labels", "ownerReferences"} {
		if v, ok := valueAt[map[string]any](pod.Object, "metadata")[key]; ok {
			meta[key] = v
		}
	}
	for _, key := range []string{"labels", "ownerReferences"} {
		if v, ok := meta[key]; ok {
			meta[key] = shared(v)
		}
	}
	out := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": meta}
	status := pick(valueAt[map[string]any](pod.Object, "status"), "phase", "reason", "message")
	if list := slimConditions(pod); len(list) > 0 {
		status["conditions"] = list
	}
	for _, key := range []string{"initContainerStatuses", "containerStatuses"} {
		if list := slimContainers(elements(pod.Object, "status", key)); len(list) > 0 {
			status[key] = list
		}
	}
	out["status"] = status
	var volumes []any
	for _, name := range claimsOf(pod) {
		volumes = append(volumes, map[string]any{"persistentVolumeClaim": map[string]any{"claimName": name}})
	}
	if name := configOf(pod); name != "" {
		volumes = append(volumes, shared(map[string]any{"name": crds.ConfigVolume, "configMap": map[string]any{"name": name}}))
	}
	if len(volumes) > 0 {
		out["spec"] = map[string]any{"volumes": volumes}
	}
	return &unstructured.Unstructured{Object: out}
}

// shared copies v with one copy in memory of strings that many pods have in common, such as the keys of labels.
func shared(v any) any {
	switch v := v.(type) {
	case string:
		return unique.Make(v).Value()
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = shared(v[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			out[unique.Make(key).Value()] = shared(value)
		}
		return out
	default:
		return v
	}
}

// slimConditions are those that say what is wrong.
func slimConditions(pod *unstructured.Unstructured) []any {
	var out []any
	for _, kind := range []string{"PodScheduled", "Ready"} {
		c := conditionOf(pod, kind)
		if c == nil || c["status"] == "True" {
			continue
		}
		slim := pick(c, "type", "status", "reason", "message")
		if kind == "Ready" && slim["reason"] == "ContainersNotReady" {
			delete(slim, "reason") // the containers say more
			delete(slim, "message")
		}
		if text, ok := c["message"].(string); ok && kind == "PodScheduled" {
			slim["message"] = tidy(tidyScheduling(text))
		}
		out = append(out, slim)
	}
	return out
}

// slimContainers are those that are not at rest.
func slimContainers(all []map[string]any) []any {
	var out []any
	for _, c := range all {
		if atRest(c) {
			continue
		}
		slim := map[string]any{"name": c["name"]}
		if n := min(valueAt[int64](c, "restartCount"), crashLoopRestarts); n > 0 {
			slim["restartCount"] = n
		}
		if w := valueAt[map[string]any](c, "state", "waiting"); w != nil {
			slim["state"] = map[string]any{"waiting": slimWaiting(w)}
		} else if t := valueAt[map[string]any](c, "state", "terminated"); t != nil {
			slim["state"] = map[string]any{"terminated": pick(t, "reason", "exitCode", "message")}
		}
		if t := valueAt[map[string]any](c, "lastState", "terminated"); t != nil {
			slim["lastState"] = map[string]any{"terminated": pick(t, "reason", "exitCode", "message")}
		}
		out = append(out, slim)
	}
	return out
}

// slimWaiting gives the turns that the kubelet takes at pulling an image one form. How long it waits to restart a container is
// no news.
func slimWaiting(w map[string]any) map[string]any {
	out := pick(w, "reason", "message")
	switch out["reason"] {
	case "CrashLoopBackOff":
		delete(out, "message")
	case "ErrImagePull":
		out["reason"] = "ImagePullBackOff"
	}
	return out
}

// pick copies values; messages are tidied.
func pick(m map[string]any, keys ...string) map[string]any {
	out := map[string]any{}
	for _, key := range keys {
		v, ok := m[key]
		if text, is := v.(string); is && key == "message" {
			v = tidy(text)
			ok = v != ""
		}
		if ok {
			out[key] = v
		}
	}
	return out
}

// tidy is what is kept of a message: its last line, which of a log says why it ended, without what is another each time: times, the
// port that a connection happened to have, the IDs of containers, the duration of a back-off.
func tidy(text string) string {
	text = strings.TrimSpace(text)
	text = strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
	text = strings.ToValidUTF8(text, "")
	for _, cut := range []struct{ pattern, with string }{
		{`^Back-off pulling image "[^"]*": ErrImagePull: `, ""},
		{`back-off [0-9][0-9hms.]* `, ""},
		{`\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?\s*`, ""},
		{`\S+:\d+->`, ""},
		{`[0-9a-f]{32,}`, "…"},
		{`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`, "…"},
	} {
		text = regexp.MustCompile(cut.pattern).ReplaceAllString(text, cut.with)
	}
	if len(text) > maxTold {
		const more = "…"
		text = strings.ToValidUTF8(text[:maxTold-len(more)], "") + more
	}
	return strings.Clone(text) // not to keep the whole of a long one
}

// tidyScheduling leaves out of the scheduler's message how many nodes there are and what preempting would do, and puts the reasons
// in an order that does not depend on the numbers (k8s.io/kubernetes/pkg/scheduler/framework, FitError.Error).
func tidyScheduling(text string) string {
	m := regexp.MustCompile(`^0/\d+ nodes are available:? ?(.*?)\.?(?:,? ?preemption: .*|\. not found)?$`).FindStringSubmatch(text)
	if m == nil {
		return text
	}
	reasons := strings.Split(m[1], ", ")
	for i, r := range reasons {
		reasons[i] = regexp.MustCompile(`^\d+ `).ReplaceAllString(r, "")
	}
	slices.Sort(reasons)
	return strings.TrimSuffix("no node fits: "+strings.Join(slices.Compact(reasons), ", "), ": ")
}
