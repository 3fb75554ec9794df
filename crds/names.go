package crds

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The API as the OpenTelemetry Operator defined it, so that its manifests apply unchanged.
const (
	Group           = "opentelemetry.io"
	VersionV1Beta1  = "v1beta1"  // stored
	VersionV1Alpha1 = "v1alpha1" // served for older manifests
	Kind            = "OpenTelemetryCollector"
	Resource        = "opentelemetrycollectors"
)

// Who we are to the API server.
const (
	// FieldManager owns, by server-side apply, every field that the operator writes, in objects and in statuses.
	FieldManager = "otelier"
	// FinalizerManager owns nothing but Finalizer on collectors, so that applying anything else can't drop it.
	FinalizerManager = "otelier/finalizer"
	// Finalizer keeps a collector from going before its cluster-scoped objects are gone. It is there only while there are any.
	Finalizer = "otelier.io/cluster-objects"
	// DryRunLeaseName is the Lease of replicas that only observe: they must not keep those that work from it.
	DryRunLeaseName = "otelier-dry-run"
	// EventReporter is the reportingController of the Events.
	EventReporter = "otelier.io/operator"
	// LeaseName is the Lease that replicas of the operator elect their leader with.
	LeaseName = "otelier"
	// Program is the name of the binary, of its User-Agent and of the objects of its own installation.
	Program = "otelier"
)

// Labels. The first four select a collector's pods and are immutable in its workload.
const (
	LabelManagedBy = "app.kubernetes.io/managed-by"
	LabelInstance  = "app.kubernetes.io/instance"
	LabelPartOf    = "app.kubernetes.io/part-of"
	LabelComponent = "app.kubernetes.io/component"
	LabelName      = "app.kubernetes.io/name"
	LabelVersion   = "app.kubernetes.io/version"

	ManagedBy          = "opentelemetry-operator"
	PartOf             = "opentelemetry"
	ComponentCollector = "opentelemetry-collector"

	// LabelOwner is the UID of the collector that a cluster-scoped object belongs to.
	LabelOwner = "otelier.io/owner"

	LabelServiceType       = "operator.opentelemetry.io/collector-service-type"
	LabelHeadlessService   = "operator.opentelemetry.io/collector-headless-service"
	LabelMonitoringService = "operator.opentelemetry.io/collector-monitoring-service"
	LabelExists            = "Exists"
)

// Values of LabelServiceType.
const (
	ServiceTypeBase       = "base"
	ServiceTypeHeadless   = "headless"
	ServiceTypeMonitoring = "monitoring"
	ServiceTypeExtension  = "extension"
)

// Annotations.
const (
	// AnnotationConfigHash on the pod template is the hex SHA-256 of the collector.yaml that the pods read.
	AnnotationConfigHash = "opentelemetry-operator-config/sha256"

	// AnnotationReplicasYielded on a workload whose replicas somebody else sets is the number that the spec had then. When the spec
	// says another number, it counts again.
	AnnotationReplicasYielded = "otelier.io/replicas-yielded"

	AnnotationScrape            = "prometheus.io/scrape"
	AnnotationScrapePort        = "prometheus.io/port"
	AnnotationScrapePath        = "prometheus.io/path"
	AnnotationPrometheusAdded   = "operator.opentelemetry.io/prometheus-annotations-added"
	AnnotationLastApplied       = "kubectl.kubernetes.io/last-applied-configuration"
	AnnotationServingCertSecret = "service.beta.openshift.io/serving-cert-secret-name"
)

// Annotations about sharing targets out, for what spec.targetAllocator has no field for. But for the weight they are on collectors, and
// not copied to their objects: what they say is not read in the pods.
const (
	// AnnotationTargetWeight on a pod, or on a ServiceMonitor, PodMonitor, Probe or ScrapeConfig, is what one of its targets weighs when
	// they are shared out: a whole number from 1, which is the default.
	AnnotationTargetWeight = "otelier.io/target-weight"
	// AnnotationTolerance is by how much a pod may exceed its fair share, as a fraction or in percent: 0.05 or 5%. Default 0.
	AnnotationTolerance = "otelier.io/allocation-tolerance"
	// AnnotationMaxTargets is how many targets a pod gets at most: a whole number from 1. Default no limit.
	AnnotationMaxTargets = "otelier.io/max-targets-per-collector"
	// AnnotationZones is "true" when pods are to get the targets of their own zone first. Default "false".
	AnnotationZones = "otelier.io/allocation-zones"
)

// AnnotationsFilter matches annotations that tools keep on a collector's manifest for themselves. Copied to pods they would
// make them roll whenever the tool runs.
const AnnotationsFilter = `^(kubectl\.kubernetes\.io/last-applied-configuration$|argocd\.argoproj\.io/|reconcile\.fluxcd\.io/|meta\.helm\.sh/)`

// Inside the pod.
const (
	ContainerName   = "otc-container"
	ConfigVolume    = "otc-internal"
	ConfigMountPath = "/conf"
	ConfigFile      = "collector.yaml"
	ExtraConfigPath = "/var/conf"

	PortMetrics    = "metrics"    // the container's
	PortMonitoring = "monitoring" // the monitoring Service's

	EnvPodName    = "POD_NAME"
	EnvNodeName   = "K8S_NODE_NAME"
	EnvGoMemLimit = "GOMEMLIMIT"
	EnvGoMaxProcs = "GOMAXPROCS"
)

// Modes of a collector.
const (
	ModeDeployment  = "deployment"
	ModeDaemonSet   = "daemonset"
	ModeStatefulSet = "statefulset"
	ModeSidecar     = "sidecar"
)

