package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/google/uuid"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// member and peerURL are recorded in the data of a server that is alone.
	// Nothing listens there.
	member  = "yare"
	peerURL = "http://localhost:2380"

	// A single member has nobody to hear from, so waiting for others before it
	// elects itself is lost time at every start.
	tickMillis     = 10
	electionMillis = 5 * tickMillis
	// Members of a cluster have etcd's own patience with each other.
	clusterTickMillis     = 100
	clusterElectionMillis = 10 * clusterTickMillis
)

var errEnded = errors.New("etcd ended by itself: this member was removed from the cluster, or cannot go on with its data; its log says which")

// startServer runs etcd in this process and returns it with a client that calls
// it directly.
func startServer(ctx context.Context, config Config, logger *zap.Logger) (*clientv3.Client, *embed.Etcd, error) {
	settings, err := serverSettings(config, logger)
	if err != nil {
		return nil, nil, fmt.Errorf("start etcd: %w", err)
	}
	if config.Cluster != nil {
		if err := config.Cluster.settle(ctx, config, settings, logger); err != nil {
			return nil, nil, err
		}
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
	case <-server.Server.StopNotify():
		err = errEnded
	case err = <-server.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		server.Close()
		return nil, nil, fmt.Errorf("start etcd in %s: %w", config.Dir, err)
	}
	client := v3client.New(server.Server)
	if config.Cluster != nil {
		err = config.Cluster.vote(ctx, server, client, config)
	}
	if err != nil {
		_ = client.Close()
		server.Close()
		return nil, nil, err
	}
	return client, server, nil
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

	settings.ForceNewCluster = config.force
	// Clusters that began apart never take each other's members for their own.
	settings.InitialClusterToken = uuid.NewString()
	var err error
	settings.ListenPeerUrls = nil
	if settings.AdvertisePeerUrls, err = parseURLs(peerURL); err != nil {
		return nil, err
	}
	settings.InitialCluster = settings.InitialClusterFromName(member)
	if settings.ListenClientUrls, err = parseURLs(config.Listen...); err != nil {
		return nil, err
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

func parseURLs(addresses ...string) ([]url.URL, error) {
	var parsed []url.URL
	for _, address := range addresses {
		one, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, *one)
	}
	return parsed, nil
}
