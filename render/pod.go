package render

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/otelier/otelier/crds"
)

// podTemplate is the one that every kind of workload has.
func (in *input) podTemplate() *core.PodTemplateSpecApplyConfiguration {
	spec := in.Spec
	pod := core.PodSpec().WithServiceAccountName(in.serviceAccountName()).WithDNSPolicy(in.dnsPolicy())
	pod.InitContainers = spec.InitContainers
	pod.Containers = slices.Concat([]core.ContainerApplyConfiguration{*in.container()}, spec.AdditionalContainers)
	pod.Volumes = in.volumes()
	pod.SecurityContext = spec.PodSecurityContext
	pod.NodeSelector = spec.NodeSelector
	pod.Tolerations = spec.Tolerations
	pod.Affinity = spec.Affinity
	if spec.Mode != crds.ModeDaemonSet { // whose controller has chosen the node already
		pod.TopologySpreadConstraints = spec.TopologySpreadConstraints
	}
	pod.TerminationGracePeriodSeconds = spec.TerminationGracePeriodSeconds
	pod.HostNetwork = spec.HostNetwork
	pod.HostPID = spec.HostPID
	pod.HostUsers = spec.HostUsers
	pod.HostAliases = hostAliases(spec.HostAliases)
	pod.ShareProcessNamespace = spec.ShareProcessNamespace
	pod.EnableServiceLinks = spec.EnableServiceLinks
	if spec.PriorityClassName != "" {
		pod.WithPriorityClassName(spec.PriorityClassName)
	}
	if c := spec.PodDNSConfig; c != nil && (len(c.Nameservers) > 0 || len(c.Searches) > 0 || len(c.Options) > 0) {
		pod.DNSConfig = c
	}
	return core.PodTemplateSpec().
		WithLabels(in.labels(crds.WorkloadName(in.Name))).WithAnnotations(in.podAnnotations()).WithSpec(pod)
}

// dnsPolicy follows from where the pod lives and where it asks, unless the user says it.
func (in *input) dnsPolicy() corev1.DNSPolicy {
	switch c := in.Spec.PodDNSConfig; {
	case in.Spec.DNSPolicy != "":
		return corev1.DNSPolicy(in.Spec.DNSPolicy)
	case c != nil && len(c.Nameservers) > 0:
		return corev1.DNSNone
	case deref(in.Spec.HostNetwork):
		return corev1.DNSClusterFirstWithHostNet
	default:
		return corev1.DNSClusterFirst
	}
}

func (in *input) volumes() []core.VolumeApplyConfiguration {
	config := core.ConfigMapVolumeSource().WithName(crds.ConfigMapName(in.Name, in.hash)).
		WithItems(core.KeyToPath().WithKey(crds.ConfigFile).WithPath(crds.ConfigFile))
	out := []core.VolumeApplyConfiguration{*core.Volume().WithName(crds.ConfigVolume).WithConfigMap(config)}
	for _, v := range in.Spec.Volumes {
		if v.VolumeSourceApplyConfiguration == (core.VolumeSourceApplyConfiguration{}) {
			// What the API server makes of it, in our name: another source can then take its place.
			v.WithEmptyDir(core.EmptyDirVolumeSource())
		}
		out = append(out, v)
	}
	added := map[string]bool{} // one volume can be mounted at several places
	for _, m := range in.Spec.ConfigMaps {
		if !added[m.Name] {
			added[m.Name] = true
			out = append(out, *core.Volume().WithName(crds.ExtraConfigVolume(m.Name)).
				WithConfigMap(core.ConfigMapVolumeSource().WithName(m.Name)))
		}
	}
	return out
}

// hostAliases are the user's, those with the same address as one: server-side apply takes an address only once.
func hostAliases(user []core.HostAliasApplyConfiguration) []core.HostAliasApplyConfiguration {
	var out []core.HostAliasApplyConfiguration
	at := map[string]int{}
	for _, a := range user {
		if i, ok := at[deref(a.IP)]; ok {
			out[i].Hostnames = slices.Concat(out[i].Hostnames, a.Hostnames)
			continue
		}
		at[deref(a.IP)] = len(out)
		out = append(out, a)
	}
	return out
}
