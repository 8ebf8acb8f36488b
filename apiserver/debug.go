package apiserver

import (
	"io"
	"net/http"
	"net/http/pprof"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// debugRoutes adds what operators look at: profiles, indicators of the service
// level, and pages about the process.
func (s *Server) debugRoutes(mux chi.Router) {
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof", redirectTo("/debug/pprof/"))
	mux.HandleFunc("/debug/pprof/*", pprof.Index)
	mux.Get("/metrics/slis", promhttp.HandlerFor(s.indicators(), promhttp.HandlerOpts{}).ServeHTTP)
	mux.Get("/statusz", s.serveZ(s.statusz()))
	if s.config.Flags != nil {
		mux.Get("/flagz", s.serveZ(s.flagz()))
	}
	if flow := s.config.FlowControl; flow != nil {
		const base = "/debug/api_priority_and_fairness/"
		mux.Get(base+"dump_priority_levels", servePlain(flow.DumpPriorityLevels))
		mux.Get(base+"dump_queues", servePlain(flow.DumpQueues))
		mux.Get(base+"dump_requests", servePlain(flow.DumpRequests))
	}
}

func redirectTo(path string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, path, http.StatusMovedPermanently) }
}

// indicators say of each health check whether it passes, as Kubernetes'
// component SLIs do.
func (s *Server) indicators() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(checkCollector{s, prometheus.NewDesc("kubernetes_healthcheck",
		"Whether a health check passes: 1 when it does, else 0.", []string{"name", "type"}, nil)})
	return registry
}

// checkCollector runs the health checks when it is asked.
type checkCollector struct {
	server *Server
	desc   *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c checkCollector) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect implements prometheus.Collector.
func (c checkCollector) Collect(out chan<- prometheus.Metric) {
	ctx := c.server.stopping
	for _, check := range c.server.health.All() {
		passes := 0.0
		if check.Check(ctx) == nil {
			passes = 1
		}
		kinds := []string{"readyz"}
		if check.Live {
			kinds = []string{"healthz", "livez", "readyz"}
		}
		for _, kind := range kinds {
			out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, passes, check.Name, kind)
		}
	}
}

func servePlain(write func(io.Writer) error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_ = write(w) // the client is gone
	}
}
