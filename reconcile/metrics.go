package reconcile

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics of the passes. Their labels are bounded: kinds and outcomes, never names.
type metrics struct {
	duration *prometheus.HistogramVec
	objects  *prometheus.CounterVec
	statuses prometheus.Counter
}

// Outcomes of a pass.
const (
	outcomeSuccess = "success"
	outcomeRefused = "refused" // only a person can resolve it
	outcomeRetry   = "retry"
)

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "otelier_reconcile_duration_seconds", Help: "How long passes over a collector took, by outcome.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"outcome"}),
		objects: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "otelier_objects_total", Help: "Objects that were sent to the API server, by kind, operation (apply, delete) and result (ok, error).",
		}, []string{"kind", "operation", "result"}),
		statuses: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "otelier_status_writes_total", Help: "Statuses of collectors that were written.",
		}),
	}
	reg.MustRegister(m.duration, m.objects, m.statuses)
	return m
}

func (m *metrics) observe(outcome string, took time.Duration) {
	m.duration.WithLabelValues(outcome).Observe(took.Seconds())
}

func (m *metrics) applied(id ID, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.objects.WithLabelValues(id.Kind, "apply", result).Inc()
}

func (m *metrics) deleted(id ID) { m.objects.WithLabelValues(id.Kind, "delete", "ok").Inc() }
