// Package metered measures what is asked of a store. The metrics have the names
// that kube-apiserver gives them, whatever the store is.
package metered

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/yare-io/yare/storage"
)

// Store is a store that is measured. It is a prometheus.Collector.
type Store struct {
	storage.Store
	requests, failures *prometheus.CounterVec
	durations          *prometheus.HistogramVec
	size               *prometheus.Desc
	of                 atomic.Pointer[func(key string) (group, resource string)]
}

var (
	_ storage.Store        = (*Store)(nil)
	_ prometheus.Collector = (*Store)(nil)
)

// New measures a store.
func New(store storage.Store) *Store {
	labels := []string{"operation", "group", "resource"}
	return &Store{
		Store: store,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "etcd_requests_total", Help: "Requests to the store.",
		}, labels),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "etcd_request_errors_total", Help: "Requests that the store could not answer. Conflicts and absent keys are answers.",
		}, labels),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "etcd_request_duration_seconds", Help: "Time that requests to the store took.",
			Buckets: []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60},
		}, labels),
		size: prometheus.NewDesc("apiserver_storage_size_bytes", "Size of the store's data.", []string{"storage_cluster_id"}, nil),
	}
}

// Name sets what names the resource that a key is of, for the labels. It may
// return empty names, and no more others than there are resources.
func (s *Store) Name(of func(key string) (group, resource string)) { s.of.Store(&of) }

// sizeTimeout is what a scrape waits for the store to tell its size.
const sizeTimeout = 2 * time.Second

// Describe implements prometheus.Collector.
func (s *Store) Describe(out chan<- *prometheus.Desc) {
	for _, c := range []prometheus.Collector{s.requests, s.failures, s.durations} {
		c.Describe(out)
	}
	out <- s.size
}

// Collect implements prometheus.Collector. A store that is away has no size.
func (s *Store) Collect(out chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{s.requests, s.failures, s.durations} {
		c.Collect(out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), sizeTimeout)
	defer cancel()
	if size, err := s.Size(ctx); err == nil {
		out <- prometheus.MustNewConstMetric(s.size, prometheus.GaugeValue, float64(size), "etcd-0")
	}
}

// measure notes a request that began at a time.
func (s *Store) measure(operation, key string, began time.Time, err error) {
	var group, resource string
	if of := s.of.Load(); of != nil {
		group, resource = (*of)(key)
	}
	s.requests.WithLabelValues(operation, group, resource).Inc()
	s.durations.WithLabelValues(operation, group, resource).Observe(time.Since(began).Seconds())
	if errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrNoSpace) {
		s.failures.WithLabelValues(operation, group, resource).Inc()
	}
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key string) (kv storage.KV, err error) {
	defer func(began time.Time) { s.measure("get", key, began, err) }(time.Now())
	return s.Store.Get(ctx, key)
}

// List implements storage.Store.
func (s *Store) List(ctx context.Context, req storage.ListRequest) (result storage.ListResult, err error) {
	defer func(began time.Time) { s.measure("list", req.Prefix, began, err) }(time.Now())
	return s.Store.List(ctx, req)
}

// Create implements storage.Store.
func (s *Store) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (revision int64, err error) {
	defer func(began time.Time) { s.measure("create", key, began, err) }(time.Now())
	return s.Store.Create(ctx, key, value, ttl)
}

// Update implements storage.Store.
func (s *Store) Update(ctx context.Context, key string, value []byte, expected int64, ttl time.Duration) (revision int64, err error) {
	defer func(began time.Time) { s.measure("update", key, began, err) }(time.Now())
	return s.Store.Update(ctx, key, value, expected, ttl)
}

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, key string, expected int64) (revision int64, err error) {
	defer func(began time.Time) { s.measure("delete", key, began, err) }(time.Now())
	return s.Store.Delete(ctx, key, expected)
}

// Revision implements storage.Store.
func (s *Store) Revision(ctx context.Context) (revision int64, err error) {
	defer func(began time.Time) { s.measure("revision", "", began, err) }(time.Now())
	return s.Store.Revision(ctx)
}
