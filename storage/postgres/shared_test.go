package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/postgres"
)

// observe reads a watch up to a revision and returns a line for each event. It
// fails when an event does not follow the one before.
func observe(t *testing.T, w storage.Watcher, after, until int64) []string {
	t.Helper()
	var lines []string
	next := after + 1
	for batch := range w.Batches() {
		for _, e := range batch.Events {
			if e.KV.Revision != next {
				t.Errorf("revision %d came where %d was due", e.KV.Revision, next)
				return lines
			}
			next++
			lines = append(lines, fmt.Sprintf("%d %d %s=%s", e.KV.Revision, e.Type, e.KV.Key, e.KV.Value))
		}
		if batch.Revision >= until {
			return lines
		}
	}
	t.Errorf("the watch ended at revision %d of %d: %v", next-1, until, w.Err())
	return lines
}

// churn makes changes to keys that others change too, and returns how many were
// acknowledged.
func churn(ctx context.Context, store storage.Store, writer, count int) (int, error) {
	random := rand.New(rand.NewPCG(uint64(writer), 3))
	done := 0
	for n := range count {
		key := fmt.Sprintf("/churn/%d", random.IntN(20))
		value := fmt.Appendf(nil, "%d.%d", writer, n)
		kv, err := store.Get(ctx, key)
		switch {
		case errors.Is(err, storage.ErrNotFound):
			_, err = store.Create(ctx, key, value, 0)
		case err != nil:
		case random.IntN(4) == 0:
			_, err = store.Delete(ctx, key, kv.Revision)
		default:
			_, err = store.Update(ctx, key, value, kv.Revision, 0)
		}
		switch {
		case err == nil:
			done++
		case !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrExists):
			return done, err
		}
	}
	return done, nil
}

func TestStoresOnOneDatabaseSeeOneHistory(t *testing.T) {
	url := schema(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const count = 3
	var stores []storage.Store
	for range count {
		stores = append(stores, open(t, postgres.Config{URL: url, PartitionSpan: 200}))
	}
	start, err := stores[0].Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var watches []storage.Watcher
	for _, store := range stores {
		for _, previous := range []bool{false, true} {
			w, err := store.Watch(ctx, storage.WatchRequest{After: start, Previous: previous, Progress: true})
			if err != nil {
				t.Fatal(err)
			}
			watches = append(watches, w)
		}
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	total := 0
	for writer := range 4 * count {
		group.Go(func() {
			done, err := churn(ctx, stores[writer%count], writer, 100)
			if err != nil {
				t.Errorf("writer %d: %v", writer, err)
			}
			mu.Lock()
			total += done
			mu.Unlock()
		})
	}
	group.Wait()
	end, err := stores[1].Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if end != start+int64(total) {
		t.Fatalf("%d acknowledged writes took the store from revision %d to %d", total, start, end)
	}
	first := observe(t, watches[0], start, end)
	for i, w := range watches[1:] {
		if !slices.Equal(observe(t, w, start, end), first) {
			t.Fatalf("watch %d saw another history than the first", i+1)
		}
	}
}

func TestKeysExpireOnceWithSeveralStores(t *testing.T) {
	url := schema(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stores := []storage.Store{open(t, postgres.Config{URL: url}), open(t, postgres.Config{URL: url})}
	start, err := stores[0].Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w, err := stores[0].Watch(ctx, storage.WatchRequest{After: start})
	if err != nil {
		t.Fatal(err)
	}
	const keys = 300
	for i := range keys {
		if _, err := stores[i%2].Create(ctx, fmt.Sprintf("/e/%d", i), []byte("x"), 300*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	deleted := map[string]int{}
	for batch := range w.Batches() {
		for _, e := range batch.Events {
			if e.Type == storage.Deleted {
				deleted[e.KV.Key]++
			}
		}
		if batch.Revision >= start+2*keys {
			break
		}
	}
	for key, times := range deleted {
		if times != 1 {
			t.Errorf("%s was deleted %d times", key, times)
		}
	}
	if len(deleted) != keys {
		t.Fatalf("%d of %d keys expired: %v", len(deleted), keys, w.Err())
	}
}
