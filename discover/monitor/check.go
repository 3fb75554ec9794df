package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	"github.com/prometheus-operator/prometheus-operator/pkg/assets"
	"github.com/prometheus-operator/prometheus-operator/pkg/operator"
	generator "github.com/prometheus-operator/prometheus-operator/pkg/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
)

// checked is one object that passed, as the generator takes it.
type checked struct {
	serviceMonitors map[string]*monitoringv1.ServiceMonitor
	podMonitors     map[string]*monitoringv1.PodMonitor
	probes          map[string]*monitoringv1.Probe
	scrapeConfigs   map[string]*monitoringv1alpha1.ScrapeConfig
}

// check has prometheus-operator select the object out of a list of one, which validates it and loads what it refers to into the
// store. It is given neither informers nor a namespace selector, which makes it look in the namespace of the server alone: that of the
// object.
func (p *profile) check(ctx context.Context, o *object, store *assets.StoreBuilder) (checked, error) {
	server := p.server
	server.Namespace = o.Namespace
	const oneEvent = 1 // The recorder blocks when it is full.
	log := slog.New(slog.DiscardHandler)
	selector, err := generator.NewResourceSelector(log, &server, store, nil, p.metrics, operator.NewFakeRecorder(oneEvent, &server))
	if err != nil {
		return checked{}, err
	}
	resource := o.resource()
	list := func(_ string, _ labels.Selector, add cache.AppendFunc) error {
		add(resource)
		return nil
	}
	var out checked
	switch o.kind {
	case serviceMonitor:
		out.serviceMonitors, err = verdict(selector.SelectServiceMonitors(ctx, list))
	case podMonitor:
		out.podMonitors, err = verdict(selector.SelectPodMonitors(ctx, list))
	case probe:
		out.probes, err = verdict(selector.SelectProbes(ctx, list))
	default:
		out.scrapeConfigs, err = verdict(selector.SelectScrapeConfigs(ctx, list))
	}
	return out, err
}

// verdict is the object, or why it was rejected.
func verdict[T operator.ConfigurationResource](found operator.TypedResourcesSelection[T], err error) (map[string]T, error) {
	if err != nil {
		return nil, err
	}
	valid := found.ValidResources()
	for name, resource := range found {
		if _, ok := valid[name]; ok {
			continue
		}
		message := resource.Conditions()[0].Message
		// The library has no error to tell an absent key by.
		if strings.Contains(message, "key \"") && strings.HasSuffix(message, "not found") {
			return nil, &failure{ReasonMissingReference, errors.New(message)}
		}
		return nil, errors.New(message)
	}
	return valid, nil
}

// addClass loads what the object's scrape class refers to, from the object's namespace: that is where the generator looks.
func (p *profile) addClass(ctx context.Context, o *object, store *assets.StoreBuilder) error {
	var name *string
	switch spec := o.spec.(type) {
	case *monitoringv1.ServiceMonitorSpec:
		name = spec.ScrapeClassName
	case *monitoringv1.PodMonitorSpec:
		name = spec.ScrapeClassName
	case *monitoringv1.ProbeSpec:
		name = spec.ScrapeClassName
	case *monitoringv1alpha1.ScrapeConfigSpec:
		name = spec.ScrapeClassName
	}
	class := p.class(name)
	if class == nil {
		return nil
	}
	if err := store.AddTLSConfig(ctx, o.Namespace, class.TLSConfig); err != nil {
		return fmt.Errorf("scrape class %q: tlsConfig: %w", class.Name, err)
	}
	if err := store.AddAuthorizationCredentials(ctx, o.Namespace, class.Authorization); err != nil {
		return fmt.Errorf("scrape class %q: authorization: %w", class.Name, err)
	}
	return nil
}
