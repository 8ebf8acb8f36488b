package apiserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-chi/chi/v5"

	"github.com/yare-io/yare/apiserver/health"
)

// Check is one part of the server's health.
type Check = health.Check

// checks are the server's own, then those given to it.
func (s *Server) checks() *health.Checks {
	own := []Check{
		health.Ping(),
		{Name: "etcd", Live: true, Check: s.config.Store.Health},
		{Name: "informer-sync", Check: s.checkCache},
		{Name: "shutdown", Check: s.checkStopping},
	}
	return health.New(s.logger, append(own, s.config.Checks...)...)
}

// checkCache reports whether every resource has been loaded.
func (s *Server) checkCache(context.Context) error {
	for _, res := range s.set().ordered {
		if res.part == nil || res.row.StoredAs != nil || res.row.Schema != nil {
			continue
		}
		if !res.objects().Ready() {
			return fmt.Errorf("%s are not loaded yet", res.row.GroupResource())
		}
	}
	return nil
}

func (s *Server) checkStopping(context.Context) error {
	if s.stopping.Err() != nil {
		return errors.New("process is shutting down")
	}
	return nil
}

// Ready reports what keeps the server from serving, nil when nothing does.
func (s *Server) Ready(ctx context.Context) error { return s.health.Ready(ctx) }

func (s *Server) healthRoutes(mux chi.Router) {
	for path, handler := range s.health.Paths() {
		mux.Get(path, handler.ServeHTTP)
	}
}
