package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/postgres"
	"github.com/yare-io/yare/storage/postgres/postgrestest"
)

// wantGone checks that a client which comes back with a resourceVersion is told
// that it is no more.
func wantGone(t *testing.T, store storage.Store, revision int64) {
	t.Helper()
	if _, err := store.List(t.Context(), storage.ListRequest{Revision: revision}); !errors.Is(err, storage.ErrCompacted) {
		t.Errorf("list at revision %d, which is lost: %v", revision, err)
	}
	if w, err := store.Watch(t.Context(), storage.WatchRequest{After: revision}); !errors.Is(err, storage.ErrCompacted) {
		t.Errorf("watch after revision %d, which is lost: %v, %v", revision, w, err)
	}
}

// TestARevisionThatWasLostIsNeverGivenOutAgain promotes a standby that lacks what
// was acknowledged, with and without a process that knows of it.
func TestARevisionThatWasLostIsNeverGivenOutAgain(t *testing.T) {
	for name, livesOn := range map[string]bool{"the process lives on": true, "the process is another": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			primary := postgrestest.New(t)
			standby := postgrestest.NewStandby(t, primary)
			config := postgres.Config{URL: postgrestest.URLAt("lagging", primary.Dir(), standby.Dir()), RequestTimeout: failOverTimeout, PartitionSpan: 50}
			store := open(t, config)
			kept, err := store.Create(ctx, "/kept", nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			observer := direct(t, primary.URL(""))
			poll(t, ctx, "the standby has what is to be kept", func() bool {
				var same bool
				if err := observer.QueryRow(ctx, `SELECT coalesce(bool_and(replay_lsn >= pg_current_wal_lsn()), false) FROM pg_stat_replication`).Scan(&same); err != nil {
					t.Fatal(err)
				}
				return same
			})
			if err := standby.Pause(); err != nil {
				t.Fatal(err)
			}
			var lost int64
			for i := range 10 {
				if lost, err = store.Create(ctx, fmt.Sprintf("/lost/%d", i), nil, 0); err != nil {
					t.Fatal(err)
				}
			}
			if !livesOn {
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(primary.Crash(), standby.Resume(), standby.Promote(ctx)); err != nil {
				t.Fatal(err)
			}
			if !livesOn {
				store = open(t, config)
			}
			poll(t, ctx, "the store has found the standby", func() bool {
				revision, err := store.Create(ctx, "/new", nil, 0)
				if err != nil && !errors.Is(err, storage.ErrUnavailable) {
					t.Fatal(err)
				}
				if err == nil && revision <= lost {
					t.Fatalf("revision %d was given out twice: %d was acknowledged", revision, lost)
				}
				return err == nil
			})
			wantGone(t, store, lost)
			wantGone(t, store, kept)
			// What comes after the skipped revisions has room in the log.
			for i := range 120 {
				if _, err := store.Create(ctx, fmt.Sprintf("/after/%d", i), nil, 0); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestARestoredCopySkipsRevisions opens a database that was written on another
// server, as the restored dump of one is.
func TestARestoredCopySkipsRevisions(t *testing.T) {
	url := schema(t)
	store := open(t, postgres.Config{URL: url})
	before, err := store.Create(t.Context(), "/a", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, postgres.Config{URL: url})
	if now, err := again.Revision(t.Context()); err != nil || now != before {
		t.Fatalf("opened again at revision %d of %d: %v", now, before, err)
	}
	execute(t, direct(t, url), `UPDATE yare_state SET lineage = '1/00000001'`)
	restored := open(t, postgres.Config{URL: url})
	wantGone(t, restored, before)
	if revision, err := restored.Create(t.Context(), "/b", nil, 0); err != nil || revision < before+1_000_000_000 {
		t.Fatalf("created at revision %d: %v", revision, err)
	}
}
