package flowcontrol

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	namespace = "apiserver"
	subsystem = "flowcontrol"
)

// metrics have Kubernetes' names. Their labels are the names of schemas and
// levels, which only administrators write.
type metrics struct {
	controller                                               *Controller
	dispatched, rejected                                     *prometheus.CounterVec
	waits, runs, queueLength, estimated, watchers            *prometheus.HistogramVec
	executing, executingSeats, inqueue, inqueueSeats         *prometheus.GaugeVec
	nominal, current, lower, upper, high, average, deviation *prometheus.Desc
	smooth, target, fair                                     *prometheus.Desc
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
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, schemaLabels)
	}
	ofLevel := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, levelLabels, nil)
	}
	return &metrics{
		controller:  c,
		dispatched:  counter("dispatched_requests_total", "Requests that were let run.", schemaLabels...),
		rejected:    counter("rejected_requests_total", "Requests that were turned away, by reason.", append(schemaLabels, "reason")...),
		waits:       histogram("request_wait_duration_seconds", "Time that queued requests waited.", buckets, append(schemaLabels, "execute")...),
		runs:        histogram("request_execution_seconds", "Time that requests held their seats.", buckets, append(schemaLabels, "type")...),
		queueLength: histogram("request_queue_length_after_enqueue", "Length of a queue, as each request in it saw it.", []float64{0, 10, 25, 50, 100, 250, 500, 1000}, schemaLabels...),
		estimated:   histogram("work_estimated_seats", "Seats that a request was thought to need, at its beginning or its end.", []float64{1, 2, 4, 10}, schemaLabels...),
		watchers:    histogram("watch_count_samples", "Watches that a write was thought to wake.", []float64{0, 1, 10, 100, 1000, 10000}, schemaLabels...),

		executing:      gauge("current_executing_requests", "Requests that hold seats."),
		executingSeats: gauge("current_executing_seats", "Seats in use."),
		inqueue:        gauge("current_inqueue_requests", "Requests that wait."),
		inqueueSeats:   gauge("current_inqueue_seats", "Seats that are waited for."),

		nominal:   ofLevel("nominal_limit_seats", "Seats by the level's shares."),
		current:   ofLevel("current_limit_seats", "Seats that the level has now."),
		lower:     ofLevel("lower_limit_seats", "Seats that the level keeps whatever others need."),
		upper:     ofLevel("upper_limit_seats", "Seats that the level may have at most."),
		high:      ofLevel("demand_seats_high_watermark", "Most seats wanted in the last period."),
		average:   ofLevel("demand_seats_average", "Mean of the seats wanted in the last period."),
		deviation: ofLevel("demand_seats_stdev", "Standard deviation of the seats wanted in the last period."),
		smooth:    ofLevel("demand_seats_smoothed", "Seats wanted, smoothed over periods."),
		target:    ofLevel("target_seats", "Seats that the level would get if there were enough."),
		fair: prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, "seat_fair_frac"),
			"Factor by which demands were scaled when seats were last lent.", nil, nil),
	}
}

// attach finds a schema's own series once, so that requests need not.
func (m *metrics) attach(s *schema) {
	level, name := s.placement.Level, s.placement.Schema
	s.dispatched = m.dispatched.WithLabelValues(level, name)
	s.waited = m.waits.WithLabelValues(level, name, "true")
	s.ranReading, s.ranWriting = m.runs.WithLabelValues(level, name, "readOnly"), m.runs.WithLabelValues(level, name, "mutating")
	s.queueLengthOnJoin = m.queueLength.WithLabelValues(level, name)
	s.estimated, s.watchers = m.estimated.WithLabelValues(level, name), m.watchers.WithLabelValues(level, name)
	s.executing, s.executingSeats = m.executing.WithLabelValues(level, name), m.executingSeats.WithLabelValues(level, name)
	s.inqueue, s.inqueueSeats = m.inqueue.WithLabelValues(level, name), m.inqueueSeats.WithLabelValues(level, name)
}

// observe notes what a request is thought to cost.
func (s *schema) observe(r *Request, w work) {
	s.estimated.Observe(float64(max(w.seats, w.lingering)))
	if r.Load != nil && r.Info.IsResource && !r.Info.ReadOnly() {
		s.watchers.Observe(float64(r.Load.Watchers(r.Info)))
	}
}

// queued notes that requests more or less wait.
func (s *schema) queued(w work, requests int) {
	s.inqueue.Add(float64(requests))
	s.inqueueSeats.Add(float64(requests * w.seats))
}

func (s *schema) dispatch(w work) {
	s.dispatched.Inc()
	s.executing.Inc()
	s.executingSeats.Add(float64(w.seats))
	s.level.outcomes[dispatched].Add(1)
}

func (s *schema) finish(w work, reading bool, took time.Duration) {
	s.executing.Dec()
	s.executingSeats.Sub(float64(w.seats))
	ran := s.ranWriting
	if reading {
		ran = s.ranReading
	}
	ran.Observe(took.Seconds())
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
	to.MustRegister(m.dispatched, m.rejected, m.waits, m.runs, m.queueLength, m.estimated, m.watchers,
		m.executing, m.executingSeats, m.inqueue, m.inqueueSeats, m)
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
	return map[*prometheus.Desc]float64{
		m.nominal: float64(l.limits.nominal), m.current: float64(l.limit), m.lower: float64(l.limits.lower), m.upper: float64(l.limits.upper),
		m.high: float64(l.demand.highest), m.average: l.demand.average, m.deviation: l.demand.deviation, m.smooth: l.demand.smooth, m.target: l.target,
	}
}
