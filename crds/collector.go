package crds

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
)

// Collector is an OpenTelemetryCollector of either served version, normalised: see Decode.
type Collector struct {
	Namespace         string
	Name              string
	UID               types.UID
	Generation        int64
	ResourceVersion   string
	Labels            map[string]string
	Annotations       map[string]string
	DeletionTimestamp *metav1.Time
	Finalizers        []string

	Spec   Spec
	Status Status
}

// Spec of a collector. Pod and container fields are apply configurations, because what the user wrote is what is
// applied: a field that is absent stays absent, and no zero value of a Go struct ends up being owned.
type Spec struct {
	ManagementState string `json:"managementState,omitempty"` // default managed
	UpgradeStrategy string `json:"upgradeStrategy,omitempty"` // default automatic
	Mode            string `json:"mode,omitempty"`            // default deployment

	// Config is decoded apart: it is a string or a structure.
	Config         Config `json:"-"`
	ConfigVersions *int32 `json:"configVersions,omitempty"` // unused ConfigMaps to keep, default 3, at least 1

	Replicas        *int32            `json:"replicas,omitempty"` // default 1
	Image           string            `json:"image,omitempty"`
	ImagePullPolicy string            `json:"imagePullPolicy,omitempty"`
	ServiceAccount  string            `json:"serviceAccount,omitempty"` // an existing one; otherwise one is made
	Args            map[string]string `json:"args,omitempty"`
	Command         []string          `json:"command,omitempty"`

	Env             []core.EnvVarApplyConfiguration                `json:"env,omitempty"`
	EnvFrom         []core.EnvFromSourceApplyConfiguration         `json:"envFrom,omitempty"`
	Ports           []Port                                         `json:"ports,omitempty"`
	VolumeMounts    []core.VolumeMountApplyConfiguration           `json:"volumeMounts,omitempty"`
	Resources       *core.ResourceRequirementsApplyConfiguration   `json:"resources,omitempty"`
	ResizePolicy    []core.ContainerResizePolicyApplyConfiguration `json:"resizePolicy,omitempty"`
	SecurityContext *core.SecurityContextApplyConfiguration        `json:"securityContext,omitempty"`
	Lifecycle       *core.LifecycleApplyConfiguration              `json:"lifecycle,omitempty"`
	LivenessProbe   *Probe                                         `json:"livenessProbe,omitempty"`
	ReadinessProbe  *Probe                                         `json:"readinessProbe,omitempty"`
	StartupProbe    *Probe                                         `json:"startupProbe,omitempty"`

	PodAnnotations                map[string]string                                 `json:"podAnnotations,omitempty"`
	PodSecurityContext            *core.PodSecurityContextApplyConfiguration        `json:"podSecurityContext,omitempty"`
	Volumes                       []core.VolumeApplyConfiguration                   `json:"volumes,omitempty"`
	ConfigMaps                    []ConfigMapMount                                  `json:"configmaps,omitempty"`
	InitContainers                []core.ContainerApplyConfiguration                `json:"initContainers,omitempty"`
	AdditionalContainers          []core.ContainerApplyConfiguration                `json:"additionalContainers,omitempty"`
	NodeSelector                  map[string]string                                 `json:"nodeSelector,omitempty"`
	Tolerations                   []core.TolerationApplyConfiguration               `json:"tolerations,omitempty"`
	Affinity                      *core.AffinityApplyConfiguration                  `json:"affinity,omitempty"`
	TopologySpreadConstraints     []core.TopologySpreadConstraintApplyConfiguration `json:"topologySpreadConstraints,omitempty"`
	PriorityClassName             string                                            `json:"priorityClassName,omitempty"`
	TerminationGracePeriodSeconds *int64                                            `json:"terminationGracePeriodSeconds,omitempty"`
	HostNetwork                   *bool                                             `json:"hostNetwork,omitempty"`
	HostPID                       *bool                                             `json:"hostPID,omitempty"`
	HostUsers                     *bool                                             `json:"hostUsers,omitempty"`
	HostAliases                   []core.HostAliasApplyConfiguration                `json:"hostAliases,omitempty"`
	ShareProcessNamespace         *bool                                             `json:"shareProcessNamespace,omitempty"`
	EnableServiceLinks            *bool                                             `json:"enableServiceLinks,omitempty"`
	DNSPolicy                     string                                            `json:"dnsPolicy,omitempty"`
	PodDNSConfig                  *core.PodDNSConfigApplyConfiguration              `json:"podDnsConfig,omitempty"`

	IPFamilies            []string                                      `json:"ipFamilies,omitempty"`
	IPFamilyPolicy        string                                        `json:"ipFamilyPolicy,omitempty"`
	TrafficDistribution   string                                        `json:"trafficDistribution,omitempty"`
	SessionAffinity       string                                        `json:"sessionAffinity,omitempty"`
	SessionAffinityConfig *core.SessionAffinityConfigApplyConfiguration `json:"sessionAffinityConfig,omitempty"`

	PodDisruptionBudget *DisruptionBudget `json:"podDisruptionBudget,omitempty"` // default maxUnavailable 1

	DeploymentUpdateStrategy  *apps.DeploymentStrategyApplyConfiguration        `json:"deploymentUpdateStrategy,omitempty"`
	DaemonSetUpdateStrategy   *apps.DaemonSetUpdateStrategyApplyConfiguration   `json:"daemonSetUpdateStrategy,omitempty"`
	StatefulSetUpdateStrategy *apps.StatefulSetUpdateStrategyApplyConfiguration `json:"statefulSetUpdateStrategy,omitempty"`
	MinReadySeconds           *int32                                            `json:"minReadySeconds,omitempty"`
	RevisionHistoryLimit      *int32                                            `json:"revisionHistoryLimit,omitempty"`

	// StatefulSets only.
	ServiceName                          string                                                                  `json:"serviceName,omitempty"` // default the headless Service
	PodManagementPolicy                  string                                                                  `json:"podManagementPolicy,omitempty"`
	VolumeClaimTemplates                 []core.PersistentVolumeClaimApplyConfiguration                          `json:"volumeClaimTemplates,omitempty"`
	PersistentVolumeClaimRetentionPolicy *apps.StatefulSetPersistentVolumeClaimRetentionPolicyApplyConfiguration `json:"persistentVolumeClaimRetentionPolicy,omitempty"`
	Ordinals                             *apps.StatefulSetOrdinalsApplyConfiguration                             `json:"ordinals,omitempty"`

	Observability *Observability `json:"observability,omitempty"`

	TargetAllocator *TargetAllocator `json:"targetAllocator,omitempty"` // see Allocation

	// Fields that are accepted, but not acted on yet: see UnsupportedFields. Only what other parts must know is typed.
	Autoscaler    *Autoscaler    `json:"autoscaler,omitempty"`
	Ingress       map[string]any `json:"ingress,omitempty"`
	HTTPRoute     map[string]any `json:"httpRoute,omitempty"`
	NetworkPolicy map[string]any `json:"networkPolicy,omitempty"`
}

