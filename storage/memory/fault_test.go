package memory_test

import (
	"context"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/faulttest"
	"github.com/yare-io/yare/storage/memory"
)

// leave makes watches of a whole store and leaves them unread or ends them while
// others write.
func leave(store storage.Store) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		for range 10 {
			if _, err := store.Watch(ctx, storage.WatchRequest{Previous: true}); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestFaults has those that a store can meet which has no process, no network
// and no disk.
func TestFaults(t *testing.T) {
	t.Parallel()
	plan := faulttest.CI(t)
	ctx, cancel := context.WithTimeout(t.Context(), plan.Within())
	defer cancel()
	store := memory.New(memory.Config{})
	defer store.Close()
	err := faulttest.Run(ctx, faulttest.Config{
		Stores: []storage.Store{store}, Plan: plan, Seed: uint64(time.Now().UnixNano()),
		Faults: []faulttest.Fault{
			{Name: "compact", Strike: faulttest.Compactor(store)},
			{Name: "leave watches", Strike: leave(store)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}
