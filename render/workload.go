package render

import (
	appsv1 "k8s.io/api/apps/v1"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/otelier/otelier/crds"
)

// workload is the Deployment, DaemonSet or StatefulSet around the pod template.
func (in *input) workload() any {
	switch in.Spec.Mode {
	case crds.ModeDaemonSet:
		return in.daemonSet()
	case crds.ModeStatefulSet:
		return in.statefulSet()
	default:
		return in.deployment()
	}
}

func (in *input) deployment() *apps.DeploymentApplyConfiguration {
	name := crds.WorkloadName(in.Name)
	spec := apps.DeploymentSpec().WithReplicas(in.replicas()).WithSelector(in.selectorConfig()).WithTemplate(in.podTemplate())
	spec.Strategy = deploymentStrategy(in.Spec.DeploymentUpdateStrategy)
	spec.MinReadySeconds = in.Spec.MinReadySeconds
	spec.RevisionHistoryLimit = in.Spec.RevisionHistoryLimit
	return apps.Deployment(name, in.Namespace).WithLabels(in.labels(name)).WithAnnotations(in.annotations()).WithSpec(spec)
}

func (in *input) daemonSet() *apps.DaemonSetApplyConfiguration {
	name := crds.WorkloadName(in.Name)
	spec := apps.DaemonSetSpec().WithSelector(in.selectorConfig()).WithTemplate(in.podTemplate())
	spec.UpdateStrategy = daemonSetStrategy(in.Spec.DaemonSetUpdateStrategy)
	spec.MinReadySeconds = in.Spec.MinReadySeconds
	spec.RevisionHistoryLimit = in.Spec.RevisionHistoryLimit
	return apps.DaemonSet(name, in.Namespace).WithLabels(in.labels(name)).WithAnnotations(in.annotations()).WithSpec(spec)
}

func (in *input) statefulSet() *apps.StatefulSetApplyConfiguration {
	name := crds.WorkloadName(in.Name)
	spec := apps.StatefulSetSpec().WithReplicas(in.replicas()).WithSelector(in.selectorConfig()).WithTemplate(in.podTemplate()).
		WithServiceName(crds.HeadlessServiceName(in.Name)).WithPodManagementPolicy(appsv1.ParallelPodManagement)
	if in.Spec.ServiceName != "" {
		spec.WithServiceName(in.Spec.ServiceName)
	}
	if in.Spec.PodManagementPolicy != "" {
		spec.WithPodManagementPolicy(appsv1.PodManagementPolicyType(in.Spec.PodManagementPolicy))
	}
	spec.VolumeClaimTemplates = in.claimTemplates()
	spec.PersistentVolumeClaimRetentionPolicy = in.Spec.PersistentVolumeClaimRetentionPolicy
	spec.Ordinals = in.Spec.Ordinals
	spec.UpdateStrategy = statefulSetStrategy(in.Spec.StatefulSetUpdateStrategy)
	spec.MinReadySeconds = in.Spec.MinReadySeconds
	spec.RevisionHistoryLimit = in.Spec.RevisionHistoryLimit
	return apps.StatefulSet(name, in.Namespace).WithLabels(in.labels(name)).WithAnnotations(in.annotations()).WithSpec(spec)
}

// claimTemplates are the user's, without a status: nothing reads it, and manifests written by programs have an empty one.
func (in *input) claimTemplates() []core.PersistentVolumeClaimApplyConfiguration {
	var out []core.PersistentVolumeClaimApplyConfiguration
	for _, t := range in.Spec.VolumeClaimTemplates {
		t.Status = nil
		out = append(out, t)
	}
	return out
}

// replicas is the number of pods: the spec's, but no fewer than an autoscaler's minimum.
func (in *input) replicas() int32 {
	n := int32(1)
	if in.Spec.Replicas != nil {
		n = *in.Spec.Replicas
	}
	if a := in.Spec.Autoscaler; a != nil && a.MinReplicas != nil {
		n = max(n, *a.MinReplicas)
	}
	return n
}
