package etcd

import (
	"fmt"
	"math"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// connect returns a client of an external cluster. It does not wait for it.
func connect(config Config, logger *zap.Logger) (*clientv3.Client, error) {
	settings := clientv3.Config{
		Endpoints:            config.Endpoints,
		DialTimeout:          config.RequestTimeout,
		DialKeepAliveTime:    30 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
		// The server's limits are the ones that count.
		MaxCallSendMsgSize: math.MaxInt32,
		MaxCallRecvMsgSize: math.MaxInt32,
		Logger:             logger,
		// A server that is back is found soon.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 3 * time.Second,
		})},
	}
	if config.TLS != (TLS{}) {
		info := transport.TLSInfo{CertFile: config.TLS.Cert, KeyFile: config.TLS.Key, TrustedCAFile: config.TLS.CA}
		tls, err := info.ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("connect to etcd: %w", err)
		}
		settings.TLS = tls
	}
	client, err := clientv3.New(settings)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd at %v: %w", config.Endpoints, err)
	}
	return client, nil
}
