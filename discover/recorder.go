package discover

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
)

// recorder remembers what is registered with it, because the counter that Prometheus' Kubernetes discoverers need is in a type that
// nobody else can make.
type recorder struct {
	prometheus.Registerer
	seen []prometheus.Collector
}

func (r *recorder) Register(c prometheus.Collector) error {
	r.seen = append(r.seen, c)
	return r.Registerer.Register(c)
}

// events is prometheus_sd_kubernetes_events_total, or one that nobody sees.
func (r *recorder) events() *prometheus.CounterVec {
	opts := prometheus.CounterOpts{
		Namespace: discovery.KubernetesMetricsNamespace, Name: "events_total", Help: "The number of Kubernetes events handled.",
	}
	name := prometheus.BuildFQName(opts.Namespace, opts.Subsystem, opts.Name)
	for _, c := range r.seen {
		v, ok := c.(*prometheus.CounterVec)
		if !ok {
			continue
		}
		descs := make(chan *prometheus.Desc, 1)
		v.Describe(descs)
		if strings.Contains((<-descs).String(), `"`+name+`"`) {
			return v
		}
	}
	return prometheus.NewCounterVec(opts, []string{"role", "event"})
}
