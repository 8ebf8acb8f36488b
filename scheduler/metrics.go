package scheduler

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yare-io/yare/scheduler/queue"
	"github.com/yare-io/yare/scheduler/state"
)

// Results of an attempt, as metrics label them.
const (
	resultScheduled     = "scheduled"
	resultUnschedulable = "unschedulable"
	resultError         = "error"
)

// metrics are kube-scheduler's, by its names.
type metrics struct {
	attempts         *prometheus.CounterVec
	attemptDuration  *prometheus.HistogramVec
	algorithm        prometheus.Histogram
	podAttempts      prometheus.Histogram
	podDuration      *prometheus.HistogramVec
	incoming         *prometheus.CounterVec
	preemptions      prometheus.Counter
	victims          prometheus.Histogram
	binds            prometheus.Gauge
	registeredGauges []prometheus.Collector
}

func newMetrics() *metrics {
	seconds := prometheus.ExponentialBuckets(0.001, 2, 15)
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "scheduler", Name: name, Help: help, Buckets: buckets})
	}
	histograms := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "scheduler", Name: name, Help: help, Buckets: buckets}, labels)
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "scheduler", Name: name, Help: help}, labels)
	}
	return &metrics{
		attempts:        counters("schedule_attempts_total", "Number of attempts to schedule pods, by the result.", "result", "profile"),
		attemptDuration: histograms("scheduling_attempt_duration_seconds", "Scheduling attempt latency in seconds, scheduling algorithm and binding.", seconds, "result", "profile"),
		algorithm:       histogram("scheduling_algorithm_duration_seconds", "Scheduling algorithm latency in seconds.", seconds),
		podAttempts:     histogram("pod_scheduling_attempts", "Number of attempts to successfully schedule a pod.", prometheus.ExponentialBuckets(1, 2, 5)),
		podDuration:     histograms("pod_scheduling_sli_duration_seconds", "End-to-end latency for a pod being scheduled, from the time it enters the queue.", prometheus.ExponentialBuckets(0.01, 2, 20), "attempts"),
		incoming:        counters("queue_incoming_pods_total", "Number of pods added to scheduling queues by event and queue type.", "queue", "event"),
		preemptions:     prometheus.NewCounter(prometheus.CounterOpts{Namespace: "scheduler", Name: "preemption_attempts_total", Help: "Total preemption attempts in the cluster till now."}),
		victims:         histogram("preemption_victims", "Number of selected preemption victims.", prometheus.ExponentialBuckets(1, 2, 7)),
		binds:           prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "scheduler", Name: "goroutines", Help: "Number of running goroutines split by the work they do.", ConstLabels: prometheus.Labels{"operation": "binding"}}),
	}
}

// register puts the metrics, and gauges over the queue and the state, into r.
func (m *metrics) register(r prometheus.Registerer, q *queue.Queue, cluster *state.Cluster) error {
	all := []prometheus.Collector{m.attempts, m.attemptDuration, m.algorithm, m.podAttempts, m.podDuration,
		m.incoming, m.preemptions, m.victims, m.binds, rejectionGauge{q}}
	all = append(all, queueGauges(q)...)
	all = append(all, sizeGauges(cluster)...)
	for _, collector := range all {
		if err := r.Register(collector); err != nil {
			return err
		}
		m.registeredGauges = append(m.registeredGauges, collector)
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	for _, collector := range m.registeredGauges {
		r.Unregister(collector)
	}
}

func queueGauges(q *queue.Queue) []prometheus.Collector {
	gauge := func(name string, count func(queue.Counts) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "scheduler", Name: "pending_pods",
			Help: "Number of pending pods, by the queue type.", ConstLabels: prometheus.Labels{"queue": name}},
			func() float64 { return float64(count(q.Counts())) })
	}
	return []prometheus.Collector{
		gauge("active", func(c queue.Counts) int { return c.Active }),
		gauge("backoff", func(c queue.Counts) int { return c.Backoff }),
		gauge("unschedulable", func(c queue.Counts) int { return c.Unschedulable }),
		gauge("gated", func(c queue.Counts) int { return c.Gated }),
	}
}

func sizeGauges(cluster *state.Cluster) []prometheus.Collector {
	gauge := func(kind string, size func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "scheduler", Name: "scheduler_cache_size",
			Help: "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.", ConstLabels: prometheus.Labels{"type": kind}},
			func() float64 { return float64(size()) })
	}
	return []prometheus.Collector{
		gauge("nodes", func() int { n, _, _ := cluster.Size(); return n }),
		gauge("pods", func() int { _, n, _ := cluster.Size(); return n }),
		gauge("assumed_pods", func() int { _, _, n := cluster.Size(); return n }),
	}
}

func (m *metrics) attempted(profile, result string, took time.Duration) {
	m.attempts.WithLabelValues(result, profile).Inc()
	m.attemptDuration.WithLabelValues(result, profile).Observe(took.Seconds())
}

// rejectionGauge counts waiting pods by the plugins that rejected them.
type rejectionGauge struct{ queue *queue.Queue }

var rejectionDesc = prometheus.NewDesc("scheduler_unschedulable_pods",
	"The number of unschedulable pods broken down by plugin name.", []string{"plugin", "profile"}, nil)

func (g rejectionGauge) Describe(descs chan<- *prometheus.Desc) { descs <- rejectionDesc }

func (g rejectionGauge) Collect(out chan<- prometheus.Metric) {
	for by, count := range g.queue.Rejected() {
		out <- prometheus.MustNewConstMetric(rejectionDesc, prometheus.GaugeValue, float64(count), by.Plugin, by.Profile)
	}
}
