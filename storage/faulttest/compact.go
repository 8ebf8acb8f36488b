package faulttest

import (
	"context"
	"errors"

	"github.com/yare-io/yare/storage"
)

// compactionsKept is how many compactions old the history is that is given up:
// watches may be behind by several faults.
const compactionsKept = 4

// Compactor returns a function that gives up the history of a store from before
// it was called some times before. It is for one caller at a time.
func Compactor(store storage.Store) func(context.Context) error {
	var revisions []int64
	return func(ctx context.Context) error {
		if len(revisions) == compactionsKept {
			err := store.Compact(ctx, revisions[0])
			if err != nil && !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrCompacted) {
				return err
			}
			revisions = revisions[1:]
		}
		now, err := store.Revision(ctx)
		if err == nil {
			revisions = append(revisions, now)
		}
		return nil
	}
}
