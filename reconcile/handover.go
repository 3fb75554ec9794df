package reconcile

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/otelier/otelier/crds"
)

// yieldReplicas returns the intent for a workload without its replicas, and says so, while they are an autoscaler's: somebody's who has
// set them through the scale subresource. What the spec said then is kept in an annotation; once it says another number, it counts
// again, and the workload goes straight there.
//
// Server-side apply sets a field that nobody applies any more back to its default, so as long as we alone own the replicas, the
// live number is applied.
func yieldReplicas(
	c *crds.Collector, want, live *unstructured.Unstructured, theirs *carried,
) (*unstructured.Unstructured, *Note, error) {
	n, ok, _ := unstructured.NestedInt64(want.Object, "spec", "replicas")
	if !ok {
		return want, nil, nil
	}
	spec, path := specReplicas(c), fieldpath.MakePathOrDie("spec", "replicas")
	if live == nil {
		// While a StatefulSet is made anew, the status remembers.
		number, ok := scaledTo(c)
		if !ok || c.Status.YieldedReplicas == nil || *c.Status.YieldedReplicas != spec {
			return want, nil, nil
		}
		if owners := theirs.ownersOf(path); len(owners) > 0 {
			return yielded(want, spec, nil), yieldNote(want, spec, owners), nil // the number comes with what is carried
		}
		return yielded(want, spec, &number), yieldNote(want, spec, nil), nil
	}
	owners, err := ownersOf(live)
	if err != nil {
		return nil, nil, err
	}
	others := owners.others(path)
	at, since := live.GetAnnotations()[crds.AnnotationReplicasYielded]
	now, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
	switch {
	case since && at != strconv.FormatInt(spec, 10), len(others) > 0 && !scaler(c, others), !since && (now == n || len(others) == 0):
		return want, nil, nil
	case len(others) == 0:
		return yielded(want, spec, &now), yieldNote(want, spec, nil), nil
	}
	return yielded(want, spec, nil), yieldNote(want, spec, others), nil
}

// specReplicas is what the spec says, which need not be what is rendered: an autoscaler's minimum may be more.
func specReplicas(c *crds.Collector) int64 {
	if c.Spec.Replicas == nil {
		return 1
	}
	return int64(*c.Spec.Replicas)
}

// scaledTo is the number of replicas that a collector's workload wanted when its status was written.
func scaledTo(c *crds.Collector) (int64, bool) {
	if c.Status.Scale == nil {
		return 0, false
	}
	_, wanted, _ := strings.Cut(c.Status.Scale.StatusReplicas, "/")
	n, err := strconv.ParseInt(wanted, 10, 64)
	return n, err == nil
}

// scaler tells whether one of the owners is an autoscaler. People scale too, with kubectl: that counts when the spec says that the
// number is not its own.
func scaler(c *crds.Collector, owners []Owner) bool {
	for _, o := range owners {
		if o.Subresource == "scale" && (c.Spec.Autoscaler != nil || !strings.HasPrefix(o.Manager, "kubectl")) {
			return true
		}
	}
	return false
}

func yielded(want *unstructured.Unstructured, spec int64, replicas *int64) *unstructured.Unstructured {
	out := want.DeepCopy()
	annotations := out.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[crds.AnnotationReplicasYielded] = strconv.FormatInt(spec, 10)
	out.SetAnnotations(annotations)
	if m, ok := out.Object["spec"].(map[string]any); ok {
		delete(m, "replicas")
		if replicas != nil {
			m["replicas"] = *replicas
		}
	}
	return out
}

func yieldNote(want *unstructured.Unstructured, spec int64, owners []Owner) *Note {
	by := "somebody else"
	if len(owners) > 0 {
		by = owners[0].Manager
	}
	return &Note{Kind: NoteReplicasYielded, Reason: crds.ReasonScaledByOther, ID: idOf(want), Number: spec, Message: fmt.Sprintf(
		"the number of replicas is set by %s; spec.replicas (%d) counts again when it changes", by, spec)}
}
