package kubeproxy

import "github.com/prometheus/client_golang/prometheus"

// metrics are kube-proxy's, by its names.
type metrics struct {
	sync, fullSync, partialSync prometheus.Histogram
	last                        prometheus.Gauge
	failures                    prometheus.Counter
}

func newMetrics() *metrics {
	buckets := prometheus.ExponentialBuckets(0.001, 2, 15)
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "kubeproxy", Name: name, Help: help, Buckets: buckets})
	}
	return &metrics{
		sync:        histogram("sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds."),
		fullSync:    histogram("sync_full_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for full resyncs."),
		partialSync: histogram("sync_partial_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for partial resyncs."),
		last: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "kubeproxy", Name: "sync_proxy_rules_last_timestamp_seconds",
			Help: "The last time proxy rules were successfully synced."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "kubeproxy", Name: "sync_proxy_rules_nftables_sync_failures_total",
			Help: "Cumulative proxy nftables sync failures."}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.sync, m.fullSync, m.partialSync, m.last, m.failures}
}

func (m *metrics) register(r prometheus.Registerer) error {
	for _, collector := range m.all() {
		if err := r.Register(collector); err != nil {
			m.unregister(r)
			return err
		}
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	for _, collector := range m.all() {
		r.Unregister(collector)
	}
}
