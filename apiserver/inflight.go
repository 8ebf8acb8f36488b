package apiserver

import (
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/yare-io/yare/apiserver/request"
)

// limitFlight bounds how many requests run at once, reads and writes apart.
// Whoever comes when all places are taken is told to come again, cluster
// administrators excepted: they must be able to repair what overloads.
func (s *Server) limitFlight(next http.Handler) http.Handler {
	reading := make(chan struct{}, s.config.MaxReadOnly)
	mutating := make(chan struct{}, s.config.MaxMutating)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info := request.From(r.Context())
		if info.LongRunning() {
			next.ServeHTTP(w, r)
			return
		}
		places, kind := mutating, "mutating"
		if info.ReadOnly() {
			places, kind = reading, "readOnly"
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			if !privileged(userOf(r.Context())) {
				s.metrics.rejected.WithLabelValues(kind).Inc()
				s.fail(w, r, apierrors.NewTooManyRequests("Too many requests, please try again later.", 1))
				return
			}
		}
		gauge := s.metrics.inflight.WithLabelValues(kind)
		gauge.Inc()
		defer gauge.Dec()
		next.ServeHTTP(w, r)
	})
}
