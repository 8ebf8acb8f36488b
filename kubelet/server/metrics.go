package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// resourceMetrics is what the metrics server reads: CPU and memory of the node,
// of pods and of containers.
func (s *Server) resourceMetrics(w http.ResponseWriter, r *http.Request) {
	s.serveSummaryMetrics(w, r, resourceSamples)
}

// containerMetrics is the part of cAdvisor's metrics that a container runtime
// knows the figures for, under cAdvisor's names.
func (s *Server) containerMetrics(w http.ResponseWriter, r *http.Request) {
	s.serveSummaryMetrics(w, r, cadvisorSamples)
}

func (s *Server) serveSummaryMetrics(w http.ResponseWriter, r *http.Request, samplesOf func(*stats.Summary) []sample) {
	summary, err := s.config.Backend.Summary(r.Context())
	if err != nil {
		s.fail(w, err)
		return
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(samples(samplesOf(summary))); err != nil {
		s.fail(w, err)
		return
	}
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

// sample is one value of one series at one time.
type sample struct {
	desc    *prometheus.Desc
	counter bool
	value   float64
	at      metav1.Time
	labels  []string
}

// samples is a prometheus.Collector of values that were taken before.
type samples []sample

// Describe implements prometheus.Collector: which series there are is known
// from the values only.
func (s samples) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s samples) Collect(out chan<- prometheus.Metric) {
	for _, one := range s {
		kind := prometheus.GaugeValue
		if one.counter {
			kind = prometheus.CounterValue
		}
		metric := prometheus.MustNewConstMetric(one.desc, kind, one.value, one.labels...)
		if !one.at.IsZero() {
			metric = prometheus.NewMetricWithTimestamp(one.at.Time, metric)
		}
		out <- metric
	}
}

// counter and gauge add a sample when its value is known.
func (s *samples) counter(desc *prometheus.Desc, value *uint64, unit float64, at metav1.Time, labels ...string) {
	if value != nil {
		*s = append(*s, sample{desc, true, float64(*value) / unit, at, labels})
	}
}

func (s *samples) gauge(desc *prometheus.Desc, value *uint64, at metav1.Time, labels ...string) {
	if value != nil {
		*s = append(*s, sample{desc, false, float64(*value), at, labels})
	}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	containerLabels = []string{"container", "pod", "namespace"}
	podLabels       = []string{"pod", "namespace"}

	nodeCPU         = describe("node_cpu_usage_seconds_total", "CPU time consumed by the node in core-seconds")
	nodeMemory      = describe("node_memory_working_set_bytes", "Working set of the node in bytes")
	podCPU          = describe("pod_cpu_usage_seconds_total", "CPU time consumed by the pod in core-seconds", podLabels...)
	podMemory       = describe("pod_memory_working_set_bytes", "Working set of the pod in bytes", podLabels...)
	containerCPU    = describe("container_cpu_usage_seconds_total", "CPU time consumed by the container in core-seconds", containerLabels...)
	containerMemory = describe("container_memory_working_set_bytes", "Working set of the container in bytes", containerLabels...)
	containerStart  = describe("container_start_time_seconds", "Start of the container in seconds since the epoch", containerLabels...)
	scrapeError     = describe("resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise")

	containerUsage = describe("container_memory_usage_bytes", "Memory in use by the container in bytes, caches included", containerLabels...)
	containerRSS   = describe("container_memory_rss", "Resident memory of the container in bytes", containerLabels...)
	containerFS    = describe("container_fs_usage_bytes", "Bytes used by the container on its filesystem", containerLabels...)
	received       = describe("container_network_receive_bytes_total", "Bytes received by the pod", append([]string{"interface"}, podLabels...)...)
	transmitted    = describe("container_network_transmit_bytes_total", "Bytes sent by the pod", append([]string{"interface"}, podLabels...)...)
)

const nanoseconds = float64(time.Second)

func resourceSamples(summary *stats.Summary) []sample {
	var s samples
	if cpu := summary.Node.CPU; cpu != nil {
		s.counter(nodeCPU, cpu.UsageCoreNanoSeconds, nanoseconds, cpu.Time)
	}
	if memory := summary.Node.Memory; memory != nil {
		s.gauge(nodeMemory, memory.WorkingSetBytes, memory.Time)
	}
	for _, pod := range summary.Pods {
		labels := []string{pod.PodRef.Name, pod.PodRef.Namespace}
		if pod.CPU != nil {
			s.counter(podCPU, pod.CPU.UsageCoreNanoSeconds, nanoseconds, pod.CPU.Time, labels...)
		}
		if pod.Memory != nil {
			s.gauge(podMemory, pod.Memory.WorkingSetBytes, pod.Memory.Time, labels...)
		}
		for _, container := range pod.Containers {
			s.container(container, append([]string{container.Name}, labels...))
		}
	}
	return append(s, sample{desc: scrapeError})
}

func (s *samples) container(c stats.ContainerStats, labels []string) {
	if c.CPU != nil {
		s.counter(containerCPU, c.CPU.UsageCoreNanoSeconds, nanoseconds, c.CPU.Time, labels...)
	}
	if c.Memory != nil {
		s.gauge(containerMemory, c.Memory.WorkingSetBytes, c.Memory.Time, labels...)
	}
	if !c.StartTime.IsZero() {
		*s = append(*s, sample{desc: containerStart, value: float64(c.StartTime.UnixNano()) / nanoseconds, labels: labels})
	}
}

func cadvisorSamples(summary *stats.Summary) []sample {
	var s samples
	for _, pod := range summary.Pods {
		podOnly := []string{pod.PodRef.Name, pod.PodRef.Namespace}
		for _, c := range pod.Containers {
			labels := append([]string{c.Name}, podOnly...)
			s.container(c, labels)
			if c.Memory != nil {
				s.gauge(containerUsage, c.Memory.UsageBytes, c.Memory.Time, labels...)
				s.gauge(containerRSS, c.Memory.RSSBytes, c.Memory.Time, labels...)
			}
			if c.Rootfs != nil {
				s.gauge(containerFS, c.Rootfs.UsedBytes, c.Rootfs.Time, labels...)
			}
		}
		if pod.Network == nil {
			continue
		}
		for _, i := range interfacesOf(pod.Network) {
			labels := append([]string{i.Name}, podOnly...)
			s.counter(received, i.RxBytes, 1, pod.Network.Time, labels...)
			s.counter(transmitted, i.TxBytes, 1, pod.Network.Time, labels...)
		}
	}
	return s
}

// interfacesOf returns each interface once: the default one is often in the
// list, too.
func interfacesOf(network *stats.NetworkStats) []stats.InterfaceStats {
	if len(network.Interfaces) > 0 {
		return network.Interfaces
	}
	if network.Name == "" {
		return nil
	}
	return []stats.InterfaceStats{network.InterfaceStats}
}
