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
	// Fields that others had changed, and changes that were made too often to be made again.
	takenBack, heldBack *prometheus.CounterVec
	planned             *prometheus.GaugeVec
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
	m.takenBack = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "otelier_fields_taken_back_total", Help: "Fields of objects that others had changed and that were set back, by kind.",
	}, []string{"kind"})
	m.heldBack = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "otelier_changes_held_total", Help: "Changes that were not made because they had been made, and undone by others, too often, by kind.",
	}, []string{"kind"})
	m.planned = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "otelier_planned_changes", Help: "Objects that would be changed, by action. Only with --dry-run.",
	}, []string{"action"})
	reg.MustRegister(m.duration, m.objects, m.statuses, m.takenBack, m.heldBack, m.planned)
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
