package postgres_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/faulttest/process"
	"github.com/yare-io/yare/storage/postgres"
)

// pooled is the URL of a database behind PgBouncer.
func pooled(t *testing.T, mode string) string {
	t.Helper()
	schema(t)
	bouncer, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("PgBouncer is not installed")
	}
	database := "pooled_" + mode
	execute(t, direct(t, shared.URL("")), `CREATE DATABASE `+database)
	dir, err := os.MkdirTemp("", "yare-pool")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	settings := fmt.Sprintf(`[databases]
%s = host=%s user=postgres
[pgbouncer]
listen_port = 5432
unix_socket_dir = %s
auth_type = any
pool_mode = %s
`, database, shared.Dir(), dir, mode)
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(bouncer, file)
	command.Stderr = t.Output()
	if os.Getuid() == 0 {
		// It refuses to be root, as PostgreSQL does.
		owner, err := os.Stat(filepath.Join(shared.Dir(), "data"))
		if err != nil {
			t.Fatal(err)
		}
		ids := owner.Sys().(*syscall.Stat_t)
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: ids.Uid, Gid: ids.Gid}}
		if err := os.Chown(dir, int(ids.Uid), int(ids.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	server, err := process.Start(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Kill() })
	url := fmt.Sprintf("postgres:///%s?host=%s&user=postgres", database, dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	poll(t, ctx, "the pooler answers", func() bool {
		conn, err := pgx.Connect(ctx, url)
		if err == nil {
			_ = conn.Close(ctx)
		}
		return err == nil
	})
	return url
}

func TestAPoolerOfSessionsServes(t *testing.T) {
	url := pooled(t, "session")
	writer, reader := open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := reader.Watch(ctx, storage.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	revision, err := writer.Create(ctx, "/a", []byte("x"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if batch := <-w.Batches(); batch.Revision != revision || len(batch.Events) != 1 {
		t.Fatalf("the watch saw %+v, created was revision %d: %v", batch, revision, w.Err())
	}
	if kv, err := reader.Get(ctx, "/a"); err != nil || kv.Revision != revision {
		t.Fatalf("%+v %v", kv, err)
	}
}

func TestAPoolerOfTransactionsIsRefused(t *testing.T) {
	store, err := postgres.Open(t.Context(), postgres.Config{URL: pooled(t, "transaction")})
	if err == nil {
		_ = store.Close()
		t.Fatal("a pooler was accepted with which notifications get lost")
	}
	if !strings.Contains(err.Error(), "pool_mode = session") {
		t.Errorf("the error does not say what to do: %v", err)
	}
}