// Values of spec.targetAllocator.allocationStrategy.
const (
	StrategyLeastWeighted     = "least-weighted"
	StrategyConsistentHashing = "consistent-hashing" // the default
	StrategyPerNode           = "per-node"
)

// FilterRelabelConfig is the value of spec.targetAllocator.filterStrategy with which targets that relabelling drops are left out.
const FilterRelabelConfig = "relabel-config"

// The allocator's address: a Service of the operator's own namespace.
const (
	AllocatorService           = Program
	AllocatorPort              = 80
	AllocatorPortName          = "targetallocation" // the Service's; too long for a container's
	AllocatorContainerPort     = 8081
	AllocatorContainerPortName = "targets"
	// DefaultNamespace is where the operator is installed unless it is told otherwise.
	DefaultNamespace = "otelier-system"
)

// ReceiverPrometheus is the type of the receivers that scrape, and the ID of the one without a name.
const ReceiverPrometheus = "prometheus"

// Values of spec.managementState.
const (
	StateManaged   = "managed"
	StateUnmanaged = "unmanaged"
)

// MaxNameLength is the length of a DNS label (RFC 1123), which every name here must fit into because it ends up in one.
const MaxNameLength = 63

// CollectorResource is the GroupVersionResource that the operator reads and writes collectors at.
func CollectorResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: VersionV1Beta1, Resource: Resource}
}

// WorkloadName names the Deployment, DaemonSet or StatefulSet of the collector called name, and what shares its name:
// its ServiceAccount, base Service and PodDisruptionBudget.
func WorkloadName(name string) string { return objectName("%s-collector", name) }

// HeadlessServiceName names the headless Service.
func HeadlessServiceName(name string) string { return objectName("%s-collector-headless", name) }

// MonitoringServiceName names the Service in front of the collectors' own metrics.
func MonitoringServiceName(name string) string { return objectName("%s-collector-monitoring", name) }

// ExtensionServiceName names the Service in front of the ports that extensions open.
func ExtensionServiceName(name string) string { return objectName("%s-collector-extension", name) }

// ConfigMapName names the ConfigMap that holds the configuration whose hex SHA-256 is hash.
func ConfigMapName(name, hash string) string {
	return objectName("%s-collector-%s", name, hash[:min(8, len(hash))])
}

// ExtraConfigVolume names the volume, and the last element of the mount path, of an entry of spec.configmaps.
func ExtraConfigVolume(configMap string) string { return objectName("configmap-%s", configMap) }

// Instance is the value of LabelInstance.
func Instance(namespace, name string) string { return truncate("%s.%s", namespace, name) }

// SelectorLabels select the pods of one collector. They never change over its life.
func SelectorLabels(namespace, name string) map[string]string {
	return map[string]string{
		LabelManagedBy: ManagedBy,
		LabelInstance:  Instance(namespace, name),
		LabelPartOf:    PartOf,
		LabelComponent: ComponentCollector,
	}
}

// OwnedSelector matches, server-side, every object that the operator may own.
func OwnedSelector() string {
	return fmt.Sprintf("%s=%s,%s=%s", LabelManagedBy, ManagedBy, LabelComponent, ComponentCollector)
}

// AllocatorURL is where collectors reach the allocator of an operator that is installed in namespace.
func AllocatorURL(namespace string) string {
	return fmt.Sprintf("http://%s.%s.svc:%d", AllocatorService, namespace, AllocatorPort)
}

// PoolName names one of a collector's pools of targets within its namespace. A collector has a pool for each of its prometheus
// receivers: that of "prometheus" has the collector's name, that of "prometheus/x" is "NAME:x", whichever others there are: pods that have
// not rolled yet go on asking where they did. Names of collectors have no colon.
func PoolName(name, receiver string) string {
	if _, x, ok := strings.Cut(receiver, "/"); ok {
		return name + ":" + x
	}
	return name
}

// PoolPath is the path below the allocator's address at which it serves a pool, percent-encoded and without a slash at its end.
func PoolPath(namespace, pool string) string {
	return "/pools/" + url.PathEscape(namespace) + "/" + url.PathEscape(pool)
}

// objectName is the incumbent's naming rule (its internal/naming), kept exact so that an existing fleet is taken over in
// place: format to at most 63 characters, then make a DNS label of it.
func objectName(format string, args ...string) string { return dnsName(truncate(format, args...)) }

// truncate formats args; when the result is too long, the first argument is cut from its end until it fits, then the next.
func truncate(format string, args ...string) string {
	for excess := len(sprintf(format, args)) - MaxNameLength; excess > 0; excess = len(sprintf(format, args)) - MaxNameLength {
		i := slices.IndexFunc(args, func(s string) bool { return s != "" })
		if i < 0 {
			break
		}
		args[i] = args[i][:max(0, len(args[i])-excess)]
	}
	return strings.TrimFunc(sprintf(format, args), func(r rune) bool { return !alphanumeric(r) })
}

func sprintf(format string, args []string) string {
	values := make([]any, len(args))
	for i, a := range args {
		values[i] = a
	}
	return fmt.Sprintf(format, values...)
}

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// dnsName lower-cases, turns what a DNS label must not hold into "-", and into "a" where "-" is not allowed either.
func dnsName(name string) string {
	out := []rune(strings.ToLower(name))
	for i, r := range out {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
		case i == 0 || i == len(out)-1:
			out[i] = 'a'
		default:
			out[i] = '-'
		}
	}
	return string(out)
}

// LabelValue makes a label's value of s: at most 63 characters of those that a label may hold, alphanumeric at both ends.
func LabelValue(s string) string {
	s = strings.Map(func(r rune) rune {
		if alphanumeric(r) || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, s)
	return strings.TrimFunc(s[:min(MaxNameLength, len(s))], func(r rune) bool { return !alphanumeric(r) })
}
