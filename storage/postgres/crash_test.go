package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/postgres"
	"github.com/yare-io/yare/storage/postgres/postgrestest"
)

// acknowledged are the revisions that writers were told, with their keys.
type acknowledged struct {
	mu   sync.Mutex
	keys map[int64]string
}

func (a *acknowledged) add(revision int64, key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys[revision] = key
}

// createUntil creates keys until stop is set. A write that fails because the
// database is away may have happened or not.
func createUntil(ctx context.Context, t *testing.T, store storage.Store, writer int, stop *atomic.Bool, told *acknowledged) {
	for n := 0; !stop.Load(); n++ {
		key := fmt.Sprintf("/crash/%d/%d", writer, n)
		revision, err := store.Create(ctx, key, []byte(key), 0)
		switch {
		case err == nil:
			told.add(revision, key)
		case !errors.Is(err, storage.ErrUnavailable):
			t.Errorf("create: %v", err)
			return
		}
	}
}

// TestWatchesAndWritesSurviveAKilledDatabase kills the database again and again
// under writers and watches of two stores. What was acknowledged is there, and
// the watches, which go on by themselves, see every revision once.
func TestWatchesAndWritesSurviveAKilledDatabase(t *testing.T) {
	server := postgrestest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	config := postgres.Config{URL: server.Schema(), RequestTimeout: 3 * time.Second, PartitionSpan: 500}
	stores := []storage.Store{open(t, config), open(t, config)}
	start, err := stores[0].Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var watches []storage.Watcher
	for i, store := range append(stores, stores...) {
		w, err := store.Watch(ctx, storage.WatchRequest{After: start, Progress: true, Previous: i >= len(stores)})
		if err != nil {
			t.Fatal(err)
		}
		watches = append(watches, w)
	}
	told := &acknowledged{keys: map[int64]string{}}
	var stop atomic.Bool
	var writers sync.WaitGroup
	for writer := range 8 {
		writers.Go(func() { createUntil(ctx, t, stores[writer%2], writer, &stop, told) })
	}
	var readers sync.WaitGroup
	seen := make([]map[int64]string, len(watches))
	var end atomic.Int64
	for i, w := range watches {
		seen[i] = map[int64]string{}
		readers.Go(func() { seen[i] = readAll(t, w, start, &end) })
	}
	for range 4 {
		wantMore(ctx, t, told, 200)
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	wantMore(ctx, t, told, 100)
	stop.Store(true)
	writers.Wait()
	last, err := stores[0].Create(ctx, "/crash/end", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	end.Store(last)
	readers.Wait()
	for revision, key := range told.keys {
		for i := range watches {
			if seen[i][revision] != key {
				t.Fatalf("watch %d saw %q at revision %d, %q was acknowledged", i, seen[i][revision], revision, key)
			}
		}
		if kv, err := stores[1].Get(ctx, key); err != nil || kv.Revision != revision {
			t.Fatalf("%s was acknowledged at %d and is at %d: %v", key, revision, kv.Revision, err)
		}
	}
}

// wantMore waits until so many more writes have been acknowledged.
func wantMore(ctx context.Context, t *testing.T, told *acknowledged, more int) {
	t.Helper()
	count := func() int {
		told.mu.Lock()
		defer told.mu.Unlock()
		return len(told.keys)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for target := count() + more; count() < target; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d writes acknowledged, want %d", count(), target)
		}
	}
}

// readAll reads a watch up to the revision that end will have, and checks that
// no revision is missing or comes twice.
func readAll(t *testing.T, w storage.Watcher, after int64, end *atomic.Int64) map[int64]string {
	seen := map[int64]string{}
	next := after + 1
	for batch := range w.Batches() {
		for _, e := range batch.Events {
			if e.KV.Revision != next {
				t.Errorf("revision %d came where %d was due", e.KV.Revision, next)
				return seen
			}
			seen[next] = e.KV.Key
			next++
		}
		if last := end.Load(); last != 0 && batch.Revision >= last {
			return seen
		}
	}
	t.Errorf("the watch ended: %v", w.Err())
	return seen
}
