package engine

import (
	"time"

	"github.com/open-policy-agent/opa/v1/metrics"
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

// lost are the counters of decisions that the decision log had no room for, or
// was not allowed to send.
var lost = []string{"decision_logs_dropped_buffer_size_limit_exceeded", "decision_logs_dropped_rate_limit_exceeded"}

// dropped reports how many decisions were left out of the decision log.
func (*meters) dropped(r prometheus.Registerer, counted metrics.Metrics) {
	if r == nil {
		return
	}
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "yare_opa_decisions_dropped_total",
		Help: "Decisions that were left out of the decision log because its buffer was full or its rate too high.",
	}, func() float64 {
		var all float64
		for _, name := range lost {
			if count, ok := counted.Counter(name).Value().(uint64); ok {
				all += float64(count)
			}
		}
		return all
	}))
}

func (m *meters) observe(phase Phase, took time.Duration, err error) {
	m.seconds.WithLabelValues(phaseNames[phase]).Observe(took.Seconds())
	if err != nil {
		m.errors.WithLabelValues(phaseNames[phase]).Inc()
	}
}
