package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/faulttest"
	"github.com/yare-io/yare/storage/faulttest/link"
	"github.com/yare-io/yare/storage/postgres"
	"github.com/yare-io/yare/storage/postgres/postgrestest"
)

// hangUpAll ends the connections of all stores, but not the server.
func hangUpAll(server *postgrestest.Server) func(context.Context) error {
	return func(ctx context.Context) error {
		return server.Exec(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'yare'`)
	}
}

// failAtCommit lets transactions of writers end at the very end, where they
// commit, for a moment. It is their database that is at fault: some lose their
// connection, some get an error.
func failAtCommit(server *postgrestest.Server, schema string) func(context.Context) error {
	const setUp = `
		CREATE OR REPLACE FUNCTION %[1]s.fault() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF random() < 0.5 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
			RAISE EXCEPTION 'fault' USING ERRCODE = 'io_error';
		END $$;
		CREATE CONSTRAINT TRIGGER fault AFTER UPDATE ON %[1]s.yare_state DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW WHEN (NEW.revision %% 3 = 0) EXECUTE FUNCTION %[1]s.fault()`
	return func(ctx context.Context) error {
		return faulttest.Hold(ctx, 20*time.Millisecond,
			func() error { return execAll(ctx, server, fmt.Sprintf(setUp, schema)) },
			func() error { return execAll(ctx, server, fmt.Sprintf(`DROP TRIGGER fault ON %s.yare_state`, schema)) })
	}
}

// execAll runs several statements as one.
func execAll(ctx context.Context, server *postgrestest.Server, statements string) error {
	conn, err := pgx.Connect(ctx, server.URL(""))
	if err != nil {
		return err
	}
	_, err = conn.PgConn().Exec(ctx, statements).ReadAll()
	return errors.Join(err, conn.Close(ctx))
}

// faultTimeout is how long the clients of the tests under faults wait.
const faultTimeout = 200 * time.Millisecond

// underFaults runs clients on two stores of one database while faults strike.
func underFaults(t *testing.T, plan faulttest.Plan, config postgres.Config, faults func(stores []storage.Store) []faulttest.Fault) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), plan.Within())
	defer cancel()
	var stores []storage.Store
	poll(t, ctx, "two stores open, on a busy machine", func() bool {
		store, err := postgres.Open(ctx, config)
		if err == nil {
			stores = append(stores, store)
			t.Cleanup(func() { _ = store.Close() })
		}
		return len(stores) == 2
	})
	err := faulttest.Run(ctx, faulttest.Config{
		Stores: stores, Plan: plan, Seed: uint64(time.Now().UnixNano()), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Faults: faults(stores),
	})
	if err != nil {
		t.Fatal(fmt.Errorf("faults: %w", err))
	}
}

// lanes are how many databases of their own faults strike at once: most faults
// are a time in which little is done.
const lanes = 2

func TestFaults(t *testing.T) {
	for lane := range lanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			faults(t)
		})
	}
}

func faults(t *testing.T) {
	server := postgrestest.New(t)
	dir := filepath.Join(server.Dir(), "way")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	way := link.New(t, "unix", postgrestest.Socket(dir), func() (net.Conn, error) { return net.Dial("unix", postgrestest.Socket(server.Dir())) })
	const schema = "faults"
	config := postgres.Config{URL: postgrestest.URLAt(schema, dir), RequestTimeout: faultTimeout, PartitionSpan: 400}
	restart := func(context.Context) error { return errors.Join(server.Kill(), server.Start()) }
	underFaults(t, faulttest.CI(t), config, func(stores []storage.Store) []faulttest.Fault {
		compact := faulttest.Compactor(stores[1])
		return append(faulttest.Network(way, faultTimeout),
			faulttest.Fault{Name: "hang up", Strike: hangUpAll(server)},
			faulttest.Fault{Name: "compact", Strike: compact},
			faulttest.Fault{Name: "fail at commit", Strike: failAtCommit(server, schema)},
			faulttest.Fault{Name: "hang up while it compacts", Strike: func(ctx context.Context) error {
				return errors.Join(compact(ctx), hangUpAll(server)(ctx))
			}},
			faulttest.Fault{Name: "kill the database", Strike: restart},
			faulttest.Fault{Name: "kill the database while it compacts", Strike: func(ctx context.Context) error {
				return errors.Join(compact(ctx), restart(ctx))
			}},
			faulttest.Fault{Name: "pause the database", Strike: func(ctx context.Context) error {
				return faulttest.Hold(ctx, faultTimeout+faultTimeout/4, server.Pause, server.Resume)
			}},
		)
	})
}

// TestFullDisk fills the file system under the database and makes room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir, err := os.MkdirTemp("", "yare-pg")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=300m"); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(syscall.Unmount(dir, 0), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	server := postgrestest.NewIn(t, dir)
	plan := faulttest.CI(t)
	plan.For /= 2
	config := postgres.Config{URL: server.Schema(), RequestTimeout: faultTimeout, PartitionSpan: 400}
	underFaults(t, plan, config, func([]storage.Store) []faulttest.Fault {
		return []faulttest.Fault{{Name: "fill the disk", Strike: func(ctx context.Context) error {
			ballast := filepath.Join(dir, "ballast")
			return faulttest.Hold(ctx, 300*time.Millisecond, func() error { return faulttest.Fill(ballast) },
				func() error { return errors.Join(os.Remove(ballast), server.Kill(), server.Start()) })
		}}}
	})
}
