package crds

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	allocatorPath  = "spec.targetAllocator"
	prometheusPath = allocatorPath + ".prometheusCR"
	defaultPeriod  = 30 * time.Second
)

// Allocation is what a collector wants of the allocator: spec.targetAllocator and the annotations that go with it, checked and with the
// defaults of the OpenTelemetry Operator (its apis/v1beta1/targetallocator_types.go).
type Allocation struct {
	// Strategy is one of the constants that begin with Strategy.
	Strategy string
	// FilterRelabel leaves out targets that relabelling drops.
	FilterRelabel bool
	// ReloadInterval is how often a collector asks for its jobs.
	ReloadInterval time.Duration
	// NotReadyGrace is how long a pod that is not ready keeps its targets; 0 for ever.
	NotReadyGrace time.Duration
	// AllowInsecureAuthSecrets lets jobs with secrets out over a channel that is not trusted.
	AllowInsecureAuthSecrets bool
	// Monitors are the resources of the Prometheus Operator; nil when they are not used.
	Monitors *MonitorSelection
	// Tolerance is by how much a pod may exceed its fair share, as a fraction from 0.
	Tolerance float64
	// MaxTargets is how many targets a pod gets at most; 0 for no limit.
	MaxTargets int
	// Zones makes pods get the targets of their own zone first.
	Zones bool
}

// MonitorSelection is which resources of the Prometheus Operator are used, and how.
type MonitorSelection struct {
	ServiceMonitors, PodMonitors, Probes, ScrapeConfigs MonitorSelector
	// AllowNamespaces are the only namespaces to look in, all when empty; DenyNamespaces those not to look in. One of them is empty.
	AllowNamespaces, DenyNamespaces []string
	// SecretNamespaces are those whose Secrets and ConfigMaps may be read; at least one.
	SecretNamespaces []string
	// DenyFileAccess drops endpoints that name files of the collector's file system.
	DenyFileAccess bool
	// ScrapeInterval and EvaluationInterval of what names none.
	ScrapeInterval, EvaluationInterval time.Duration
	// ScrapeProtocols to offer, the preferred first; empty for Prometheus' own.
	ScrapeProtocols []string
	// ScrapeClasses as they are in spec.targetAllocator.
	ScrapeClasses []map[string]any
}

// MonitorSelector selects the resources of one kind. Both selectors are valid; nil selects nothing, and Namespaces is never nil.
type MonitorSelector struct {
	Objects, Namespaces *metav1.LabelSelector
}

// Allocation is what c wants of the allocator, nil when it wants nothing of it. It shares maps and slices with c.
//
// Errors are *FieldError.
func (c *Collector) Allocation() (*Allocation, error) {
	t := c.Spec.TargetAllocator
	if t == nil || !t.Enabled {
		return nil, nil
	}
	out := &Allocation{
		FilterRelabel:            t.FilterStrategy == nil || *t.FilterStrategy == FilterRelabelConfig,
		AllowInsecureAuthSecrets: t.AllowInsecureAuthSecrets,
	}
	var err error
	if out.Strategy, err = c.strategy(t.AllocationStrategy); err != nil {
		return nil, err
	}
	if out.ReloadInterval, err = period(t.CollectorTargetReloadInterval, time.Second, allocatorPath+".collectorTargetReloadInterval"); err != nil {
		return nil, err
	}
	if out.NotReadyGrace, err = period(t.CollectorNotReadyGracePeriod, 0, allocatorPath+".collectorNotReadyGracePeriod"); err != nil {
		return nil, err
	}
	if out.Monitors, err = t.PrometheusCR.selection(c.Namespace); err != nil {
		return nil, err
	}
	return out, c.allocationRules(out)
}

// strategy goes by the same rules as the CRD's, for objects that are older than it.
func (c *Collector) strategy(name string) (string, error) {
	name = cmp.Or(name, StrategyConsistentHashing)
	path := allocatorPath + ".allocationStrategy"
	switch mode := cmp.Or(c.Spec.Mode, ModeDeployment); {
	case mode != ModeStatefulSet && mode != ModeDaemonSet:
		return "", &FieldError{allocatorPath + ".enabled", fmt.Sprintf("true with spec.mode %s, want mode %s or %s", mode, ModeStatefulSet, ModeDaemonSet)}
	case mode == ModeDaemonSet && name != StrategyPerNode:
		return "", &FieldError{path, fmt.Sprintf("got %s, want %s with spec.mode %s", name, StrategyPerNode, mode)}
	case mode == ModeStatefulSet && name != StrategyLeastWeighted && name != StrategyConsistentHashing:
		return "", &FieldError{path, fmt.Sprintf("got %s, want %s or %s with spec.mode %s", name, StrategyConsistentHashing, StrategyLeastWeighted, mode)}
	}
	return name, nil
}

