package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/faulttest"
	"github.com/yare-io/yare/storage/postgres"
	"github.com/yare-io/yare/storage/postgres/postgrestest"
)

// hold stops something for a while.
func hold(ctx context.Context, duration time.Duration, stop, resume func() error) error {
	if err := stop(); err != nil {
		return err
	}
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return resume()
}

// compactor gives up the history from before the round before.
func compactor(store storage.Store) func(context.Context) error {
	var next int64
	return func(ctx context.Context) error {
		if next > 0 {
			err := store.Compact(ctx, next)
			if err != nil && !errors.Is(err, storage.ErrUnavailable) {
				return err
			}
		}
		now, err := store.Revision(ctx)
		if err == nil {
			next = now
		}
		return nil
	}
}

// hangUpAll ends the connections of all stores, but not the server.
func hangUpAll(server *postgrestest.Server) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, server.URL("")+"&application_name=fault")
		if err != nil {
			return err
		}
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'yare'`)
		return err
	}
}

func TestFaults(t *testing.T) {
	rounds, within := faulttest.Rounds(t, 8)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	server := postgrestest.New(t)
	config := postgres.Config{URL: server.Schema(), RequestTimeout: time.Second, PartitionSpan: 400}
	stores := []storage.Store{open(t, config), open(t, config)}
	err := faulttest.Run(ctx, faulttest.Config{
		Stores: stores, Rounds: rounds, Seed: uint64(time.Now().UnixNano()), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Faults: []faulttest.Fault{
			{Name: "kill the database", Strike: func(context.Context) error {
				if err := server.Kill(); err != nil {
					return err
				}
				return server.Start()
			}},
			{Name: "hang up", Strike: hangUpAll(server)},
			{Name: "compact", Strike: compactor(stores[1])},
			{Name: "pause the database", Strike: func(ctx context.Context) error {
				return hold(ctx, 1500*time.Millisecond, server.Pause, server.Resume)
			}},
		},
	})
	if err != nil {
		t.Fatal(fmt.Errorf("faults: %w", err))
	}
}
