package monitor

import (
	"context"
	"fmt"
	"log/slog"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus-operator/prometheus-operator/pkg/operator"
	generator "github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// profile translates objects by one set of settings, for all selections that have them, and keeps what came of it.
type profile struct {
	settings settings
	// err is why nothing can be translated with these settings.
	err     error
	server  monitoringv1.Prometheus
	metrics *operator.Metrics

	entries map[objectKey]*entry
	users   int // how many subscriptions have these settings
}

// entry is what came of an object.
type entry struct {
	object *object
	translation
	// stale entries are to be translated again: what they refer to has changed.
	stale bool
}

// newProfile prepares the Prometheus that the library is to believe it configures: one that differs from its defaults only in what the
// settings say, in that it discovers EndpointSlices, and in that it has no external labels, which a scrape job doesn't have.
func newProfile(s *Selection) *profile {
	p := &profile{settings: s.settings(), metrics: operator.NewMetrics(prometheus.NewRegistry()), entries: map[objectKey]*entry{}}
	role, none, everything := monitoringv1.EndpointSliceRole, "", &metav1.LabelSelector{}
	fields := &p.server.Spec.CommonPrometheusFields
	fields.ScrapeInterval = duration(p.settings.Scrape)
	fields.ServiceDiscoveryRole = &role
	fields.PrometheusExternalLabelName, fields.ReplicaExternalLabelName = &none, &none
	fields.ServiceMonitorSelector, fields.PodMonitorSelector, fields.ProbeSelector, fields.ScrapeConfigSelector = everything, everything, everything, everything
	for _, protocol := range p.settings.Protocols {
		fields.ScrapeProtocols = append(fields.ScrapeProtocols, monitoringv1.ScrapeProtocol(protocol))
	}
	for i := range p.settings.Classes {
		class := p.settings.Classes[i].DeepCopy()
		if class.Authorization != nil && class.Authorization.Type == "" {
			class.Authorization.Type = "Bearer" // The library would write it, into what all translations share.
		}
		fields.ScrapeClasses = append(fields.ScrapeClasses, *class)
	}
	p.server.Spec.EvaluationInterval = duration(p.settings.Evaluation)
	p.server.Name, p.server.Namespace = "pool", "pool"
	if _, err := p.generator(slog.New(slog.DiscardHandler)); err != nil {
		p.err = err
	}
	return p
}

func (p *profile) generator(log *slog.Logger) (*generator.ConfigGenerator, error) {
	g, err := generator.NewConfigGenerator(log, &p.server, generator.WithEndpointSliceSupport(), generator.WithInlineTLSConfig())
	if err != nil {
		return nil, fmt.Errorf("settings of the selection: %w", err)
	}
	return g, nil
}

// alike says whether what p and q make of an object differs at most in how it is scraped, not in what may be read or sent.
func (p *profile) alike(q *profile) bool {
	a, errA := p.settings.permissions().key()
	b, errB := q.settings.permissions().key()
	return errA == nil && errB == nil && a == b
}

// class is the scrape class of an object: the one that it names, else the default, else nil.
func (p *profile) class(name *string) *monitoringv1.ScrapeClass {
	var fallback *monitoringv1.ScrapeClass
	for i := range p.server.Spec.ScrapeClasses {
		class := &p.server.Spec.ScrapeClasses[i]
		if name != nil && class.Name == *name {
			return class
		}
		if class.Default != nil && *class.Default {
			fallback = class
		}
	}
	return fallback
}

// complaints is a log that keeps the first error. The library logs a reference that it can't resolve while it generates, and leaves
// the credential out; such a job must not be served.
type complaints struct{ first string }

func (*complaints) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }

func (c *complaints) Handle(_ context.Context, r slog.Record) error {
	if c.first != "" {
		return nil
	}
	c.first = r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			c.first += ": " + a.Value.String()
		}
		return true
	})
	return nil
}

func (c *complaints) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c *complaints) WithGroup(string) slog.Handler      { return c }
