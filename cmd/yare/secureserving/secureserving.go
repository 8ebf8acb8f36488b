// Package secureserving serves the HTTPS port of a part that has no API of its
// own: health for whoever asks; metrics, configuration and profiles for those
// whom the API server lets in. It knows nothing of what the parts do.
package secureserving

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

const (
	readHeaderTimeout = 30 * time.Second
	stopGrace         = 2 * time.Second
)

// Server is one such port. All fields but Open and Logger are required.
type Server struct {
	// TLS holds the serving certificate, and asks for clients' (which
	// Authenticator verifies).
	TLS *tls.Config
	// Authenticator says who asks, Authorizer whether they may.
	Authenticator authenticator.Request
	Authorizer    authorizer.UnconditionalAuthorizer
	// Open are the paths that anybody may read; one that ends in * stands for
	// all that begin so.
	Open []string
	// Handlers are what is served, by path; one that ends in / serves all below.
	Handlers map[string]http.Handler
	Logger   *slog.Logger
}

// Run serves on listener until ctx ends, and returns when all handlers have.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s.Handler(), TLSConfig: s.TLS, ReadHeaderTimeout: readHeaderTimeout,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:    slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(listener, "", "") }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	<-served
	return err
}

// Handler is everything that is served, with authentication and authorization.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, handler := range s.Handlers {
		mux.Handle("GET "+path, handler)
	}
	return s.protect(mux)
}

func (s *Server) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.isOpen(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		response, ok, err := s.Authenticator.AuthenticateRequest(r)
		if err != nil || !ok {
			s.Logger.Debug("authentication failed", "path", r.URL.Path, "error", err)
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		if err := s.authorize(r, response.User); err != nil {
			s.Logger.Debug("request refused", "path", r.URL.Path, "user", response.User.GetName(), "error", err)
			http.Error(w, fmt.Sprintf("forbidden: User %q cannot %s path %q", response.User.GetName(), verbOf(r), r.URL.Path), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) isOpen(path string) bool {
	return slices.ContainsFunc(s.Open, func(open string) bool {
		prefix, all := strings.CutSuffix(open, "*")
		return path == open || all && strings.HasPrefix(path, prefix)
	})
}

// authorize lets the cluster's administrators in even while the API server
// cannot be asked, as Kubernetes does.
func (s *Server) authorize(r *http.Request, who user.Info) error {
	if slices.Contains(who.GetGroups(), user.SystemPrivilegedGroup) {
		return nil
	}
	decision, reason, err := s.Authorizer.Authorize(r.Context(), authorizer.AttributesRecord{User: who, Verb: verbOf(r), Path: r.URL.Path})
	if err == nil && decision != authorizer.DecisionAllow {
		err = fmt.Errorf("not allowed: %s", reason)
	}
	return err
}

func verbOf(r *http.Request) string { return strings.ToLower(r.Method) }
