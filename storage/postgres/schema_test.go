package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/postgres"
)

// direct is a connection that sees what the store made.
func direct(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func TestAnOrdinaryRoleSuffices(t *testing.T) {
	schema(t)
	admin := direct(t, shared.URL(""))
	role := fmt.Sprintf("plain_%d", time.Now().UnixNano())
	execute(t, admin, `CREATE ROLE `+role+` LOGIN NOINHERIT`, `CREATE SCHEMA AUTHORIZATION `+role)
	url := strings.Replace(shared.URL(role), "user=postgres", "user="+role, 1)
	store := open(t, postgres.Config{URL: url, PartitionSpan: 5})
	for i := range 20 {
		revision, err := store.Create(t.Context(), fmt.Sprintf("/a/%d", i), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Compact(t.Context(), revision); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	var knows bool
	if err := admin.QueryRow(t.Context(), `SELECT lineage IS NOT NULL FROM `+role+`.yare_state`).Scan(&knows); err != nil || !knows {
		t.Errorf("the role does not learn when another server takes over: %v", err)
	}
}

func TestANewerSchemaIsRefused(t *testing.T) {
	url := schema(t)
	open(t, postgres.Config{URL: url})
	execute(t, direct(t, url), `UPDATE yare_schema SET version = 1000`)
	if store, err := postgres.Open(t.Context(), postgres.Config{URL: url}); err == nil {
		_ = store.Close()
		t.Fatal("a schema from the future was accepted")
	}
}

func TestDataSurvivesReopening(t *testing.T) {
	url := schema(t)
	first := open(t, postgres.Config{URL: url})
	revision, err := first.Create(t.Context(), "/a", []byte("x"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open(t, postgres.Config{URL: url})
	if kv, err := second.Get(t.Context(), "/a"); err != nil || kv.Revision != revision {
		t.Fatalf("%+v %v", kv, err)
	}
	if _, err := second.Create(t.Context(), "/b", nil, 0); err != nil {
		t.Fatal(err)
	}
}

// TestCompactionDropsPartitionsAndWaitsForReadersAlone compacts while a reader's
// transaction is open in the log: writes go on, and once the reader is gone, so
// are the partitions.
func TestCompactionDropsPartitionsAndWaitsForReadersAlone(t *testing.T) {
	url := schema(t)
	store := open(t, postgres.Config{URL: url, PartitionSpan: 50})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	create := func(from, until int) (last int64) {
		t.Helper()
		for i := from; i < until; i++ {
			revision, err := store.Create(ctx, fmt.Sprintf("/a/%d", i), []byte("x"), 0)
			if err != nil {
				t.Fatal(err)
			}
			last = revision
		}
		return last
	}
	last := create(0, 200)
	reader, observer := direct(t, url), direct(t, url)
	execute(t, reader, `BEGIN`, `SELECT count(*) FROM yare_revisions`)
	if err := store.Compact(ctx, last); err != nil {
		t.Fatal(err)
	}
	create(200, 600)
	execute(t, reader, `COMMIT`)
	poll(t, ctx, "the compacted partitions are gone", func() bool {
		var left int
		err := observer.QueryRow(ctx, `SELECT count(*) FROM yare_partitions WHERE past <= $1`, last).Scan(&left)
		if err != nil {
			t.Fatal(err)
		}
		return left == 0
	})
	if result, err := store.List(ctx, storage.ListRequest{Prefix: "/a/", Revision: last}); err != nil || len(result.KVs) != 200 {
		t.Fatalf("%d keys at the compacted revision: %v", len(result.KVs), err)
	}
}

// TestAnInterruptedCompactionIsFinished leaves a partition as a crash between
// the two halves of taking it out of the log does.
func TestAnInterruptedCompactionIsFinished(t *testing.T) {
	url := schema(t)
	store := open(t, postgres.Config{URL: url, PartitionSpan: 50})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var last int64
	for i := range 120 {
		var err error
		if last, err = store.Create(ctx, fmt.Sprintf("/a/%d", i), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	reader, observer := direct(t, url), direct(t, url)
	execute(t, reader, `BEGIN`, `SELECT count(*) FROM yare_revisions`)
	execute(t, observer, `SET statement_timeout = '300ms'`)
	if _, err := observer.Exec(ctx, `ALTER TABLE yare_revisions DETACH PARTITION yare_revisions_0 CONCURRENTLY`); err == nil {
		t.Fatal("the detachment was not interrupted")
	}
	execute(t, reader, `COMMIT`)
	if err := store.Compact(ctx, last); err != nil {
		t.Fatal(err)
	}
	poll(t, ctx, "the half detached partition is gone", func() bool {
		var there bool
		if err := observer.QueryRow(ctx, `SELECT to_regclass('yare_revisions_0') IS NOT NULL`).Scan(&there); err != nil {
			t.Fatal(err)
		}
		return !there
	})
}

// TestALostHistoryEndsWatches takes revisions away, as a standby does that
// takes over and lagged behind.
func TestALostHistoryEndsWatches(t *testing.T) {
	url := schema(t) + "&application_name=rewound"
	store := open(t, postgres.Config{URL: url})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := store.Watch(ctx, storage.WatchRequest{Progress: true})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if _, err := store.Create(ctx, fmt.Sprintf("/a/%d", i), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	conn := direct(t, strings.Replace(url, "rewound", "observer", 1))
	execute(t, conn, `BEGIN`, `UPDATE yare_state SET revision = revision - 5`,
		`DELETE FROM yare_current WHERE revision > (SELECT revision FROM yare_state)`,
		`DELETE FROM yare_revisions WHERE revision > (SELECT revision FROM yare_state)`, `COMMIT`,
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rewound'`)
	for range w.Batches() {
		continue
	}
	if !errors.Is(w.Err(), storage.ErrFutureRevision) {
		t.Fatalf("the watch ended with %v", w.Err())
	}
	revision, err := store.Create(ctx, "/b", nil, 0)
	if err != nil {
		t.Fatalf("the store does not go on: %v", err)
	}
	if revision < 1_000_000_000 {
		t.Errorf("revision %d is one that may have been lost", revision)
	}
}

// TestAHistoryThatWentAnotherWayEndsWatches lets other transactions have written
// the latest revisions, as after a standby took over that lagged behind and went
// on from there: no revision is missing, but they are not those that were seen.
func TestAHistoryThatWentAnotherWayEndsWatches(t *testing.T) {
	url := schema(t)
	store := open(t, postgres.Config{URL: url})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	start, err := store.Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var last int64
	for i := range 10 {
		if last, err = store.Create(ctx, fmt.Sprintf("/a/%d", i), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	var watches []storage.Watcher
	for _, previous := range []bool{false, true} {
		w, err := store.Watch(ctx, storage.WatchRequest{After: start, Previous: previous})
		if err != nil {
			t.Fatal(err)
		}
		for at := start; at < last; {
			at = (<-w.Batches()).Revision
		}
		watches = append(watches, w)
	}
	execute(t, direct(t, url), `UPDATE yare_revisions SET batch = -batch WHERE revision > (SELECT revision - 5 FROM yare_state)`)
	// Either notices when it reads the log: the hub because others have written
	// there, the watch for previous values because there is something new.
	if _, err := open(t, postgres.Config{URL: url}).Create(ctx, "/b", nil, 0); err != nil {
		t.Fatal(err)
	}
	for i, w := range watches {
		for range w.Batches() {
			continue
		}
		// By now revisions may have been skipped, and all before compacted.
		if !errors.Is(w.Err(), storage.ErrFutureRevision) && !errors.Is(w.Err(), storage.ErrCompacted) {
			t.Errorf("watch %d ended with %v", i, w.Err())
		}
	}
}

func poll(t *testing.T, ctx context.Context, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}

// TestALongLogHasWiderPartitions writes without a compaction, and then after one.
func TestALongLogHasWiderPartitions(t *testing.T) {
	url := schema(t)
	const span, count = 5, 3000
	store := open(t, postgres.Config{URL: url, PartitionSpan: span})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	observer := direct(t, url)
	create := func(folder string, count int) {
		t.Helper()
		var group errgroup.Group
		for i := range count {
			group.Go(func() error {
				_, err := store.Create(ctx, fmt.Sprintf("/%s/%d", folder, i), nil, 0)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	newest := func() (width, partitions int) {
		t.Helper()
		err := observer.QueryRow(ctx, `SELECT past - first, count(*) OVER () FROM yare_partitions ORDER BY first DESC LIMIT 1`).Scan(&width, &partitions)
		if err != nil {
			t.Fatal(err)
		}
		return width, partitions
	}
	create("a", count)
	width, partitions := newest()
	if width <= span || partitions > count/span/2 {
		t.Errorf("%d partitions, of which the last has %d revisions", partitions, width)
	}
	now, err := store.Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Compact(ctx, now); err != nil {
		t.Fatal(err)
	}
	poll(t, ctx, "the compacted partitions are gone", func() bool {
		_, left := newest()
		return left < partitions/4
	})
	create("b", count/2)
	if after, _ := newest(); after >= width {
		t.Errorf("a partition of %d revisions after a compaction, %d before", after, width)
	}
}
