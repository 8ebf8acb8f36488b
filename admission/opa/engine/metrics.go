package engine

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// meters count evaluations.
type meters struct {
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec
}

var phaseNames = [...]string{Mutating: "mutating", Validating: "validating"}

// newMeters registers with r, if there is one.
func newMeters(r prometheus.Registerer) *meters {
	m := &meters{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "yare_opa_evaluation_duration_seconds",
			Help:    "Time to evaluate the policies that are active, by phase of admission.",
			Buckets: []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30},
		}, []string{"phase"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "yare_opa_evaluation_errors_total",
			Help: "Evaluations that ended without a decision, by phase of admission.",
		}, []string{"phase"}),
	}
	if r != nil {
		r.MustRegister(m.seconds, m.errors)
	}
	return m
}

// readiness reports whether decisions are made, and so whether requests in
// scope get the answer of rules.
func (*meters) readiness(r prometheus.Registerer, ready func() error) {
	if r == nil {
		return
	}
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "yare_opa_ready",
		Help: "1 when every configured bundle is active.",
	}, func() float64 {
		if ready() != nil {
			return 0
		}
		return 1
	}))
}

func (m *meters) observe(phase Phase, took time.Duration, err error) {
	m.seconds.WithLabelValues(phaseNames[phase]).Observe(took.Seconds())
	if err != nil {
		m.errors.WithLabelValues(phaseNames[phase]).Inc()
	}
}