// Port is a port of the Services, and of the container, beyond those that the configuration opens.
type Port struct {
	core.ServicePortApplyConfiguration `json:",inline"`
	// HostPort is the port of the node that leads to the container's.
	HostPort *int32 `json:"hostPort,omitempty"`
}

// ConfigMapMount mounts an existing ConfigMap of the collector's namespace below /var/conf.
type ConfigMapMount struct {
	Name      string `json:"name"`
	MountPath string `json:"mountpath"`
}

// Probe tunes a probe that the health_check extension gives rise to. Unset fields have the defaults of Kubernetes.
type Probe struct {
	InitialDelaySeconds           *int32 `json:"initialDelaySeconds,omitempty"`
	TimeoutSeconds                *int32 `json:"timeoutSeconds,omitempty"`
	PeriodSeconds                 *int32 `json:"periodSeconds,omitempty"`
	SuccessThreshold              *int32 `json:"successThreshold,omitempty"`
	FailureThreshold              *int32 `json:"failureThreshold,omitempty"`
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty"`
}

// DisruptionBudget is a number of pods or a percentage; at most one of the two.
type DisruptionBudget struct {
	MinAvailable   *intstr.IntOrString `json:"minAvailable,omitempty"`
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
}

// Autoscaler bounds the number of replicas.
type Autoscaler struct {
	MinReplicas             *int32           `json:"minReplicas,omitempty"`
	MaxReplicas             *int32           `json:"maxReplicas,omitempty"`
	Behavior                map[string]any   `json:"behavior,omitempty"`
	Metrics                 []map[string]any `json:"metrics,omitempty"`
	TargetCPUUtilization    *int32           `json:"targetCPUUtilization,omitempty"`
	TargetMemoryUtilization *int32           `json:"targetMemoryUtilization,omitempty"`
}

// Observability is how the collector's own telemetry is gathered.
type Observability struct {
	Metrics *ObservabilityMetrics `json:"metrics,omitempty"`
}

// ObservabilityMetrics is how the collector's own metrics are gathered.
type ObservabilityMetrics struct {
	EnableMetrics                bool              `json:"enableMetrics,omitempty"`
	ExtraLabels                  map[string]string `json:"extraLabels,omitempty"`
	DisablePrometheusAnnotations bool              `json:"disablePrometheusAnnotations,omitempty"`
}

// UnsupportedFields lists, by path, what the spec sets and this version does not act on.
func (s *Spec) UnsupportedFields() []string {
	var out []string
	if s.Autoscaler != nil {
		out = append(out, "spec.autoscaler")
	}
	if on(s.HTTPRoute, "enabled") {
		out = append(out, "spec.httpRoute")
	}
	if t, _ := s.Ingress["type"].(string); t != "" {
		out = append(out, "spec.ingress")
	}
	if s.Mode == ModeSidecar {
		out = append(out, "spec.mode: sidecar")
	}
	if on(s.NetworkPolicy, "enabled") {
		out = append(out, "spec.networkPolicy")
	}
	if s.Observability != nil && s.Observability.Metrics != nil && s.Observability.Metrics.EnableMetrics {
		out = append(out, "spec.observability.metrics.enableMetrics")
	}
	return append(out, s.TargetAllocator.unsupported()...)
}

// on tells whether a boolean in a structure is true.
func on(m map[string]any, key string) bool {
	v, ok := m[key].(bool)
	return ok && v
}
