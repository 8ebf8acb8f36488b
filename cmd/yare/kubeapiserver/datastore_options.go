package kubeapiserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/memory"
	"github.com/yare-io/yare/storage/postgres"
)

// Datastore names a datastore by its address, as users of k3s do.
type Datastore struct {
	Endpoint string
	TLS      etcd.TLS
	// Compaction is the etcd.Config's CompactionInterval.
	Compaction time.Duration
}

// endpointVariable gives the endpoint where a command line, which everybody on
// the machine can read, should not have the password in it.
const endpointVariable = "YARE_DATASTORE_ENDPOINT"

func (o *Datastore) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.Endpoint, "datastore-endpoint", os.Getenv(endpointVariable),
		"where objects are kept: postgres://USER:PASSWORD@HOST/DATABASE or URLs of an external etcd (also from $"+endpointVariable+")")
	flags.Lookup("datastore-endpoint").DefValue = ""
	Classify(flags, "datastore-endpoint")
	flags.StringVar(&o.TLS.CA, "datastore-cafile", "", "authority that vouches for the datastore")
	flags.StringVar(&o.TLS.Cert, "datastore-certfile", "", "client certificate for the datastore")
	flags.StringVar(&o.TLS.Key, "datastore-keyfile", "", "its private key")
}

// Open connects to the datastore that the endpoint names.
func (o *Datastore) Open(ctx context.Context, logger *slog.Logger) (storage.Store, error) {
	switch scheme, _, _ := strings.Cut(o.Endpoint, "://"); scheme {
	case "postgres", "postgresql":
		address, err := withTLS(o.Endpoint, o.TLS)
		if err != nil {
			return nil, err
		}
		return postgres.Open(ctx, postgres.Config{URL: address, Logger: logger})
	case "http", "https", "unix", "unixs":
		return etcd.Open(ctx, etcd.Config{Endpoints: strings.Split(o.Endpoint, ","), TLS: o.TLS, CompactionInterval: o.Compaction, Logger: logger})
	default:
		return nil, fmt.Errorf("--datastore-endpoint must begin with postgres://, https:// or http://, not %q", scheme)
	}
}

// withTLS adds files to the URL of a database, as libpq names them.
func withTLS(address string, files etcd.TLS) (string, error) {
	if files == (etcd.TLS{}) {
		return address, nil
	}
	parsed, err := url.Parse(address)
	if err != nil {
		// The error would repeat the password.
		return "", errors.New("--datastore-endpoint is not a URL")
	}
	query := parsed.Query()
	for name, file := range map[string]string{"sslrootcert": files.CA, "sslcert": files.Cert, "sslkey": files.Key} {
		if file != "" {
			query.Set(name, file)
		}
	}
	if query.Get("sslmode") == "" {
		query.Set("sslmode", "verify-full")
		if files.CA == "" {
			query.Set("sslmode", "require")
		}
	}
	parsed.RawQuery = query.Encode()
	return parsed.String(), nil
}

// openStore opens the store that the flags name, and encrypts what goes into it
// if they say so.
func (o *Options) openStore(ctx context.Context, logger *slog.Logger) (storage.Store, error) {
	store, err := o.openPlainStore(ctx, logger)
	if err != nil {
		return nil, err
	}
	return o.encryption.wrap(store, logger)
}

func (o *Options) openPlainStore(ctx context.Context, logger *slog.Logger) (storage.Store, error) {
	if o.Datastore.Endpoint != "" {
		if len(o.EtcdServers) > 0 || o.StorageBackend != "etcd3" {
			return nil, errors.New("--datastore-endpoint excludes --etcd-servers and --storage-backend")
		}
		o.Datastore.Compaction = o.compactionInterval()
		return o.Datastore.Open(ctx, logger)
	}
	config, durable, err := o.etcdConfig()
	if err != nil {
		return nil, err
	}
	if !durable {
		return memory.New(memory.Config{}), nil
	}
	config.Logger = logger
	return etcd.Open(ctx, config)
}
