package apiserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
)

// Check is one part of the server's health.
type Check struct {
	// Name in answers and in paths below /readyz: "poststarthook/namespaces".
	Name string
	// Live: the check counts for /livez and /healthz too. A process that fails
	// there is restarted, so it is for what a restart could help.
	Live bool
	// Check returns nil while the part is well. It is called concurrently.
	Check func(context.Context) error
}

// checks are the server's own, then those given to it.
func (s *Server) checks() []Check {
	own := []Check{
		{Name: "ping", Live: true, Check: func(context.Context) error { return nil }},
		{Name: "etcd", Live: true, Check: s.config.Store.Health},
		{Name: "informer-sync", Check: s.checkCache},
		{Name: "shutdown", Check: s.checkStopping},
	}
	return append(own, s.config.Checks...)
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
func (s *Server) Ready(ctx context.Context) error {
	for _, check := range s.checks() {
		if err := check.Check(ctx); err != nil {
			return fmt.Errorf("%s: %w", check.Name, err)
		}
	}
	return nil
}

func (s *Server) healthRoutes(mux chi.Router) {
	all := s.checks()
	live := slices.DeleteFunc(slices.Clone(all), func(c Check) bool { return !c.Live })
	for path, checks := range map[string][]Check{"/healthz": live, "/livez": live, "/readyz": all} {
		mux.Get(path, s.serveHealth(strings.TrimPrefix(path, "/"), checks))
		for _, check := range checks {
			mux.Get(path+"/"+check.Name, s.serveHealth(check.Name, []Check{check}))
		}
	}
}

// serveHealth runs checks and answers "ok", or in full when one fails or the
// client asks. Why one fails is for the log only: the endpoint is public.
func (s *Server) serveHealth(name string, checks []Check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		var report strings.Builder
		failed := false
		for _, check := range checks {
			switch err := s.runCheck(r.Context(), check, query["exclude"]); {
			case err == errExcluded:
				fmt.Fprintf(&report, "[+]%s excluded: ok\n", check.Name)
			case err != nil:
				failed = true
				s.logger.Info("health check failed", "endpoint", name, "check", check.Name, "error", err)
				fmt.Fprintf(&report, "[-]%s failed: reason withheld\n", check.Name)
			default:
				fmt.Fprintf(&report, "[+]%s ok\n", check.Name)
			}
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, verbose := query["verbose"]
		switch {
		case failed:
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = fmt.Fprintf(w, "%s%s check failed\n", report.String(), name)
		case verbose:
			_, _ = fmt.Fprintf(w, "%s%s check passed\n", report.String(), name)
		default:
			_, _ = w.Write([]byte("ok"))
		}
	}
}

var errExcluded = errors.New("excluded")

func (s *Server) runCheck(ctx context.Context, check Check, excluded []string) error {
	if slices.Contains(excluded, check.Name) {
		return errExcluded
	}
	return check.Check(ctx)
}
