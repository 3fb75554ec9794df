package render

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/otelier/otelier/crds"
)

// services in front of the collector: base and headless when there is a port to reach, extension when an extension opens
// one, and monitoring always.
func (in *input) services() []*core.ServiceApplyConfiguration {
	var out []*core.ServiceApplyConfiguration
	if ports := in.servicePorts(); len(ports) > 0 {
		out = append(out, in.baseService(ports), in.headlessService(ports))
	}
	monitoring := core.ServicePort().WithName(crds.PortMonitoring).WithPort(in.ports.metrics).WithProtocol(corev1.ProtocolTCP)
	name := crds.MonitoringServiceName(in.Name)
	service := in.service(name, crds.ServiceTypeMonitoring, []core.ServicePortApplyConfiguration{*monitoring})
	service.WithLabels(map[string]string{crds.LabelMonitoringService: crds.LabelExists})
	out = append(out, service)
	if len(in.ports.extensions) > 0 {
		out = append(out, in.extensionService())
	}
	return out
}

func (in *input) baseService(ports []core.ServicePortApplyConfiguration) *core.ServiceApplyConfiguration {
	s := in.service(crds.WorkloadName(in.Name), crds.ServiceTypeBase, ports)
	s.Spec.WithInternalTrafficPolicy(in.trafficPolicy())
	return s
}

func (in *input) headlessService(ports []core.ServicePortApplyConfiguration) *core.ServiceApplyConfiguration {
	name := crds.HeadlessServiceName(in.Name)
	s := in.service(name, crds.ServiceTypeHeadless, ports)
	s.WithLabels(map[string]string{crds.LabelHeadlessService: crds.LabelExists})
	if _, ok := s.Annotations[crds.AnnotationServingCertSecret]; !ok {
		s.WithAnnotations(map[string]string{crds.AnnotationServingCertSecret: name + "-tls"})
	}
	s.Spec.WithInternalTrafficPolicy(in.trafficPolicy()).WithClusterIP(corev1.ClusterIPNone)
	s.Spec.SessionAffinity, s.Spec.SessionAffinityConfig = nil, nil // the API server warns that it ignores them
	return s
}

// extensionService has no IP families of its own, as the incumbent's has none.
func (in *input) extensionService() *core.ServiceApplyConfiguration {
	var ports []core.ServicePortApplyConfiguration
	for _, p := range in.ports.extensions {
		ports = append(ports, p.service())
	}
	s := in.service(crds.ExtensionServiceName(in.Name), crds.ServiceTypeExtension, ports)
	s.Spec.IPFamilies, s.Spec.IPFamilyPolicy = nil, nil
	return s
}

// service is what all Services of a collector have in common.
func (in *input) service(name, kind string, ports []core.ServicePortApplyConfiguration) *core.ServiceApplyConfiguration {
	labels := in.labels(name)
	labels[crds.LabelServiceType] = kind
	spec := core.ServiceSpec().WithSelector(in.selector())
	spec.Ports = ports
	spec.IPFamilies = in.ipFamilies()
	if p := in.Spec.IPFamilyPolicy; p != "" {
		spec.WithIPFamilyPolicy(corev1.IPFamilyPolicy(p))
	}
	if d := in.Spec.TrafficDistribution; d != "" {
		spec.WithTrafficDistribution(d)
	}
	if a := in.Spec.SessionAffinity; a != "" {
		spec.WithSessionAffinity(corev1.ServiceAffinity(a))
	}
	if in.hasAffinity() {
		spec.SessionAffinityConfig = in.Spec.SessionAffinityConfig
	}
	return core.Service(name, in.Namespace).WithLabels(labels).WithAnnotations(maps.Clone(in.annotations())).WithSpec(spec)
}

// hasAffinity tells whether a client stays with a collector. Without that, the API server drops what sessionAffinityConfig says of it.
func (in *input) hasAffinity() bool {
	return in.Spec.SessionAffinity == string(corev1.ServiceAffinityClientIP)
}

// ipFamilies are the spec's, and the other one where both are required, as the API server adds it to the list.
func (in *input) ipFamilies() []corev1.IPFamily {
	var out []corev1.IPFamily
	for _, f := range in.Spec.IPFamilies {
		out = append(out, corev1.IPFamily(f))
	}
	if len(out) != 1 || in.Spec.IPFamilyPolicy != string(corev1.IPFamilyPolicyRequireDualStack) {
		return out
	}
	if out[0] == corev1.IPv6Protocol {
		return append(out, corev1.IPv4Protocol)
	}
	return append(out, corev1.IPv6Protocol)
}

// trafficPolicy keeps traffic on the node where every node has a collector.
func (in *input) trafficPolicy() corev1.ServiceInternalTrafficPolicy {
	if in.Spec.Mode == crds.ModeDaemonSet {
		return corev1.ServiceInternalTrafficPolicyLocal
	}
	return corev1.ServiceInternalTrafficPolicyCluster
}

// servicePorts are the spec's as they are, and those of receivers and exporters that they leave room for.
func (in *input) servicePorts() []core.ServicePortApplyConfiguration {
	users := userPorts(in.Spec.Ports)
	var out []core.ServicePortApplyConfiguration
	for i, p := range in.Spec.Ports {
		s := p.ServicePortApplyConfiguration
		s.WithName(users[i].name).WithProtocol(users[i].protocol)
		if t := s.TargetPort; t != nil && (*t == intstr.FromInt32(0) || *t == intstr.FromString("")) {
			s.TargetPort = nil // which the API server takes for none
		}
		out = append(out, s)
	}
	for _, p := range mergePorts(users, in.ports.service)[len(users):] {
		out = append(out, p.service())
	}
	return out
}

func (p port) service() core.ServicePortApplyConfiguration {
	s := core.ServicePort().WithName(p.name).WithPort(p.number).WithProtocol(p.protocol)
	if p.appProtocol != "" {
		s.WithAppProtocol(p.appProtocol)
	}
	return *s
}
