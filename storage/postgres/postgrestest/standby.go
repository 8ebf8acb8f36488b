package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// NewStandby starts a server that streams what another one writes.
func NewStandby(tb testing.TB, primary *Server) *Server {
	tb.Helper()
	dir, err := shortDir()
	if err != nil {
		tb.Fatal(err)
	}
	s, err := prepare(dir, primary.settings...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.remove)
	if err := s.Follow(primary); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Follow makes a server that does not run the standby of another one, with its
// data in place of what it had.
func (s *Server) Follow(primary *Server) error {
	s.bury()
	if err := os.RemoveAll(s.data()); err != nil {
		return err
	}
	command := s.command("pg_basebackup", "--pgdata", s.data(), "--host", primary.dir, "--username", "postgres",
		"--checkpoint", "fast", "--wal-method", "stream", "--write-recovery-conf", "--no-sync")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	// It waits for nobody when it takes over.
	if err := appendTo(filepath.Join(s.data(), "postgresql.auto.conf"), "synchronous_standby_names = ''\n"); err != nil {
		return err
	}
	return s.Start()
}

// bury ends what a killed server has left behind, which would write into the new
// data. It waits for a while only: one that nobody reaps stays, but does nothing.
func (s *Server) bury() {
	deadline := time.Now().Add(2 * time.Second)
	for _, pid := range s.orphans {
		for syscall.Kill(pid, syscall.SIGKILL) == nil && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
	}
	s.orphans = nil
}

func appendTo(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// Synchronize makes commits wait for the server's standby, and returns once they
// do.
func (s *Server) Synchronize(ctx context.Context) error {
	if err := errors.Join(s.Exec(ctx, `ALTER SYSTEM SET synchronous_standby_names = '*'`), s.Exec(ctx, `SELECT pg_reload_conf()`),
		// Done by the process that makes commits wait, once it has read that.
		s.Exec(ctx, `CHECKPOINT`)); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, s.URL(""))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var synchronous bool
		if err := conn.QueryRow(ctx, `SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state = 'sync'`).Scan(&synchronous); err != nil || synchronous {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the standby does not follow: %w", ctx.Err())
		}
	}
}

// Promote makes a standby take writes.
func (s *Server) Promote(ctx context.Context) error {
	return s.Exec(ctx, `SELECT pg_promote(true, 60)`)
}
