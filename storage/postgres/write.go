package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/yare-io/yare/storage"
)

const (
	// mustNotExist and neverMet are what a write may expect instead of a
	// revision: that of no key, and one that no key is at.
	mustNotExist = 0
	neverMet     = -1
	// maxKey is what an index row can hold, with a margin.
	maxKey = 2000
)

// write is a change that waits for its place in a batch.
type write struct {
	ctx   context.Context
	key   string
	value []byte
	// stored is the value as the database gets it.
	stored   []byte
	deletes  bool
	expected int64
	ttl      time.Duration
	// outcome gets one value, and never blocks the writer.
	outcome chan outcome
}

// outcome of a write: err when that is not known; revision zero when the key
// was not as expected; then current is what stood in the way, if anything.
type outcome struct {
	revision int64
	current  *storage.KV
	err      error
}

// Create implements storage.Store.
func (s *store) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (int64, error) {
	o := s.submit(ctx, &write{key: key, value: value, expected: mustNotExist, ttl: ttl})
	switch {
	case o.err != nil:
		return 0, fmt.Errorf("create %q: %w", key, o.err)
	case o.revision == 0:
		return 0, fmt.Errorf("create %q: %w", key, storage.ErrExists)
	}
	return o.revision, nil
}

// Update implements storage.Store.
func (s *store) Update(ctx context.Context, key string, value []byte, expected int64, ttl time.Duration) (int64, error) {
	o := s.submit(ctx, &write{key: key, value: value, expected: met(expected), ttl: ttl})
	return swapped("update", key, expected, o)
}

// Delete implements storage.Store.
func (s *store) Delete(ctx context.Context, key string, expected int64) (int64, error) {
	o := s.submit(ctx, &write{key: key, deletes: true, expected: met(expected)})
	return swapped("delete", key, expected, o)
}

// met makes sure that no absent key is at the expected revision.
func met(expected int64) int64 {
	if expected <= 0 {
		return neverMet
	}
	return expected
}

func swapped(verb, key string, expected int64, o outcome) (int64, error) {
	switch {
	case o.err != nil:
		return 0, fmt.Errorf("%s %q: %w", verb, key, o.err)
	case o.revision == 0:
		return 0, &storage.ConflictError{Key: key, Expected: expected, Current: o.current}
	}
	return o.revision, nil
}

// submit queues a write and waits for its outcome. The writer answers every
// write that it has taken; one whose caller stops waiting may still happen.
func (s *store) submit(ctx context.Context, w *write) outcome {
	if err := s.fits(w); err != nil {
		return outcome{err: err}
	}
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return outcome{err: err}
	}
	defer leave()
	// Nobody may change what watchers will be shown.
	w.value = append([]byte{}, w.value...)
	w.stored = pack(w.value)
	w.ctx, w.outcome = limited, make(chan outcome, 1)
	select {
	case s.writes <- w:
	case <-limited.Done():
		return outcome{err: s.translate(limited.Err())}
	}
	select {
	case o := <-w.outcome:
		o.err = s.translate(o.err)
		return o
	case <-limited.Done():
		return outcome{err: s.translate(limited.Err())}
	}
}

func (s *store) fits(w *write) error {
	if len(w.value) > s.config.MaxValue {
		return fmt.Errorf("%d bytes, at most %d: %w", len(w.value), s.config.MaxValue, storage.ErrTooLarge)
	}
	if len(w.key) > maxKey {
		return fmt.Errorf("a key of %d bytes, at most %d: %w", len(w.key), maxKey, storage.ErrTooLarge)
	}
	return nil
}
