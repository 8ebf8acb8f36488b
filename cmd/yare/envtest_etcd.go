package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/yare-io/yare/storage/etcd"
)

// newEtcdCommand is the etcd of test suites: the embedded etcd server, or,
// where objects are kept in memory, only what tells a suite that it is healthy.
func newEtcdCommand() *cobra.Command {
	var (
		listen, unused []string
		dataDir        string
		noSync         bool
	)
	logs := &logFlags{}
	command := &cobra.Command{
		Use: "etcd", GroupID: "component", Args: cobra.NoArgs, Hidden: true,
		Short: "Serve etcd for a test suite",
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := envtestHere(os.Args[0])
			if err != nil {
				return err
			}
			if settings != nil && settings.Storage == "memory" {
				return serveHealth(cmd.Context(), listen)
			}
			logger, err := logs.logger()
			if err != nil {
				return err
			}
			store, err := etcd.Open(cmd.Context(), etcd.Config{Dir: dataDir, Listen: listen, Logger: logger, CompactionInterval: -1, NoSync: noSync})
			if err != nil {
				return err
			}
			<-cmd.Context().Done()
			return store.Close()
		},
	}
	flags := command.Flags()
	flags.StringSliceVar(&listen, "listen-client-urls", []string{"http://127.0.0.1:2379"}, "URLs to answer clients on")
	flags.StringSliceVar(&unused, "advertise-client-urls", nil, "accepted and not used: there is one member")
	flags.StringSliceVar(&unused, "listen-peer-urls", nil, "accepted and not used: there is one member")
	flags.StringVar(&dataDir, "data-dir", "default.etcd", "directory to keep data in")
	flags.BoolVar(&noSync, "unsafe-no-fsync", false, "do not wait for writes to be on disk: a crash of the machine may lose them")
	logs.add(flags)
	return command
}

// serveHealth answers /health and /version at some URLs until ctx ends.
func serveHealth(ctx context.Context, urls []string) error {
	mux := http.NewServeMux()
	answer := func(content map[string]string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(content)
		}
	}
	mux.HandleFunc("/health", answer(map[string]string{"health": "true", "reason": ""}))
	mux.HandleFunc("/version", answer(map[string]string{"etcdserver": "3.6.0+yare", "etcdcluster": "3.6.0"}))
	group, ctx := errgroup.WithContext(ctx)
	for _, text := range urls {
		target, err := url.Parse(text)
		if err != nil {
			return err
		}
		listener, err := net.Listen("tcp", target.Host)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
		context.AfterFunc(ctx, func() { _ = server.Close() })
		group.Go(func() error {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	return group.Wait()
}
