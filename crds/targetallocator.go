package crds

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TargetAllocator shares the targets of the prometheus receivers out among a collector's pods. It is read through Allocation.
type TargetAllocator struct {
	Enabled            bool   `json:"enabled,omitempty"`
	AllocationStrategy string `json:"allocationStrategy,omitempty"` // default consistent-hashing
	// FilterStrategy is relabel-config by default; any other value, and the empty one too, means none.
	FilterStrategy                *string       `json:"filterStrategy,omitempty"`
	CollectorNotReadyGracePeriod  string        `json:"collectorNotReadyGracePeriod,omitempty"`  // 60s, or this if it is longer; 0 for ever
	CollectorTargetReloadInterval string        `json:"collectorTargetReloadInterval,omitempty"` // default 30s
	AllowInsecureAuthSecrets      bool          `json:"allowInsecureAuthSecrets,omitempty"`
	PrometheusCR                  *PrometheusCR `json:"prometheusCR,omitempty"`

	// Accepted, but not acted on: see UnsupportedFields. All but mtls were for the allocator's own pods, and here it is in the
	// operator's.
	MTLS                      map[string]any   `json:"mtls,omitempty"`
	Observability             *Observability   `json:"observability,omitempty"`
	Telemetry                 map[string]any   `json:"telemetry,omitempty"`
	Replicas                  *int32           `json:"replicas,omitempty"` // the schema's default is 1
	Image                     string           `json:"image,omitempty"`
	ServiceAccount            string           `json:"serviceAccount,omitempty"`
	Env                       []map[string]any `json:"env,omitempty"`
	Resources                 map[string]any   `json:"resources,omitempty"`
	SecurityContext           map[string]any   `json:"securityContext,omitempty"`
	PodSecurityContext        map[string]any   `json:"podSecurityContext,omitempty"`
	PodDisruptionBudget       map[string]any   `json:"podDisruptionBudget,omitempty"`
	NodeSelector              map[string]any   `json:"nodeSelector,omitempty"`
	Tolerations               []map[string]any `json:"tolerations,omitempty"`
	Affinity                  map[string]any   `json:"affinity,omitempty"`
	TopologySpreadConstraints []map[string]any `json:"topologySpreadConstraints,omitempty"`
}

// PrometheusCR selects resources of the Prometheus Operator. Where Decode has seen the dialect of v1alpha1, selectors of monitors
// that were absent are {} here.
type PrometheusCR struct {
	Enabled                bool             `json:"enabled,omitempty"`
	AllowNamespaces        []string         `json:"allowNamespaces,omitempty"`
	DenyNamespaces         []string         `json:"denyNamespaces,omitempty"`
	SecretNamespaces       []string         `json:"secretNamespaces,omitempty"` // default the collector's
	DenyFSAccessThroughSMs bool             `json:"denyFSAccessThroughSMs,omitempty"`
	ScrapeInterval         string           `json:"scrapeInterval,omitempty"`     // default 30s
	EvaluationInterval     string           `json:"evaluationInterval,omitempty"` // default 30s
	ScrapeProtocols        []string         `json:"scrapeProtocols,omitempty"`
	ScrapeClasses          []map[string]any `json:"scrapeClasses,omitempty"`

	// Selectors of objects: nil selects none, {} all.
	ServiceMonitorSelector *metav1.LabelSelector `json:"serviceMonitorSelector,omitempty"`
	PodMonitorSelector     *metav1.LabelSelector `json:"podMonitorSelector,omitempty"`
	ProbeSelector          *metav1.LabelSelector `json:"probeSelector,omitempty"`
	ScrapeConfigSelector   *metav1.LabelSelector `json:"scrapeConfigSelector,omitempty"`

	// Selectors of namespaces: nil and {} select all.
	ServiceMonitorNamespaceSelector *metav1.LabelSelector `json:"serviceMonitorNamespaceSelector,omitempty"`
	PodMonitorNamespaceSelector     *metav1.LabelSelector `json:"podMonitorNamespaceSelector,omitempty"`
	ProbeNamespaceSelector          *metav1.LabelSelector `json:"probeNamespaceSelector,omitempty"`
	ScrapeConfigNamespaceSelector   *metav1.LabelSelector `json:"scrapeConfigNamespaceSelector,omitempty"`
}

// unsupported lists, by path, what an allocator that is on is told in vain.
func (t *TargetAllocator) unsupported() []string {
	if t == nil || !t.Enabled {
		return nil
	}
	observed := t.Observability != nil && t.Observability.Metrics != nil && t.Observability.Metrics.EnableMetrics
	var out []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"affinity", len(t.Affinity) > 0},
		{"env", len(t.Env) > 0},
		{"image", t.Image != ""},
		{"mtls", on(t.MTLS, "enabled")},
		{"nodeSelector", len(t.NodeSelector) > 0},
		{"observability", observed},
		{"podDisruptionBudget", len(t.PodDisruptionBudget) > 0},
		{"podSecurityContext", len(t.PodSecurityContext) > 0},
		{"replicas", t.Replicas != nil && *t.Replicas != 1},
		{"resources", len(t.Resources) > 0},
		{"securityContext", len(t.SecurityContext) > 0},
		{"serviceAccount", t.ServiceAccount != ""},
		{"telemetry", len(t.Telemetry) > 0},
		{"tolerations", len(t.Tolerations) > 0},
		{"topologySpreadConstraints", len(t.TopologySpreadConstraints) > 0},
	} {
		if f.set {
			out = append(out, allocatorPath+"."+f.name)
		}
	}
	return out
}
