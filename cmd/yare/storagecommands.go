package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/yare-io/yare/cmd/yare/kubeapiserver"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/migrate"
)

func newStorageCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "storage", GroupID: "cluster",
		Short: "Move what a cluster stores, and encrypt it anew",
	}
	command.AddCommand(newMigrateCommand(), newReencryptCommand())
	return command
}

// place is a store on the command line: a datastore by its URL, or the data dir
// of a server.
type place struct {
	flag      string
	datastore kubeapiserver.Datastore
}

func (p *place) add(flags *pflag.FlagSet, name, what string) {
	p.flag = "--" + name
	flags.StringVar(&p.datastore.Endpoint, name, "", what+": postgres://..., URLs of an etcd, or the data dir of a stopped server")
	flags.StringVar(&p.datastore.TLS.CA, name+"-cafile", "", "authority that vouches for it")
	flags.StringVar(&p.datastore.TLS.Cert, name+"-certfile", "", "client certificate for it")
	flags.StringVar(&p.datastore.TLS.Key, name+"-keyfile", "", "its private key")
}

// open returns the store, and what else is to be closed after it.
func (p *place) open(ctx context.Context, logger *slog.Logger) (storage.Store, func() error, error) {
	nothing := func() error { return nil }
	switch {
	case p.datastore.Endpoint == "":
		return nil, nil, fmt.Errorf("%s is needed", p.flag)
	case strings.Contains(p.datastore.Endpoint, "://"):
		store, err := p.datastore.Open(ctx, logger)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p.flag, err)
		}
		return store, nothing, nil
	}
	dir, err := filepath.Abs(p.datastore.Endpoint)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, nil, err
	}
	unlock, err := lockDataDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: stop the server first: %w", p.flag, err)
	}
	store, err := etcd.Open(ctx, etcd.Config{Dir: filepath.Join(dir, "etcd"), Logger: logger})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", p.flag, err), unlock())
	}
	return store, unlock, nil
}

// name is what the target remembers the source by; it has no password.
func (p *place) name() string {
	address := p.datastore.Endpoint
	scheme, rest, ok := strings.Cut(address, "://")
	if user := strings.LastIndex(rest, "@"); ok && user >= 0 {
		address = scheme + "://" + rest[user+1:]
	}
	return address
}

func newMigrateCommand() *cobra.Command {
	var from, to place
	var eventTTL time.Duration
	logs := &logFlags{}
	command := &cobra.Command{
		Use: "migrate", Args: cobra.NoArgs,
		Short: "Copy a cluster from one store to another",
		Long: `Copies all objects, compares both stores, and says so when they are the same.
Stop every server of the cluster first. A copy that was interrupted goes on when
it is started again. Objects get new revisions, so clients list anew.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := logs.logger()
			if err != nil {
				return err
			}
			return runMigration(cmd.Context(), &from, &to, eventTTL, cmd.OutOrStdout(), logger)
		},
	}
	from.add(command.Flags(), "from", "what to copy")
	to.add(command.Flags(), "to", "where to copy it")
	command.Flags().DurationVar(&eventTTL, "event-ttl", time.Hour, "how long events are kept from now on")
	logs.add(command.Flags())
	return command
}

func runMigration(ctx context.Context, from, to *place, eventTTL time.Duration, out io.Writer, logger *slog.Logger) (err error) {
	source, closeSource, err := from.open(ctx, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close(), closeSource()) }()
	target, closeTarget, err := to.open(ctx, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close(), closeTarget()) }()
	told := time.Now()
	count, err := migrate.Run(ctx, migrate.Config{
		From: source, To: target, Source: from.name(),
		Keep: func(key string) (time.Duration, bool) { return lifeOf(key, eventTTL) },
		Progress: func(p migrate.Progress) {
			if p.Done == p.Total || time.Since(told) > time.Second {
				told = time.Now()
				fmt.Fprintf(out, "%s: %d of %d keys\n", p.Step, p.Done, p.Total)
			}
		},
	})
	if err == nil {
		fmt.Fprintf(out, "moved %d keys: both stores have the same\n", count)
	}
	return err
}

// lifeOf tells how long a key lives in a new store, for those that expire, and
// false for those that the next server writes itself within seconds.
func lifeOf(key string, eventTTL time.Duration) (time.Duration, bool) {
	switch {
	case strings.HasPrefix(key, kubeapiserver.RegistryRoot+"masterleases/"):
		return 0, false
	case strings.HasPrefix(key, kubeapiserver.RegistryRoot+"events/"):
		return eventTTL, true
	}
	return 0, true
}

func newReencryptCommand() *cobra.Command {
	var at place
	encryption, logs := &kubeapiserver.Encryption{}, &logFlags{}
	command := &cobra.Command{
		Use: "reencrypt", Args: cobra.NoArgs,
		Short: "Write objects again that are not encrypted with the first key",
		Long: `Writes again what is in the clear or encrypted with a key that is no longer the
first of its provider. Servers may run meanwhile; that of an embedded etcd is
reached through its socket, as unix:///run/yare/etcd.sock.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := logs.logger()
			if err != nil {
				return err
			}
			return runReencryption(cmd.Context(), &at, encryption, cmd.OutOrStdout(), logger)
		},
	}
	at.add(command.Flags(), "datastore-endpoint", "the store")
	command.Flags().StringVar(&encryption.File, "encryption-provider-config", "", "EncryptionConfiguration of the servers")
	logs.add(command.Flags())
	return command
}

func runReencryption(ctx context.Context, at *place, encryption *kubeapiserver.Encryption, out io.Writer, logger *slog.Logger) (err error) {
	if encryption.File == "" {
		return errors.New("--encryption-provider-config is needed")
	}
	store, closePlace, err := at.open(ctx, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closePlace()) }()
	sealed, err := encryption.Seal(store, logger)
	if err != nil {
		return errors.Join(err, store.Close())
	}
	defer func() { err = errors.Join(err, sealed.Close()) }()
	count, err := sealed.Rewrite(ctx, kubeapiserver.RegistryRoot)
	fmt.Fprintf(out, "encrypted %d objects anew\n", count)
	return err
}
