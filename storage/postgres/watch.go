package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/yare-io/yare/storage"
)

// watcher is a bounded queue. Until it is up to date its own goroutine fills it
// from the log; then the hub does, unless previous values are asked for, which
// only the log has.
type watcher struct {
	store   *store
	request storage.WatchRequest
	batches chan storage.Batch
	// told is the revision of the last batch; the hub's mu guards it while the
	// watch is live.
	told int64
	// cut gets the reason when the hub ends the watch.
	cut chan error

	mu  sync.Mutex
	err error
}

const (
	// progressInterval is how often idle watches are told of progress.
	progressInterval = time.Second
	// patience is how long the queue may stay full while a watch catches up.
	patience = 15 * time.Second
)

// Watch implements storage.Store.
func (s *store) Watch(ctx context.Context, req storage.WatchRequest) (storage.Watcher, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("watch %q: %w", req.Prefix, err)
	}
	defer leave()
	now, err := s.state(limited)
	if err != nil {
		return nil, fmt.Errorf("watch %q: %w", req.Prefix, s.translate(err))
	}
	if req.After == 0 {
		req.After = now.revision
	}
	switch {
	case req.After > now.revision:
		return nil, fmt.Errorf("watch %q after %d: %w: the store is at %d", req.Prefix, req.After, storage.ErrFutureRevision, now.revision)
	case req.After < now.compacted:
		return nil, fmt.Errorf("watch %q after %d: %w: at %d", req.Prefix, req.After, storage.ErrCompacted, now.compacted)
	}
	if err := s.hold(); err != nil {
		return nil, fmt.Errorf("watch %q: %w", req.Prefix, err)
	}
	w := &watcher{store: s, request: req, batches: make(chan storage.Batch, storage.WatchBacklog), told: req.After, cut: make(chan error, 1)}
	go func() {
		defer s.running.Done()
		err := w.run(ctx)
		s.hub.leave(w)
		w.mu.Lock()
		w.err = fmt.Errorf("watch %q: %w", req.Prefix, err)
		w.mu.Unlock()
		close(w.batches)
	}()
	return w, nil
}

// Batches implements storage.Watcher.
func (w *watcher) Batches() <-chan storage.Batch { return w.batches }

// Err implements storage.Watcher.
func (w *watcher) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// run delivers until the watch is over and says why it is.
func (w *watcher) run(caller context.Context) error {
	ctx, cancel := context.WithCancel(caller)
	defer cancel()
	defer context.AfterFunc(w.store.ctx, cancel)()
	for at := w.store.hub.known(w.request.After); ; {
		if !w.request.Previous && w.store.hub.join(w, at) {
			return w.live(ctx, caller)
		}
		next, err := w.advance(ctx, at)
		if err != nil {
			return w.reason(caller, err)
		}
		at = next
	}
}

// live waits while the hub delivers.
func (w *watcher) live(ctx, caller context.Context) error {
	select {
	case <-ctx.Done():
		return w.reason(caller, ctx.Err())
	case err := <-w.cut:
		return err
	}
}

func (w *watcher) reason(caller context.Context, err error) error {
	switch {
	case w.store.ctx.Err() != nil:
		return errClosed
	case caller.Err() != nil:
		return caller.Err()
	}
	return w.store.translate(err)
}

// advance delivers what the log has after a revision, once it has something,
// and returns where that ends.
func (w *watcher) advance(ctx context.Context, at point) (point, error) {
	idle := w.store.config.Clock.NewTimer(progressInterval)
	defer idle.Stop()
	select {
	case <-w.store.hub.wait(at.revision):
	case <-idle.C():
		// Nothing new: a sign of life, if it is wanted.
		return at, w.send(ctx, storage.Batch{Revision: at.revision})
	case <-ctx.Done():
		return at, ctx.Err()
	}
	events, next, err := w.store.events(ctx, w.request, at)
	if lostConnection(err) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		// The hub waits for the database too; so does this watch, which knows
		// by which transaction it was told last: who takes it up again does not.
		w.store.pause(firstDelay)
		return at, ctx.Err()
	}
	if err != nil {
		return at, err
	}
	if next == at {
		// The hub knows of more, or of something else: that passes.
		w.store.pause(firstDelay)
		return at, ctx.Err()
	}
	batch := storage.Batch{Revision: next.revision}
	for _, e := range events {
		batch.Events = append(batch.Events, e.Event)
	}
	return next, w.send(ctx, batch)
}

// send queues a batch, or progress if it is wanted and nothing else waits. It
// gives a busy reader a while.
func (w *watcher) send(ctx context.Context, batch storage.Batch) error {
	if len(batch.Events) == 0 && (!w.request.Progress || len(w.batches) > 0) {
		return nil
	}
	select {
	case w.batches <- batch:
		return nil
	default:
	}
	timer := w.store.config.Clock.NewTimer(patience)
	defer timer.Stop()
	select {
	case w.batches <- batch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C():
		return fmt.Errorf("%d batches unread for %v: %w", len(w.batches), patience, storage.ErrSlow)
	}
}
