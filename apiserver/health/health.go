// Package health answers whether a process is well, in the form of Kubernetes'
// /healthz, /livez and /readyz: a set of named checks, each with a path of its
// own, and a report on request. It knows nothing of what is checked.
package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Check is one part of a process's health.
type Check struct {
	// Name in answers and in paths below /readyz: "poststarthook/namespaces".
	Name string
	// Live: the check counts for /livez and /healthz too. A process that fails
	// there is restarted, so it is for what a restart could help.
	Live bool
	// Check returns nil while the part is well. It is called concurrently.
	Check func(context.Context) error
}

// Ping is the check that answers as long as the process does.
func Ping() Check {
	return Check{Name: "ping", Live: true, Check: func(context.Context) error { return nil }}
}

// Checks are the checks of one process. They are safe for concurrent use.
type Checks struct {
	all []*history
}

// New returns checks that log when one begins to fail and when it passes again.
func New(logger *slog.Logger, checks ...Check) *Checks {
	c := &Checks{}
	for _, check := range checks {
		c.all = append(c.all, &history{Check: check, logger: logger, begin: time.Now()})
	}
	return c
}

// All returns the checks in the order in which they were given.
func (c *Checks) All() []Check {
	all := make([]Check, len(c.all))
	for i, h := range c.all {
		all[i] = h.Check
	}
	return all
}

// Ready returns what keeps the process from being ready, nil when nothing does.
func (c *Checks) Ready(ctx context.Context) error {
	for _, check := range c.all {
		if err := check.Check.Check(ctx); err != nil {
			return fmt.Errorf("%s: %w", check.Name, err)
		}
	}
	return nil
}

// Paths are what to serve, by path: the three endpoints, and each check below
// them.
func (c *Checks) Paths() map[string]http.Handler {
	live := slices.DeleteFunc(slices.Clone(c.all), func(h *history) bool { return !h.Live })
	paths := map[string]http.Handler{}
	for path, checks := range map[string][]*history{"/healthz": live, "/livez": live, "/readyz": c.all} {
		paths[path] = serve(strings.TrimPrefix(path, "/"), checks)
		for _, check := range checks {
			paths[path+"/"+check.Name] = serve(check.Name, []*history{check})
		}
	}
	return paths
}

// serve runs checks and answers "ok", or in full when one fails or the client
// asks. Why one fails is for the log only: the endpoint is public.
func serve(name string, checks []*history) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		var report strings.Builder
		failed := false
		for _, check := range checks {
			switch err := check.run(r.Context(), query["exclude"]); {
			case err == errExcluded:
				fmt.Fprintf(&report, "[+]%s excluded: ok\n", check.Name)
			case err != nil:
				failed = true
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
	})
}

var errExcluded = errors.New("excluded")