// period reads a duration of at least least; without a text it is the default.
func period(text string, least time.Duration, path string) (time.Duration, error) {
	if text == "" {
		return defaultPeriod, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < least {
		return 0, &FieldError{path, fmt.Sprintf("got %q, want a duration of at least %v, such as 30s", text, least)}
	}
	return d, nil
}

// selection is nil when p is not enabled. namespace is the collector's.
func (p *PrometheusCR) selection(namespace string) (*MonitorSelection, error) {
	if p == nil || !p.Enabled {
		return nil, nil
	}
	out := &MonitorSelection{
		AllowNamespaces: p.AllowNamespaces, DenyNamespaces: p.DenyNamespaces, SecretNamespaces: p.SecretNamespaces,
		DenyFileAccess: p.DenyFSAccessThroughSMs, ScrapeProtocols: p.ScrapeProtocols, ScrapeClasses: p.ScrapeClasses,
	}
	if len(p.AllowNamespaces) > 0 && len(p.DenyNamespaces) > 0 {
		return nil, &FieldError{prometheusPath + ".denyNamespaces", "set together with allowNamespaces, want one of them only"}
	}
	if len(p.SecretNamespaces) == 0 {
		out.SecretNamespaces = []string{namespace}
	}
	var err error
	if out.ScrapeInterval, err = period(p.ScrapeInterval, time.Millisecond, prometheusPath+".scrapeInterval"); err != nil {
		return nil, err
	}
	if out.EvaluationInterval, err = period(p.EvaluationInterval, time.Millisecond, prometheusPath+".evaluationInterval"); err != nil {
		return nil, err
	}
	for _, kind := range []struct {
		name                string
		objects, namespaces *metav1.LabelSelector
		into                *MonitorSelector
	}{
		{"serviceMonitor", p.ServiceMonitorSelector, p.ServiceMonitorNamespaceSelector, &out.ServiceMonitors},
		{"podMonitor", p.PodMonitorSelector, p.PodMonitorNamespaceSelector, &out.PodMonitors},
		{"probe", p.ProbeSelector, p.ProbeNamespaceSelector, &out.Probes},
		{"scrapeConfig", p.ScrapeConfigSelector, p.ScrapeConfigNamespaceSelector, &out.ScrapeConfigs},
	} {
		if err := checkSelector(kind.objects, kind.name+"Selector"); err != nil {
			return nil, err
		}
		if err := checkSelector(kind.namespaces, kind.name+"NamespaceSelector"); err != nil {
			return nil, err
		}
		*kind.into = MonitorSelector{Objects: kind.objects, Namespaces: cmp.Or(kind.namespaces, &metav1.LabelSelector{})}
	}
	return out, nil
}

func checkSelector(s *metav1.LabelSelector, name string) error {
	if _, err := metav1.LabelSelectorAsSelector(s); err != nil {
		return &FieldError{prometheusPath + "." + name, fmt.Sprintf("%v; want matchLabels and matchExpressions as in any label selector", err)}
	}
	return nil
}

// allocationRules reads the annotations.
func (c *Collector) allocationRules(into *Allocation) error {
	for _, a := range []struct {
		name, want string
		read       func(string) bool
	}{
		{AnnotationTolerance, "a fraction or percentage from 0, such as 0.05 or 5%", func(s string) (ok bool) {
			into.Tolerance, ok = fraction(s)
			return ok
		}},
		{AnnotationMaxTargets, "a whole number from 1", func(s string) bool {
			n, err := strconv.ParseInt(s, 10, 32)
			into.MaxTargets = int(n)
			return err == nil && n >= 1
		}},
		{AnnotationZones, "true or false", func(s string) bool {
			into.Zones = s == "true"
			return into.Zones || s == "false"
		}},
	} {
		if text, ok := c.Annotations[a.name]; ok && !a.read(strings.TrimSpace(text)) {
			return &FieldError{"metadata.annotations[" + a.name + "]", fmt.Sprintf("got %q, want %s", text, a.want)}
		}
	}
	return nil
}

// fraction reads 0.05 or 5%.
func fraction(s string) (float64, bool) {
	number, percent := strings.CutSuffix(s, "%")
	f, err := strconv.ParseFloat(number, 64)
	if percent {
		f /= 100
	}
	return f, err == nil && f >= 0 && f <= 100
}
