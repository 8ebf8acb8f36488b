package apiserver

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/apiserver/request"
)

// metrics are named as kube-apiserver's. All labels come from rows or from
// fixed sets, so that no client can add series.
type metrics struct {
	registry        *prometheus.Registry
	known           func() *resources
	requests        *prometheus.CounterVec
	durations       *prometheus.HistogramVec
	sizes           *prometheus.HistogramVec
	inflight        *prometheus.GaugeVec
	longRunning     *prometheus.GaugeVec
	watchers        *prometheus.GaugeVec
	rejected        *prometheus.CounterVec
	authentications *prometheus.CounterVec
}

func newMetrics(known func() *resources) *metrics {
	target := []string{"verb", "group", "version", "resource", "subresource", "scope"}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		known:    known,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_request_total",
			Help: "Requests by verb, what they were for, and HTTP code of the answer.",
		}, append([]string{"code"}, target...)),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "apiserver_request_duration_seconds",
			Help:    "Time from a request to the end of its answer, watches and streams left out.",
			Buckets: []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60},
		}, target),
		sizes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "apiserver_response_sizes",
			Help:    "Size of answers in bytes.",
			Buckets: prometheus.ExponentialBuckets(1000, 10, 7),
		}, target),
		inflight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "apiserver_current_inflight_requests",
			Help: "Requests in flight that are not long-running, by whether they change anything.",
		}, []string{"request_kind"}),
		longRunning: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "apiserver_longrunning_requests",
			Help: "Watches and streams in progress.",
		}, target),
		watchers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "apiserver_registered_watchers",
			Help: "Watches of a resource in progress.",
		}, []string{"group", "version", "kind"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_dropped_requests_total",
			Help: "Requests refused because too many were in flight.",
		}, []string{"request_kind"}),
		authentications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "authentication_attempts",
			Help: "Requests by whether they could be authenticated.",
		}, []string{"result"}),
	}
	m.registry.MustRegister(m.requests, m.durations, m.sizes, m.inflight, m.longRunning, m.watchers, m.rejected, m.authentications,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Metrics is where parts of the process beside the server may add theirs.
func (s *Server) Metrics() prometheus.Registerer { return s.metrics.registry }

func (m *metrics) watching(row *registry.Resource) prometheus.Gauge {
	return m.watchers.WithLabelValues(row.Kind.Group, row.Kind.Version, row.Kind.Kind)
}

// labels names what a request is for, without what clients can make up.
func (m *metrics) labels(info *request.Info, method string) []string {
	verb := knownVerb(info, method)
	if !info.IsResource || m.known().byName[info.GroupVersionResource()] == nil {
		return []string{verb, "", "", "", "", ""}
	}
	scope := "cluster"
	switch {
	case info.Verb == "create" || (info.Name != "" && info.Verb != "list" && info.Verb != "watch"):
		scope = "resource"
	case info.Namespace != "":
		scope = "namespace"
	}
	return []string{verb, info.Group, info.Version, info.Resource, knownSubresource(info.Subresource), scope}
}

// verbNames are the verbs as metrics name them.
var verbNames = map[string]string{
	"get": "GET", "list": "LIST", "watch": "WATCH", "create": "POST", "update": "PUT",
	"patch": "PATCH", "delete": "DELETE", "deletecollection": "DELETECOLLECTION",
}

func knownVerb(info *request.Info, method string) string {
	if name, known := verbNames[info.Verb]; known {
		return name
	}
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead, http.MethodOptions:
		return method
	}
	return "OTHER"
}

func knownSubresource(name string) string {
	switch name {
	case "", "status", "scale", "binding", "eviction", "token", "log", "exec", "attach", "portforward", "proxy", "finalize", "approval", "resize", "ephemeralcontainers":
		return name
	}
	return "other"
}

// measure counts and times requests.
func (s *Server) measure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := request.From(r.Context())
		labels := s.metrics.labels(info, r.Method)
		begun := time.Now()
		answer := &recorder{ResponseWriter: w}
		if info.LongRunning() {
			gauge := s.metrics.longRunning.WithLabelValues(labels...)
			gauge.Inc()
			defer gauge.Dec()
		}
		defer func() {
			status := max(answer.status, http.StatusOK)
			s.metrics.requests.WithLabelValues(append([]string{strconv.Itoa(status)}, labels...)...).Inc()
			if !info.LongRunning() {
				s.metrics.durations.WithLabelValues(labels...).Observe(time.Since(begun).Seconds())
				s.metrics.sizes.WithLabelValues(labels...).Observe(float64(answer.bytes))
			}
		}()
		next.ServeHTTP(answer, r)
	})
}
