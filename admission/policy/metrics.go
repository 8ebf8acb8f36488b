package policy

import (
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
)

// metrics are named as Kubernetes'.
type metrics struct {
	checks    *prometheus.CounterVec
	durations *prometheus.HistogramVec
}

func newMetrics(prefix string, registry prometheus.Registerer) (*metrics, error) {
	names := []string{"policy", "policy_binding", "enforcement_action", "error_type"}
	m := &metrics{
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "_check_total", Help: "Evaluations of admission policies by what they led to.",
		}, names),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "_check_duration_seconds", Help: "Time of evaluations of admission policies.",
			Buckets: []float64{0.0000005, 0.001, 0.01, 0.1, 1.0},
		}, names),
	}
	if registry == nil {
		return m, nil
	}
	return m, errors.Join(registry.Register(m.checks), registry.Register(m.durations))
}

// outcome is an enforcement action and a type of error.
type outcome struct{ action, err string }

func (m *metrics) observe(policy, binding string, o outcome, took time.Duration) {
	labels := []string{policy, binding, o.action, o.err}
	m.checks.WithLabelValues(labels...).Inc()
	m.durations.WithLabelValues(labels...).Observe(took.Seconds())
}

func (r result) outcome(b *binding) outcome {
	o := outcome{"allow", "no_error"}
	for _, f := range r.failures {
		if f.err {
			o.err = "invalid_error"
		}
		switch {
		case slices.Contains(b.actions, admissionregistrationv1.Deny):
			o.action = "deny"
		case slices.Contains(b.actions, admissionregistrationv1.Warn):
			o.action = "warn"
		default:
			o.action = "audit"
		}
	}
	return o
}
