package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
)

// eventually polls until a condition holds or the test has taken too long.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestHistoryIsCompactedAfterTwoIntervals(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	store := open(t, etcd.Config{Clock: clock, CompactionInterval: time.Minute})
	defer store.Close()
	ctx := t.Context()
	old, err := store.Create(ctx, "/a", []byte("1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Update(ctx, "/a", []byte("2"), old, 0); err != nil {
		t.Fatal(err)
	}
	// The loop may miss a step that comes while it is not waiting, as it may
	// miss ticks of a real clock.
	eventually(t, "compaction", func() bool {
		clock.Step(time.Minute)
		_, err := store.List(ctx, storage.ListRequest{Prefix: "/", Revision: old})
		return errors.Is(err, storage.ErrCompacted)
	})
	if kv, err := store.Get(ctx, "/a"); err != nil || string(kv.Value) != "2" {
		t.Fatalf("after compaction: %+v %v", kv, err)
	}
}

func TestFullStoreTakesDeletesAndThenWritesAgain(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	store := open(t, etcd.Config{Clock: clock, CompactionInterval: time.Minute, Quota: 24 << 20})
	defer store.Close()
	ctx := t.Context()
	revisions := map[string]int64{}
	large := make([]byte, 1<<20)
	for i := 0; ; i++ {
		key := fmt.Sprintf("/large/%d", i)
		revision, err := store.Create(ctx, key, large, 0)
		if errors.Is(err, storage.ErrNoSpace) {
			break
		}
		if err != nil || i > 100 {
			t.Fatalf("create %d: %v", i, err)
		}
		revisions[key] = revision
	}
	if len(revisions) < 5 {
		t.Fatalf("full after %d MiB", len(revisions))
	}
	eventually(t, "the health says so", func() bool { return store.Health(ctx) != nil })
	if _, err := store.Get(ctx, "/large/0"); err != nil {
		t.Fatalf("a full store must serve reads: %v", err)
	}
	for key, revision := range revisions {
		if _, err := store.Delete(ctx, key, revision); err != nil {
			t.Fatalf("a full store must take deletes: %v", err)
		}
	}
	eventually(t, "writes are taken again", func() bool {
		clock.Step(time.Minute)
		_, err := store.Create(ctx, "/again", large, 0)
		return err == nil
	})
	if err := store.Health(ctx); err != nil {
		t.Fatal(err)
	}
}
