package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// Config says what to serve and to whom.
type Config struct {
	// Backend is the node.
	Backend Backend
	// NodeName is the name of the Node object, which requests are authorized
	// against.
	NodeName string
	// Listener is where Run accepts connections; Run closes it.
	Listener net.Listener
	// TLS holds the serving certificate and, for clients with certificates,
	// asks for these (ClientAuth: tls.RequestClientCert; Authenticator is who
	// verifies them).
	TLS *tls.Config
	// Authenticator says who sends a request (package auth has one). Nil
	// refuses everybody.
	Authenticator authenticator.Request
	// Authorizer says who may do what to the node. Nil refuses everything.
	Authorizer authorizer.UnconditionalAuthorizer
	// Metrics is what /metrics shows. Nil: nothing.
	Metrics prometheus.Gatherer
	// Configz is what /configz shows as "kubeletconfig": the configuration in
	// effect (kubelet.config.k8s.io/v1beta1 KubeletConfiguration).
	Configz any
	// Profiling serves /debug/pprof.
	Profiling bool
	// Logger gets what goes wrong without a client to tell. Nil: nobody.
	Logger *slog.Logger
}

const (
	readHeaderTimeout = 30 * time.Second
	idleTimeout       = 90 * time.Second
	// stopGrace is how long requests that have begun may go on once the server
	// is told to stop.
	stopGrace = 2 * time.Second
)

// Server is the kubelet's HTTPS API.
type Server struct {
	config  Config
	handler http.Handler
	logger  *slog.Logger
}

// New returns a server that Run starts. It fails when config lacks what every
// server needs.
func New(config Config) (*Server, error) {
	switch {
	case config.Backend == nil:
		return nil, errors.New("kubelet server: no backend")
	case config.NodeName == "":
		return nil, errors.New("kubelet server: no node name")
	}
	s := &Server{config: config, logger: config.Logger}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.handler = s.protect(s.routes())
	return s, nil
}

// Handler is the whole API with authentication and authorization, for servers
// that listen themselves.
func (s *Server) Handler() http.Handler { return s.handler }

// Run serves until ctx is done, then gives running requests a moment, cuts
// streams, and returns when all its handlers have. It is called once.
func (s *Server) Run(ctx context.Context) error {
	if s.config.Listener == nil || s.config.TLS == nil {
		return errors.New("kubelet server: listener and TLS configuration are needed")
	}
	connections := newTracker(s.config.Listener)
	requests, cancelRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelRequests()
	server := &http.Server{
		Handler:           connections.counting(s.handler),
		TLSConfig:         s.config.TLS,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(connections, "", "") }()

	var err error
	select {
	case err = <-served:
		err = fmt.Errorf("kubelet server: %w", err)
	case <-ctx.Done():
	}
	s.stop(server, connections, cancelRequests)
	if err == nil {
		<-served
	}
	return err
}

// stop ends everything that is still going on. Streams have left the HTTP
// server's hands, so their connections are closed under them.
func (s *Server) stop(server *http.Server, connections *tracker, cancelRequests context.CancelFunc) {
	grace, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		s.logger.Debug("requests cut off", "err", err)
	}
	cancelRequests()
	server.Close()
	connections.closeAll()
	connections.handlers.Wait()
}
