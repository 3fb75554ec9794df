package monitor

import (
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is one of the four custom resources.
type kind int

const (
	serviceMonitor kind = iota
	podMonitor
	probe
	scrapeConfig
	kinds // how many there are
)

// String is the kind as in a manifest.
func (k kind) String() string {
	switch k {
	case serviceMonitor:
		return monitoringv1.ServiceMonitorsKind
	case podMonitor:
		return monitoringv1.PodMonitorsKind
	case probe:
		return monitoringv1.ProbesKind
	default:
		return monitoringv1alpha1.ScrapeConfigsKind
	}
}

func (k kind) plural() string {
	switch k {
	case serviceMonitor:
		return monitoringv1.ServiceMonitorName
	case podMonitor:
		return monitoringv1.PodMonitorName
	case probe:
		return monitoringv1.ProbeName
	default:
		return monitoringv1alpha1.ScrapeConfigName
	}
}

// source is what the names of jobs of the kind begin with.
func (k kind) source() string {
	switch k {
	case serviceMonitor:
		return "serviceMonitor"
	case podMonitor:
		return "podMonitor"
	case probe:
		return "probe"
	default:
		return "scrapeConfig"
	}
}

func (k kind) resource() schema.GroupVersionResource {
	if k == scrapeConfig {
		return monitoringv1alpha1.SchemeGroupVersion.WithResource(k.plural())
	}
	return monitoringv1.SchemeGroupVersion.WithResource(k.plural())
}

// Resources that a Watcher watches with their content, each only when a selection selects from it.
func Resources() []schema.GroupVersionResource {
	out := make([]schema.GroupVersionResource, 0, int(kinds))
	for k := range kinds {
		out = append(out, k.resource())
	}
	return out
}
