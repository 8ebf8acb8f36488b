package flowcontrol

import (
	"github.com/prometheus/client_golang/prometheus"
)

const (
	namespace = "apiserver"
	subsystem = "flowcontrol"
)

// metrics have Kubernetes' names. Their labels are the names of schemas and
// levels, which only administrators write.
type metrics struct {
	controller               *Controller
	dispatched, rejected     *prometheus.CounterVec
	waits, runs, queueLength *prometheus.HistogramVec

	executing, inqueue, seats, nominal, current, lower, upper, high, average, deviation, smooth, fair *prometheus.Desc
}

var buckets = []float64{0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30}

func newMetrics(c *Controller) *metrics {
	schemaLabels, levelLabels := []string{"priority_level", "flow_schema"}, []string{"priority_level"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, Buckets: buckets}, labels)
	}
	gauge := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, levelLabels, nil)
	}
	return &metrics{
		controller:  c,
		dispatched:  counter("dispatched_requests_total", "Requests that were let run.", schemaLabels...),
		rejected:    counter("rejected_requests_total", "Requests that were turned away, by reason.", append(schemaLabels, "reason")...),
		waits:       histogram("request_wait_duration_seconds", "Time that queued requests waited.", buckets, append(schemaLabels, "execute")...),
		runs:        histogram("request_execution_seconds", "Time that requests held their seats.", buckets, schemaLabels...),
		queueLength: histogram("request_queue_length_after_enqueue", "Length of a queue, as each request in it saw it.", []float64{0, 10, 25, 50, 100, 250, 500, 1000}, schemaLabels...),
		executing:   gauge("current_executing_requests", "Requests that hold seats."),
		inqueue:     gauge("current_inqueue_requests", "Requests that wait."),
		seats:       gauge("current_executing_seats", "Seats in use."),
		nominal:     gauge("nominal_limit_seats", "Seats by the level's shares."),
		current:     gauge("current_limit_seats", "Seats that the level has now."),
		lower:       gauge("lower_limit_seats", "Seats that the level keeps whatever others need."),
		upper:       gauge("upper_limit_seats", "Seats that the level may have at most."),
		high:        gauge("demand_seats_high_watermark", "Most seats wanted in the last period."),
		average:     gauge("demand_seats_average", "Mean of the seats wanted in the last period."),
		deviation:   gauge("demand_seats_stdev", "Standard deviation of the seats wanted in the last period."),
		smooth:      gauge("demand_seats_smoothed", "Seats wanted, smoothed over periods."),
		fair: prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, "seat_fair_frac"),
			"Factor by which demands were scaled when seats were last lent.", nil, nil),
	}
}

// attach finds a schema's own series once, so that requests need not.
func (m *metrics) attach(s *schema) {
	level, name := s.placement.Level, s.placement.Schema
	s.dispatched = m.dispatched.WithLabelValues(level, name)
	s.waited = m.waits.WithLabelValues(level, name, "true")
	s.ran = m.runs.WithLabelValues(level, name)
	s.queueLengthOnJoin = m.queueLength.WithLabelValues(level, name)
}

func (s *schema) dispatch() {
	s.dispatched.Inc()
	s.level.outcomes[dispatched].Add(1)
}

func (s *schema) reject(reason string) {
	what := rejected
	switch reason {
	case "time-out":
		what = timedOut
	case "cancelled":
		what = cancelled
	}
	s.level.outcomes[what].Add(1)
	s.metrics.rejected.WithLabelValues(s.placement.Level, s.placement.Schema, reason).Inc()
}

// Register adds the controller's metrics to those of the process.
func (c *Controller) Register(to prometheus.Registerer) {
	m := c.metrics
	to.MustRegister(m.dispatched, m.rejected, m.waits, m.runs, m.queueLength, m)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector: it reads the levels.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	current := m.controller.current.Load()
	for _, l := range current.levels {
		for desc, value := range m.of(l) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, l.name)
		}
	}
	out <- prometheus.MustNewConstMetric(m.fair, prometheus.GaugeValue, current.fairFrac)
}

func (m *metrics) of(l *level) map[*prometheus.Desc]float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	exempt := int(l.running.Load())
	return map[*prometheus.Desc]float64{
		m.executing: float64(l.executing + exempt), m.inqueue: float64(l.waiting), m.seats: float64(l.seats + exempt),
		m.nominal: float64(l.limits.nominal), m.current: float64(l.limit), m.lower: float64(l.limits.lower), m.upper: float64(l.limits.upper),
		m.high: float64(l.demand.highest), m.average: l.demand.average, m.deviation: l.demand.deviation, m.smooth: l.demand.smooth,
	}
}
