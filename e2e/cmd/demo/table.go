package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/otelier/otelier/e2e/controlplane"
)

// ours selects what otelier makes, and the pods and claims of its workloads.
const ours = "app.kubernetes.io/managed-by=opentelemetry-operator"

const namespace = "default"

// row is one object: its kind, its name, how it is and one thing more about it.
type row [4]string

// view is how objects of a resource are shown.
type view struct {
	kind     string
	resource schema.GroupVersionResource
	selector string
	state    func(*unstructured.Unstructured) string
	detail   func(*unstructured.Unstructured) string
}

func views() []view {
	text := func(path ...string) func(*unstructured.Unstructured) string {
		return func(u *unstructured.Unstructured) string { return field(u, path...) }
	}
	return []view{
		{
			"collector",
			schema.GroupVersionResource{Group: "opentelemetry.io", Version: "v1beta1", Resource: "opentelemetrycollectors"},
			"",
			readiness, text("status", "scale", "statusReplicas"),
		},
		{
			"statefulset",
			schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"},
			ours,
			func(u *unstructured.Unstructured) string {
				return field(u, "status", "readyReplicas") + "/" + field(u, "spec", "replicas")
			},
			text("status", "updateRevision"),
		},
		{"pod", schema.GroupVersionResource{Version: "v1", Resource: "pods"}, ours, text("status", "phase"), text("spec", "nodeName")},
		{
			"claim",
			schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"},
			ours,
			text("status", "phase"), text("status", "capacity", "storage"),
		},
	}
}

// rows are the objects that there are now.
func (s *story) rows(ctx context.Context) ([]row, error) {
	var out []row
	for _, v := range views() {
		list, err := s.client.Resource(v.resource).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: v.selector})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", v.resource.Resource, err)
		}
		for _, u := range list.Items {
			out = append(out, row{v.kind, u.GetName(), v.state(&u), v.detail(&u)})
		}
	}
	return out, nil
}

// readiness is what the Ready condition says.
func readiness(u *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Ready" {
			return fmt.Sprintf("Ready=%v", m["status"])
		}
	}
	return "Ready=Unknown"
}

func field(u *unstructured.Unstructured, path ...string) string {
	v, ok, _ := unstructured.NestedFieldNoCopy(u.Object, path...)
	if !ok {
		return "-"
	}
	return fmt.Sprint(v)
}

func table(out io.Writer, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	last := ""
	for _, r := range rows {
		kind := r[0]
		if kind == last {
			kind = "" // said once for all of a kind
		}
		last = r[0]
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", kind, r[1], r[2], r[3]) // Flush returns the error
	}
	return w.Flush()
}

// wrote says what the operator has had stored since a position of the audit log: "1 statefulset, 2 statuses, 2 events".
func (s *story) wrote(ctx context.Context, since controlplane.Position) (string, error) {
	writes, err := s.cp.Audit().Writes(ctx, since, "otelier/")
	if err != nil {
		return "", err
	}
	counts := map[string]int{}
	for _, w := range controlplane.Persisted(writes) {
		what := w.Resource
		if w.Subresource != "" {
			what = w.Subresource
		}
		counts[what]++
	}
	if len(counts) == 0 {
		return "nothing", nil
	}
	var out []string
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprintf("%s %d", what, counts[what]))
	}
	return strings.Join(out, ", "), nil
}
