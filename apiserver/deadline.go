package apiserver

import (
	"context"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/yare-io/yare/apiserver/request"
)

// Timeouts bound how long requests may take.
type Timeouts struct {
	// Request bounds what is neither a watch nor a stream: 60 s when zero.
	Request time.Duration
	// MinWatch is the shortest time for which a watch without timeoutSeconds
	// lasts; it ends at random between once and twice that. 30 min when zero.
	MinWatch time.Duration
	// Write bounds how long a client may take to receive one part of a watch:
	// 30 s when zero.
	Write time.Duration
}

func (t *Timeouts) complete() {
	if t.Request == 0 {
		t.Request = time.Minute
	}
	if t.MinWatch == 0 {
		t.MinWatch = 30 * time.Minute
	}
	if t.Write == 0 {
		t.Write = 30 * time.Second
	}
}

// limitTime gives a deadline to requests that are not long-running, shorter
// than the server's if the client says so.
func (s *Server) limitTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if request.From(r.Context()).LongRunning() {
			// The connection may have had a request with a deadline before.
			_ = control.SetWriteDeadline(time.Time{})
			next.ServeHTTP(w, r)
			return
		}
		limit, err := s.timeLimit(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		// A body that trickles in and an answer that nobody reads end too. Not
		// every connection can do that; then the context alone must.
		_ = control.SetReadDeadline(time.Now().Add(limit))
		_ = control.SetWriteDeadline(time.Now().Add(2 * limit))
		defer func() { _ = control.SetReadDeadline(time.Time{}) }()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (s *Server) timeLimit(r *http.Request) (time.Duration, error) {
	limit := s.config.Timeouts.Request
	if r.URL.RawQuery == "" {
		return limit, nil
	}
	asked := r.URL.Query().Get("timeout")
	if asked == "" {
		return limit, nil
	}
	wish, err := time.ParseDuration(asked)
	if err != nil {
		return 0, apierrors.NewBadRequest("invalid timeout specified in the request URL")
	}
	if wish > 0 {
		limit = min(limit, wish)
	}
	return limit, nil
}
