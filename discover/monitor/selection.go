package monitor

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Selector says which objects of a kind count, by their labels and those of their namespaces.
type Selector struct {
	// Objects by label; nil selects none, an empty one all.
	Objects *metav1.LabelSelector
	// Namespaces by label; nil selects the pool's own, an empty one all.
	Namespaces *metav1.LabelSelector
}

// Selection is spec.targetAllocator.prometheusCR, and prometheus_cr of the configuration file, as plain values. It must not be changed
// once it has been given to a Watcher.
type Selection struct {
	ServiceMonitors, PodMonitors, Probes, ScrapeConfigs Selector

	// AllowNamespaces are the only ones that count, unless empty. DenyNamespaces never count.
	AllowNamespaces, DenyNamespaces []string
	// SecretNamespaces are those whose Secrets are read; nil for all. An object elsewhere that refers to a Secret is left out.
	SecretNamespaces []string
	// DenyFileAccess leaves out jobs that have a scraper read a file: credentials, certificates, or targets.
	DenyFileAccess bool
	// NoFileDiscovery leaves out jobs whose service discovery reads a file: it is one of the process that discovers, which is not for the
	// owners of monitors when that is shared by many.
	NoFileDiscovery bool

	// ScrapeInterval of objects that don't say, and EvaluationInterval, which no job depends on; 0 stands for 30 s.
	ScrapeInterval, EvaluationInterval time.Duration
	// ScrapeProtocols of objects that don't say; Prometheus' own when empty.
	ScrapeProtocols []string
	// ScrapeClasses that objects may name. Secrets that a class refers to are those of the object's namespace.
	ScrapeClasses []monitoringv1.ScrapeClass

	// Namespace of the pool.
	Namespace string
}

const defaultInterval = 30 * time.Second

// Validate says why nothing can be selected by s at all.
func (s *Selection) Validate() error {
	if _, err := s.matcher(); err != nil {
		return err
	}
	return newProfile(s).err
}

// settings are what the translation of an object depends on besides the object. Two selections with equal settings share their jobs.
type settings struct {
	Scrape, Evaluation time.Duration
	Protocols          []string
	Classes            []monitoringv1.ScrapeClass
	SecretNamespaces   []string
	AllSecrets         bool
	DenyFiles          bool
	NoFileDiscovery    bool
}

func (s *Selection) settings() settings {
	out := settings{
		Scrape: s.ScrapeInterval, Evaluation: s.EvaluationInterval, Protocols: s.ScrapeProtocols, Classes: s.ScrapeClasses,
		SecretNamespaces: slices.Sorted(slices.Values(s.SecretNamespaces)), AllSecrets: s.SecretNamespaces == nil, DenyFiles: s.DenyFileAccess,
		NoFileDiscovery: s.NoFileDiscovery,
	}
	if out.Scrape <= 0 {
		out.Scrape = defaultInterval
	}
	if out.Evaluation <= 0 {
		out.Evaluation = defaultInterval
	}
	return out
}

// key identifies equal settings.
func (s settings) key() (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}

// permissions are the settings without those that are a matter of taste.
func (s settings) permissions() settings {
	s.Scrape, s.Evaluation, s.Protocols = 0, 0, nil
	return s
}

// secretsOf says whether Secrets of a namespace may be read.
func (s settings) secretsOf(namespace string) bool {
	return s.AllSecrets || slices.Contains(s.SecretNamespaces, namespace)
}

func duration(d time.Duration) monitoringv1.Duration {
	return monitoringv1.Duration(model.Duration(d).String())
}

func (s *Selection) selector(k kind) Selector {
	switch k {
	case serviceMonitor:
		return s.ServiceMonitors
	case podMonitor:
		return s.PodMonitors
	case probe:
		return s.Probes
	default:
		return s.ScrapeConfigs
	}
}

// matcher is a Selection ready to be asked.
type matcher struct {
	pool        string
	allow, deny map[string]bool
	objects     [kinds]labels.Selector
	namespaces  [kinds]labels.Selector // nil: the pool's own
}

func (s *Selection) matcher() (*matcher, error) {
	m := &matcher{pool: s.Namespace, allow: set(s.AllowNamespaces), deny: set(s.DenyNamespaces)}
	var errs []error
	for k := range kinds {
		sel := s.selector(k)
		var err error
		if m.objects[k], err = metav1.LabelSelectorAsSelector(sel.Objects); err != nil {
			errs = append(errs, fmt.Errorf("selector of %s: %w", k.plural(), err))
		}
		if sel.Namespaces == nil {
			continue
		}
		if m.namespaces[k], err = metav1.LabelSelectorAsSelector(sel.Namespaces); err != nil {
			errs = append(errs, fmt.Errorf("selector of namespaces of %s: %w", k.plural(), err))
		}
	}
	return m, errors.Join(errs...)
}

func set(of []string) map[string]bool {
	out := make(map[string]bool, len(of))
	for _, s := range of {
		out[s] = true
	}
	return out
}

// wants says whether any object of a kind could be selected.
func (m *matcher) wants(k kind) bool {
	_, selectable := m.objects[k].Requirements()
	return selectable
}

// byNamespaceLabels says whether the labels of namespaces matter for kind k.
func (m *matcher) byNamespaceLabels(k kind) bool {
	return m.wants(k) && m.namespaces[k] != nil && !m.namespaces[k].Empty()
}

// selects says whether an object counts, given the labels of its namespace.
func (m *matcher) selects(o *object, namespace labels.Set) bool {
	if m.deny[o.Namespace] || (len(m.allow) > 0 && !m.allow[o.Namespace]) {
		return false
	}
	if by := m.namespaces[o.kind]; by == nil {
		if o.Namespace != m.pool {
			return false
		}
	} else if !by.Empty() && !by.Matches(namespace) {
		return false
	}
	return m.objects[o.kind].Matches(labels.Set(o.Labels))
}
