package apiserver

import (
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yare-io/yare/storage/cache"
)

// checkInterval is how often the cache of a resource is compared with the store.
const checkInterval = 5 * time.Minute

// storeMetrics are about what is stored, by resource.
type storeMetrics struct {
	server  *Server
	objects *prometheus.Desc
	checks  *prometheus.CounterVec
}

func newStoreMetrics(s *Server) *storeMetrics {
	return &storeMetrics{
		server:  s,
		objects: prometheus.NewDesc("apiserver_storage_objects", "Objects that are stored.", []string{"group", "resource"}, nil),
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_storage_consistency_checks_total",
			Help: "Comparisons of the cache with the store, by what came of them.",
		}, []string{"group", "resource", "status"}),
	}
}

// Describe implements prometheus.Collector.
func (m *storeMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.objects
	m.checks.Describe(out)
}

// Collect implements prometheus.Collector.
func (m *storeMetrics) Collect(out chan<- prometheus.Metric) {
	m.checks.Collect(out)
	for name, res := range m.server.set().stored {
		// What nobody has asked for is not counted.
		if objects := res.part.used(); objects != nil && objects.Ready() {
			count, _ := objects.Size()
			out <- prometheus.MustNewConstMetric(m.objects, prometheus.GaugeValue, float64(count), name.Group, name.Resource)
		}
	}
}

// checked counts a comparison of the cache with the store.
func (m *storeMetrics) checked(prefix string, err error) {
	status := "success"
	switch {
	case errors.Is(err, cache.ErrInconsistent):
		status = "failure"
	case err != nil:
		status = "error"
	}
	group, resource := m.server.StoredAt(prefix)
	m.checks.WithLabelValues(group, resource, status).Inc()
}

// StoredAt names the resource that a key of the store, or a prefix, is of; both
// names are empty for what is no resource's.
func (s *Server) StoredAt(key string) (group, resource string) {
	for name, res := range s.set().stored {
		if strings.HasPrefix(key, res.prefix) {
			return name.Group, name.Resource
		}
	}
	return "", ""
}
