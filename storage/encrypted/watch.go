package encrypted

import (
	"context"
	"fmt"

	"github.com/yare-io/yare/storage"
)

// watcher decrypts what another one delivers.
type watcher struct {
	storage.Watcher
	batches chan storage.Batch
}

// Watch implements storage.Store.
func (s *Store) Watch(ctx context.Context, req storage.WatchRequest) (storage.Watcher, error) {
	inner, err := s.Store.Watch(ctx, req)
	if err != nil {
		return nil, err
	}
	w := &watcher{Watcher: inner, batches: make(chan storage.Batch)}
	if !s.hold() {
		return nil, fmt.Errorf("watch %q: store closed: %w", req.Prefix, storage.ErrUnavailable)
	}
	go func() {
		defer s.running.Done()
		defer close(w.batches)
		for batch := range inner.Batches() {
			batch = s.revealed(ctx, batch)
			select {
			case w.batches <- batch:
			case <-ctx.Done():
			case <-s.ctx.Done():
			}
		}
	}()
	return w, nil
}

// Batches implements storage.Watcher.
func (w *watcher) Batches() <-chan storage.Batch { return w.batches }

// revealed is a batch in clear. The events of the original are shared.
func (s *Store) revealed(ctx context.Context, batch storage.Batch) storage.Batch {
	if len(batch.Events) == 0 {
		return batch
	}
	events := make([]storage.Event, len(batch.Events))
	for i, e := range batch.Events {
		if e.Type != storage.Deleted {
			s.reveal(ctx, &e.KV)
		}
		if e.Previous != nil {
			previous := *e.Previous
			s.reveal(ctx, &previous)
			e.Previous = &previous
		}
		events[i] = e
	}
	batch.Events = events
	return batch
}
