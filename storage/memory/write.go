package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/yare-io/yare/storage"
)

// Create implements storage.Store.
func (s *Store) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (int64, error) {
	return s.write(ctx, "create", key, func() error {
		if err := s.fits("create", key, value); err != nil {
			return err
		}
		if _, ok := s.tree.Get(storage.KV{Key: key}); ok {
			return fmt.Errorf("create %q: %w", key, storage.ErrExists)
		}
		s.put(storage.Created, key, value, ttl)
		return nil
	})
}

// Update implements storage.Store.
func (s *Store) Update(ctx context.Context, key string, value []byte, expected int64, ttl time.Duration) (int64, error) {
	return s.write(ctx, "update", key, func() error {
		if err := s.fits("update", key, value); err != nil {
			return err
		}
		if err := s.expect(key, expected); err != nil {
			return err
		}
		s.put(storage.Updated, key, value, ttl)
		return nil
	})
}

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, key string, expected int64) (int64, error) {
	return s.write(ctx, "delete", key, func() error {
		if err := s.expect(key, expected); err != nil {
			return err
		}
		s.remove([]string{key})
		return nil
	})
}

// write runs a change under the lock and returns the revision it made.
func (s *Store) write(ctx context.Context, verb, key string, change func() error) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open(verb, key); err != nil {
		return 0, err
	}
	if err := change(); err != nil {
		return 0, err
	}
	return s.revision, nil
}

func (s *Store) fits(verb, key string, value []byte) error {
	if len(value) > s.config.MaxValue {
		return fmt.Errorf("%s %q with %d bytes, at most %d: %w", verb, key, len(value), s.config.MaxValue, storage.ErrTooLarge)
	}
	return nil
}

func (s *Store) expect(key string, revision int64) error {
	current, ok := s.tree.Get(storage.KV{Key: key})
	if !ok {
		return &storage.ConflictError{Key: key, Expected: revision}
	}
	if current.Revision != revision {
		return &storage.ConflictError{Key: key, Expected: revision, Current: &current}
	}
	return nil
}

// put writes a key at the next revision. The caller holds mu and has checked
// that it may.
func (s *Store) put(typ storage.EventType, key string, value []byte, ttl time.Duration) {
	kv := storage.KV{Key: key, Value: append([]byte{}, value...), Revision: s.revision + 1}
	event := storage.Event{Type: typ, KV: kv}
	if old, ok := s.tree.ReplaceOrInsert(kv); ok {
		event.Previous = &old
		s.size -= int64(len(old.Key) + len(old.Value))
	}
	s.size += int64(len(key) + len(value))
	s.expiries.set(key, ttl, s.config.Clock.Now())
	s.commit([]storage.Event{event})
}

// remove deletes keys that are there, all at the next revision. The caller
// holds mu.
func (s *Store) remove(keys []string) {
	events := make([]storage.Event, 0, len(keys))
	for _, key := range keys {
		old, ok := s.tree.Delete(storage.KV{Key: key})
		if !ok {
			continue
		}
		s.size -= int64(len(old.Key) + len(old.Value))
		s.expiries.set(key, 0, time.Time{})
		events = append(events, storage.Event{
			Type:     storage.Deleted,
			KV:       storage.KV{Key: key, Revision: s.revision + 1},
			Previous: &old,
		})
	}
	if len(events) > 0 {
		s.commit(events)
	}
}

// commit makes events the next revision and tells the watchers.
func (s *Store) commit(events []storage.Event) {
	s.revision++
	s.snapshot = nil
	s.log = append(s.log, events...)
	// Twice the history before it is cut makes the copying rare.
	if len(s.log) > 2*s.config.History {
		s.compact(s.log[len(s.log)-s.config.History].KV.Revision)
	}
	for w := range s.watchers {
		s.deliver(w, events)
	}
}
