package etcd

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// member and peerURL are recorded in the data of the one-member cluster.
	// Nothing listens there.
	member  = "yare"
	peerURL = "http://localhost:2380"

	// A single member has nobody to hear from, so waiting for others before it
	// elects itself is lost time at every start.
	tickMillis     = 10
	electionMillis = 5 * tickMillis
)

// startServer runs etcd in this process and returns it with a client that calls
// it directly.
func startServer(ctx context.Context, config Config, logger *zap.Logger) (*clientv3.Client, *embed.Etcd, error) {
	settings, err := serverSettings(config, logger)
	if err != nil {
		return nil, nil, err
	}
	// The directory has secrets in it.
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("start etcd: %w", err)
	}
	server, err := embed.StartEtcd(settings)
	if err != nil {
		return nil, nil, fmt.Errorf("start etcd in %s: %w", config.Dir, err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return v3client.New(server.Server), server, nil
	case <-server.Server.StopNotify():
		err = fmt.Errorf("start etcd in %s: it stopped at once", config.Dir)
	case err = <-server.Err():
		err = fmt.Errorf("start etcd in %s: %w", config.Dir, err)
	case <-ctx.Done():
		err = fmt.Errorf("start etcd in %s: %w", config.Dir, ctx.Err())
	}
	server.Close()
	return nil, nil, err
}

func serverSettings(config Config, logger *zap.Logger) (*embed.Config, error) {
	settings := embed.NewConfig()
	settings.Name = member
	settings.Dir = config.Dir
	settings.QuotaBackendBytes = config.Quota
	settings.MaxRequestBytes = config.MaxRequest
	settings.UnsafeNoFsync = config.NoSync
	settings.TickMs, settings.ElectionMs = tickMillis, electionMillis
	settings.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger)
	settings.EnableGRPCGateway = false

	peer, err := url.Parse(peerURL)
	if err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	settings.ListenPeerUrls = nil
	settings.AdvertisePeerUrls = []url.URL{*peer}
	settings.InitialCluster = settings.InitialClusterFromName(member)

	settings.ListenClientUrls, settings.AdvertiseClientUrls = nil, nil
	for _, listen := range config.Listen {
		client, err := url.Parse(listen)
		if err != nil {
			return nil, fmt.Errorf("start etcd: %w", err)
		}
		settings.ListenClientUrls = append(settings.ListenClientUrls, *client)
	}
	settings.AdvertiseClientUrls = settings.ListenClientUrls
	settings.ClientTLSInfo = transport.TLSInfo{
		CertFile:       config.ListenTLS.Cert,
		KeyFile:        config.ListenTLS.Key,
		TrustedCAFile:  config.ListenTLS.CA,
		ClientCertAuth: config.ListenTLS.CA != "",
	}
	return settings, nil
}
