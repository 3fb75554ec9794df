package render

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	meta "k8s.io/client-go/applyconfigurations/meta/v1"
	policy "k8s.io/client-go/applyconfigurations/policy/v1"

	"github.com/otelier/otelier/crds"
)

// labels of the object called name: the collector's own, then those that say what it is, then those that select it.
func (in *input) labels(name string) map[string]string {
	out := filtered(in.Labels, in.options.LabelsFilter)
	if _, ok := out[crds.LabelName]; !ok {
		out[crds.LabelName] = name
	}
	out[crds.LabelVersion] = in.version
	maps.Copy(out, in.selector())
	return out
}

func (in *input) selector() map[string]string { return crds.SelectorLabels(in.Namespace, in.Name) }

// annotations that every object has: the collector's own, without those that only concern the collector's manifest.
func (in *input) annotations() map[string]string {
	return filtered(in.Annotations, in.options.AnnotationsFilter)
}

// podAnnotations of the template. The user's win over ours, and the hash makes pods roll when what they read changes.
func (in *input) podAnnotations() map[string]string {
	out := in.annotations()
	maps.Copy(out, in.Spec.PodAnnotations)
	if o := in.Spec.Observability; o == nil || o.Metrics == nil || !o.Metrics.DisablePrometheusAnnotations {
		added := false
		for k, v := range map[string]string{
			crds.AnnotationScrape:     "true",
			crds.AnnotationScrapePort: itoa(in.ports.metrics),
			crds.AnnotationScrapePath: "/metrics",
		} {
			if _, ok := out[k]; !ok {
				out[k], added = v, true
			}
		}
		if added {
			out[crds.AnnotationPrometheusAdded] = "true"
		}
	}
	out[crds.AnnotationConfigHash] = in.hash
	return out
}

// filtered is in without the keys that drop matches, and without those that the operator goes by on objects, which must be its own, and on
// collectors, which would make pods roll for nothing.
func filtered(in map[string]string, drop []*regexp.Regexp) map[string]string {
	out := make(map[string]string, len(in)+8)
	for k, v := range in {
		if !isOurs(k) && !slices.ContainsFunc(drop, func(r *regexp.Regexp) bool { return r.MatchString(k) }) {
			out[k] = v
		}
	}
	return out
}

func isOurs(key string) bool {
	switch key {
	case crds.LabelOwner, crds.AnnotationReplicasYielded, crds.AnnotationTolerance, crds.AnnotationMaxTargets, crds.AnnotationZones:
		return true
	default:
		return false
	}
}

// selectorConfig is the LabelSelector of the collector's pods.
func (in *input) selectorConfig() *meta.LabelSelectorApplyConfiguration {
	return meta.LabelSelector().WithMatchLabels(in.selector())
}

func (in *input) serviceAccountName() string {
	if in.Spec.ServiceAccount != "" {
		return in.Spec.ServiceAccount
	}
	return crds.WorkloadName(in.Name)
}

func (in *input) serviceAccount() *core.ServiceAccountApplyConfiguration {
	name := crds.WorkloadName(in.Name)
	return core.ServiceAccount(name, in.Namespace).WithLabels(in.labels(name)).WithAnnotations(in.annotations())
}

// configMap is named by what it holds, so that a pod keeps what it was started with, and a rollback finds what it needs.
func (in *input) configMap() *core.ConfigMapApplyConfiguration {
	name := crds.ConfigMapName(in.Name, in.hash)
	return core.ConfigMap(name, in.Namespace).WithLabels(in.labels(name)).WithAnnotations(in.annotations()).
		WithImmutable(true).WithData(map[string]string{crds.ConfigFile: in.config})
}

func (in *input) disruptionBudget() *policy.PodDisruptionBudgetApplyConfiguration {
	name := crds.WorkloadName(in.Name)
	spec := policy.PodDisruptionBudgetSpec().WithSelector(in.selectorConfig())
	if b := in.Spec.PodDisruptionBudget; b != nil && (b.MinAvailable != nil || b.MaxUnavailable != nil) {
		spec.MinAvailable, spec.MaxUnavailable = b.MinAvailable, b.MaxUnavailable
	} else {
		spec.WithMaxUnavailable(intstr.FromInt32(1))
	}
	return policy.PodDisruptionBudget(name, in.Namespace).WithLabels(in.labels(name)).WithAnnotations(in.annotations()).
		WithSpec(spec)
}

// imageVersion is the tag of an image reference, "latest" without one, and of a reference by digest alone the digest's hex
// digits; cut to what a label may hold.
func imageVersion(image string) string {
	ref, digest, _ := strings.Cut(image, "@")
	name := ref[strings.LastIndex(ref, "/")+1:]
	if _, tag, ok := strings.Cut(name, ":"); ok {
		return crds.LabelValue(tag)
	}
	if _, sum, ok := strings.Cut(digest, ":"); ok {
		return crds.LabelValue(sum)
	}
	return "latest"
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
