package webhook

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are named as Kubernetes'. The names of webhooks come from
// configurations, which only administrators write.
type metrics struct {
	duration                   *prometheus.HistogramVec
	requests, rejections, open *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "apiserver_admission_webhook_admission_duration_seconds",
			Help:    "Time of calls of admission webhooks.",
			Buckets: []float64{0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10, 25},
		}, []string{"name", "type", "operation", "rejected"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_admission_webhook_request_total",
			Help: "Calls of admission webhooks by code.",
		}, []string{"name", "type", "operation", "code", "rejected"}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_admission_webhook_rejection_count",
			Help: "Requests refused by admission webhooks or for want of them.",
		}, []string{"name", "type", "operation", "error_type", "rejection_code"}),
		open: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_admission_webhook_fail_open_count",
			Help: "Requests let pass although a webhook could not be asked.",
		}, []string{"name", "type"}),
	}
	if registry == nil {
		return m, nil
	}
	return m, errors.Join(registry.Register(m.duration), registry.Register(m.requests), registry.Register(m.rejections), registry.Register(m.open))
}
