package render

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/otelier/otelier/crds"
)

// container is the collector's own.
func (in *input) container() *core.ContainerApplyConfiguration {
	spec := in.Spec
	// A collector that does not start says why in its log alone; so its last lines become a part of the pod's status.
	c := core.Container().WithName(crds.ContainerName).WithImage(in.image).WithArgs(in.args()...).WithEnv(in.env()...).
		WithTerminationMessagePolicy(corev1.TerminationMessageFallbackToLogsOnError)
	if spec.ImagePullPolicy != "" {
		c.WithImagePullPolicy(corev1.PullPolicy(spec.ImagePullPolicy))
	}
	c.Command = spec.Command
	c.EnvFrom = spec.EnvFrom
	c.Ports = in.containerPorts()
	c.VolumeMounts = in.volumeMounts()
	c.Resources = spec.Resources
	c.ResizePolicy = spec.ResizePolicy
	c.SecurityContext = spec.SecurityContext
	c.Lifecycle = spec.Lifecycle
	c.LivenessProbe = in.probe(spec.LivenessProbe)
	c.ReadinessProbe = in.probe(spec.ReadinessProbe)
	c.StartupProbe = in.startupProbe()
	return c
}

func (in *input) args() []string {
	out := []string{"--config=" + path.Join(crds.ConfigMountPath, crds.ConfigFile)}
	for _, k := range slices.Sorted(maps.Keys(in.Spec.Args)) {
		if k != "config" {
			out = append(out, fmt.Sprintf("--%s=%s", k, in.Spec.Args[k]))
		}
	}
	return out
}

// env is the user's, then what the operator adds. Of variables with the same name Kubernetes takes the last, and server-side
// apply refuses them, so the last one is what stays; the user's win over the operator's.
func (in *input) env() []*core.EnvVarApplyConfiguration {
	var out []*core.EnvVarApplyConfiguration
	at := map[string]int{}
	for _, e := range in.Spec.Env {
		name := deref(e.Name)
		if i, ok := at[name]; ok {
			out[i] = &e
			continue
		}
		at[name] = len(out)
		out = append(out, &e)
	}
	add := func(e *core.EnvVarApplyConfiguration) {
		if _, ok := at[*e.Name]; !ok {
			at[*e.Name] = len(out)
			out = append(out, e)
		}
	}
	add(fieldEnv(crds.EnvPodName, "metadata.name"))
	add(resourceEnv(crds.EnvGoMemLimit, "limits.memory"))
	add(resourceEnv(crds.EnvGoMaxProcs, "limits.cpu"))
	if slices.ContainsFunc(in.doc.used("receivers"), func(id string) bool { return componentType(id) == typeKubelet }) {
		add(fieldEnv(crds.EnvNodeName, "spec.nodeName"))
	}
	for _, k := range slices.Sorted(maps.Keys(in.options.Env)) {
		add(core.EnvVar().WithName(k).WithValue(in.options.Env[k]))
	}
	return out
}

func fieldEnv(name, field string) *core.EnvVarApplyConfiguration {
	return core.EnvVar().WithName(name).WithValueFrom(core.EnvVarSource().
		WithFieldRef(core.ObjectFieldSelector().WithFieldPath(field)))
}

func resourceEnv(name, res string) *core.EnvVarApplyConfiguration {
	return core.EnvVar().WithName(name).WithValueFrom(core.EnvVarSource().
		WithResourceFieldRef(core.ResourceFieldSelector().WithContainerName(crds.ContainerName).WithResource(res)))
}

// containerPorts are all ports of the spec and of the configuration, and the one of the collector's own metrics.
func (in *input) containerPorts() []core.ContainerPortApplyConfiguration {
	inferred := slices.Concat(in.ports.service, in.ports.extensions)
	ports := mergePorts(userPorts(in.Spec.Ports), inferred)
	ports = mergePorts(ports, []port{{name: crds.PortMetrics, number: in.ports.metrics, protocol: corev1.ProtocolTCP}})
	slices.SortStableFunc(ports, func(a, b port) int { return cmp.Compare(a.name, b.name) })
	out := make([]core.ContainerPortApplyConfiguration, 0, len(ports))
	for _, p := range ports {
		c := core.ContainerPort().WithName(p.name).WithContainerPort(p.number).WithProtocol(p.protocol)
		c.HostPort = p.hostPort
		out = append(out, *c)
	}
	return out
}

func (in *input) volumeMounts() []core.VolumeMountApplyConfiguration {
	out := []core.VolumeMountApplyConfiguration{
		*core.VolumeMount().WithName(crds.ConfigVolume).WithMountPath(crds.ConfigMountPath),
	}
	out = append(out, in.Spec.VolumeMounts...)
	for _, m := range in.Spec.ConfigMaps {
		name := crds.ExtraConfigVolume(m.Name)
		out = append(out, *core.VolumeMount().WithName(name).WithMountPath(path.Join(crds.ExtraConfigPath, m.MountPath, name)))
	}
	return out
}

// probe asks the health_check extension; nil when the collector has none. The three probes differ by what the user tunes.
func (in *input) probe(tune *crds.Probe) *core.ProbeApplyConfiguration {
	ids := in.doc.usedExtensions()
	i := slices.IndexFunc(ids, func(id string) bool { return componentType(id) == typeHealth })
	if i < 0 {
		return nil
	}
	settings := in.doc.section("extensions", ids[i])
	number, route := int32(healthPort), "/"
	if address, _ := settings["endpoint"].(string); endpointPort(address) != 0 {
		number = endpointPort(address)
	}
	if p, _ := settings["path"].(string); p != "" {
		route = p
	}
	get := core.HTTPGetAction().WithPath(route).WithPort(intstr.FromInt32(number))
	if settings["tls"] != nil {
		get.WithScheme(corev1.URISchemeHTTPS)
	}
	out := core.Probe().WithHTTPGet(get)
	if tune != nil {
		out.InitialDelaySeconds = tune.InitialDelaySeconds
		out.TimeoutSeconds = tune.TimeoutSeconds
		out.PeriodSeconds = tune.PeriodSeconds
		out.SuccessThreshold = tune.SuccessThreshold
		out.FailureThreshold = tune.FailureThreshold
		out.TerminationGracePeriodSeconds = tune.TerminationGracePeriodSeconds
	}
	return out
}

// startupPatience is for how long a collector that shares targets may take to start: it asks the allocator for its jobs until it is told some,
// and gives up by itself after 15 minutes (receiver/prometheusreceiver/internal/targetallocator of the Collector's contrib repository,
// by the default of github.com/cenkalti/backoff). Were it killed before, it would be started again ever later, and go without targets for
// as much as 5 minutes after the allocator is back.
const startupPatience = 16 * 60

// startupProbe waits for a collector that waits for the allocator.
func (in *input) startupProbe() *core.ProbeApplyConfiguration {
	out := in.probe(in.Spec.StartupProbe)
	if out == nil || in.allocation == nil || out.FailureThreshold != nil {
		return out
	}
	const defaultPeriod = 10 // of Kubernetes, in seconds
	period := deref(out.PeriodSeconds)
	if period <= 0 {
		period = defaultPeriod
	}
	return out.WithFailureThreshold(max(1, startupPatience/period))
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
