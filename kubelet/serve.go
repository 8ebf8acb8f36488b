package kubelet

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/yare-io/yare/kubelet/server"
)

// servers are what the node listens with, each until its context ends.
func (k *Kubelet) servers() []func(context.Context) error {
	var servers []func(context.Context) error
	if k.config.Server != nil {
		servers = append(servers, k.serveAPI)
	}
	if *k.config.Settings.HealthzPort > 0 {
		servers = append(servers, k.serveHealth)
	}
	return servers
}

// serveAPI serves the node's own HTTPS API.
func (k *Kubelet) serveAPI(ctx context.Context) error {
	config, s := *k.config.Server, &k.config.Settings
	config.Backend, config.NodeName, config.Configz = k.Backend(), k.config.NodeName, s
	if config.Logger == nil {
		config.Logger = k.logger
	}
	if config.Listener == nil {
		var err error
		if config.Listener, err = listen(s.Address, s.Port); err != nil {
			return err
		}
	}
	api, err := server.New(config)
	if err != nil {
		return errors.Join(err, config.Listener.Close())
	}
	return api.Run(ctx)
}

// serveHealth serves the health check without TLS, for supervisors on this
// machine.
func (k *Kubelet) serveHealth(ctx context.Context) error {
	s := &k.config.Settings
	listener, err := listen(s.HealthzBindAddress, *s.HealthzPort)
	if err != nil {
		return err
	}
	health := &http.Server{Handler: server.Healthz(k.Backend()), ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = health.Close() })()
	return health.Serve(listener)
}

func listen(address string, port int32) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(int(port))))
}
