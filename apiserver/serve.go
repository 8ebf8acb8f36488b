package apiserver

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	// headerTimeout bounds how long a client may take to send its headers.
	headerTimeout = 32 * time.Second
	// idleTimeout is how long a connection without requests is kept.
	idleTimeout = 3 * time.Minute
	// maxHeaderBytes bounds the headers of a request.
	maxHeaderBytes = 1 << 20
	// maxStreams bounds the requests at once on one HTTP/2 connection.
	maxStreams = 250
	// graceTimeout is how long requests may go on when the server stops.
	graceTimeout = 10 * time.Second
)

// Serve answers on a listener, over TLS when config is not nil, until ctx ends.
// Then it cuts watches, lets other requests end, and returns once all have or
// their time is over. It closes the listener. Requests that are refused before
// they are understood are logged.
func (s *Server) Serve(ctx context.Context, listener net.Listener, config *tls.Config) error {
	if config != nil {
		// Small records serve pages that are shown while they come in.
		config = config.Clone()
		config.DynamicRecordSizingDisabled = true
		listener = gatherListener{listener}
	}
	open := newConnections()
	server := &http.Server{
		Handler:           s.handler,
		ConnState:         func(conn net.Conn, state http.ConnState) { gatherHTTP2(conn, state); open.track(conn, state) },
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		TLSConfig:         config,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: 45 * time.Second, PingTimeout: 15 * time.Second},
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	server.RegisterOnShutdown(s.stop)
	server.RegisterOnShutdown(open.stop)
	stopped := make(chan error, 1)
	release := context.AfterFunc(ctx, func() { stopped <- shutDown(server) })
	err := serve(server, listener, config != nil)
	if !errors.Is(err, http.ErrServerClosed) {
		if release() {
			_ = server.Close()
			return err
		}
	}
	return <-stopped
}

func serve(server *http.Server, listener net.Listener, secure bool) error {
	if secure {
		return server.ServeTLS(listener, "", "")
	}
	return server.Serve(listener)
}

// shutDown ends a server's requests in good order, or after a while in any.
func shutDown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), graceTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return server.Close()
	}
	return nil
}
