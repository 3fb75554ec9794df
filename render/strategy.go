package render

import (
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
)

// Strategies are spelt out with the API server's defaults (k8s.io/kubernetes/pkg/apis/apps/v1/defaults.go). Fields that it fills in
// belong to nobody, so that nobody could take them out again, and the API server refuses rollingUpdate beside another type.

func deploymentStrategy(user *apps.DeploymentStrategyApplyConfiguration) *apps.DeploymentStrategyApplyConfiguration {
	out := apps.DeploymentStrategy().WithType(appsv1.RollingUpdateDeploymentStrategyType)
	if user != nil {
		*out = *user
	}
	if out.Type == nil {
		out.WithType(appsv1.RollingUpdateDeploymentStrategyType)
	}
	if *out.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return out
	}
	rolling := apps.RollingUpdateDeployment()
	if out.RollingUpdate != nil {
		*rolling = *out.RollingUpdate
	}
	if rolling.MaxUnavailable == nil {
		rolling.WithMaxUnavailable(intstr.FromString("25%"))
	}
	if rolling.MaxSurge == nil {
		rolling.WithMaxSurge(intstr.FromString("25%"))
	}
	return out.WithRollingUpdate(rolling)
}

func daemonSetStrategy(user *apps.DaemonSetUpdateStrategyApplyConfiguration) *apps.DaemonSetUpdateStrategyApplyConfiguration {
	out := apps.DaemonSetUpdateStrategy().WithType(appsv1.RollingUpdateDaemonSetStrategyType)
	if user != nil {
		*out = *user
	}
	if out.Type == nil {
		out.WithType(appsv1.RollingUpdateDaemonSetStrategyType)
	}
	if *out.Type != appsv1.RollingUpdateDaemonSetStrategyType {
		return out
	}
	rolling := apps.RollingUpdateDaemonSet()
	if out.RollingUpdate != nil {
		*rolling = *out.RollingUpdate
	}
	if rolling.MaxUnavailable == nil {
		rolling.WithMaxUnavailable(intstr.FromInt32(1))
	}
	if rolling.MaxSurge == nil {
		rolling.WithMaxSurge(intstr.FromInt32(0))
	}
	return out.WithRollingUpdate(rolling)
}

func statefulSetStrategy(user *apps.StatefulSetUpdateStrategyApplyConfiguration) *apps.StatefulSetUpdateStrategyApplyConfiguration {
	out := apps.StatefulSetUpdateStrategy().WithType(appsv1.RollingUpdateStatefulSetStrategyType)
	if user != nil {
		*out = *user
	}
	if out.Type == nil {
		out.WithType(appsv1.RollingUpdateStatefulSetStrategyType)
	}
	if *out.Type != appsv1.RollingUpdateStatefulSetStrategyType {
		return out
	}
	rolling := apps.RollingUpdateStatefulSetStrategy()
	if out.RollingUpdate != nil {
		*rolling = *out.RollingUpdate
	}
	if rolling.Partition == nil {
		rolling.WithPartition(0)
	}
	return out.WithRollingUpdate(rolling)
}
