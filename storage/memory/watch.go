package memory

import (
	"context"
	"fmt"
	"strings"

	"github.com/yare-io/yare/storage"
)

// watcher is a bounded queue that writers fill and never wait for.
type watcher struct {
	request storage.WatchRequest
	batches chan storage.Batch
	// The store's mu guards what follows.
	err error
	// told is the revision of the last batch that was queued.
	told int64
	// release stops listening to the context.
	release func() bool
	store   *Store
}

// Watch implements storage.Store.
func (s *Store) Watch(ctx context.Context, req storage.WatchRequest) (storage.Watcher, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open("watch", req.Prefix); err != nil {
		return nil, err
	}
	if req.After == 0 {
		req.After = s.revision
	}
	switch {
	case req.After > s.revision:
		return nil, fmt.Errorf("watch %q after %d: %w", req.Prefix, req.After, storage.ErrFutureRevision)
	case req.After < s.compacted-1:
		return nil, fmt.Errorf("watch %q after %d: %w", req.Prefix, req.After, storage.ErrCompacted)
	}
	w := &watcher{request: req, batches: make(chan storage.Batch, storage.WatchBacklog), told: req.After, store: s}
	s.watchers[w] = struct{}{}
	s.deliver(w, s.since(req.After))
	w.release = context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.end(w, fmt.Errorf("watch %q: %w", req.Prefix, ctx.Err()))
	})
	return w, nil
}

// Batches implements storage.Watcher.
func (w *watcher) Batches() <-chan storage.Batch { return w.batches }

// Err implements storage.Watcher.
func (w *watcher) Err() error {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return w.err
}

// deliver queues those of the latest events that the watcher asked for, or
// progress when it has nothing else to read. The caller holds mu.
func (s *Store) deliver(w *watcher, events []storage.Event) {
	batch := storage.Batch{Revision: s.revision}
	for _, event := range events {
		if !strings.HasPrefix(event.KV.Key, w.request.Prefix) {
			continue
		}
		if !w.request.Previous {
			event.Previous = nil
		}
		batch.Events = append(batch.Events, event)
	}
	if len(batch.Events) == 0 && (!w.request.Progress || len(w.batches) > 0 || w.told == s.revision) {
		return
	}
	select {
	case w.batches <- batch:
		w.told = s.revision
	default:
		s.end(w, fmt.Errorf("watch %q: %d batches unread: %w", w.request.Prefix, len(w.batches), storage.ErrSlow))
	}
}

// progress tells a watcher of the current revision even when it knows it: a
// sign of life. The caller holds mu.
func (s *Store) progress(w *watcher) {
	if w.request.Progress && len(w.batches) == 0 {
		w.batches <- storage.Batch{Revision: s.revision}
		w.told = s.revision
	}
}

// end closes a watcher for a reason, once. The caller holds mu.
func (s *Store) end(w *watcher, reason error) {
	if _, ok := s.watchers[w]; !ok {
		return
	}
	delete(s.watchers, w)
	w.err = reason
	if w.release != nil {
		w.release()
	}
	close(w.batches)
}
