package kubeproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

// startServers serves health and metrics where configured.
func (p *Proxy) startServers(ctx context.Context, group *errgroup.Group) error {
	if p.cfg.HealthAddr != "" {
		if err := serve(ctx, group, p.cfg.HealthAddr, p.Health()); err != nil {
			return fmt.Errorf("kube-proxy health: %w", err)
		}
	}
	if p.cfg.MetricsAddr != "" {
		if err := serve(ctx, group, p.cfg.MetricsAddr, p.Metrics()); err != nil {
			return fmt.Errorf("kube-proxy metrics: %w", err)
		}
	}
	return nil
}

// Health serves /healthz and /livez.
func (p *Proxy) Health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", p.health.healthz)
	mux.HandleFunc("GET /livez", p.health.livez)
	return mux
}

// Metrics serves /metrics, /healthz and /proxyMode.
func (p *Proxy) Metrics() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.cfg.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", p.health.livez)
	mux.HandleFunc("GET /proxyMode", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("nftables")) })
	return mux
}

// serve listens at once, so that a taken address is an error at the start, and
// stops with ctx.
func serve(ctx context.Context, group *errgroup.Group, address string, handler http.Handler) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	return nil
}
