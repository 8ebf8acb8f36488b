package etcd

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/yare-io/yare/storage"
)

// watcher forwards what etcd sends, and cuts a reader that does not keep up:
// the client library would collect for it without limit.
type watcher struct {
	store   *store
	request storage.WatchRequest
	batches chan storage.Batch
	// told is the revision of the last batch.
	told int64

	mu  sync.Mutex
	err error
}

// progressInterval is how often a watch repeats how far it has come.
const progressInterval = 2 * time.Second

// Watch implements storage.Store.
func (s *store) Watch(ctx context.Context, req storage.WatchRequest) (storage.Watcher, error) {
	current, err := s.Revision(ctx)
	if err != nil {
		return nil, fmt.Errorf("watch %q: %w", req.Prefix, err)
	}
	if req.After == 0 {
		req.After = current
	}
	if req.After > current {
		return nil, fmt.Errorf("watch %q after %d: %w: the store is at %d", req.Prefix, req.After, storage.ErrFutureRevision, current)
	}
	if err := s.hold(); err != nil {
		return nil, fmt.Errorf("watch %q: %w", req.Prefix, err)
	}
	w := &watcher{store: s, request: req, batches: make(chan storage.Batch, storage.WatchBacklog), told: req.After}
	go func() {
		defer s.running.Done()
		defer close(w.batches)
		err := fmt.Errorf("watch %q: %w", req.Prefix, w.run(ctx))
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
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

// run forwards until the watch is over and says why it is.
func (w *watcher) run(caller context.Context) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(caller))
	defer cancel()
	defer context.AfterFunc(w.store.ctx, cancel)()
	responses := w.open(ctx)
	var repeat <-chan time.Time
	if w.request.Progress {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		repeat = ticker.C
	}
	for {
		select {
		case response, ok := <-responses:
			if err := w.ended(caller, response, ok); err != nil {
				return err
			}
			if err := w.forward(response); err != nil {
				return err
			}
		case <-repeat:
			w.mark(w.told)
		}
	}
}

// open starts the watch. One that asks for progress watches the whole store, as
// every revision is then an event. What etcd itself tells of progress may be ahead
// of events that are still to come (before 3.4.25 and 3.5.8, its issue 15220),
// and its client then goes on behind them when it connects again.
func (w *watcher) open(ctx context.Context) clientv3.WatchChan {
	prefix := w.request.Prefix
	if w.request.Progress {
		prefix = ""
	}
	from, end := keyRange(prefix)
	options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithRev(w.request.After + 1), clientv3.WithFragment()}
	if w.request.Previous {
		options = append(options, clientv3.WithPrevKV())
	}
	return w.store.client.Watch(ctx, from, options...)
}

// ended tells why a response is the last one, or nil.
func (w *watcher) ended(caller context.Context, response clientv3.WatchResponse, ok bool) error {
	switch {
	case w.store.ctx.Err() != nil:
		return errClosed
	case caller.Err() != nil:
		return caller.Err()
	case !ok:
		return fmt.Errorf("the stream ended: %w", storage.ErrUnavailable)
	case response.CompactRevision != 0:
		return fmt.Errorf("after revision %d, compacted at %d: %w", w.told, response.CompactRevision, storage.ErrCompacted)
	case response.Err() != nil:
		return w.store.translate(response.Err())
	}
	return nil
}

// forward queues the events of a response. It is safe to take the last one's
// revision for the batch's: etcd never splits a revision over responses, while
// the revision in the header may be ahead of what is still to come.
func (w *watcher) forward(response clientv3.WatchResponse) error {
	n := len(response.Events)
	if n == 0 {
		return nil
	}
	batch := storage.Batch{Revision: response.Events[n-1].Kv.ModRevision, Events: make([]storage.Event, 0, n)}
	for _, event := range response.Events {
		if !strings.HasPrefix(string(event.Kv.Key), w.request.Prefix) {
			continue
		}
		e, err := w.toEvent(event)
		if err != nil {
			return err
		}
		batch.Events = append(batch.Events, e)
	}
	if len(batch.Events) == 0 {
		w.mark(batch.Revision)
		return nil
	}
	select {
	case w.batches <- batch:
		w.told = batch.Revision
		return nil
	default:
		return fmt.Errorf("%d batches unread: %w", len(w.batches), storage.ErrSlow)
	}
}

// mark tells of progress to a reader who has nothing else to read.
func (w *watcher) mark(revision int64) {
	w.told = revision
	if len(w.batches) == 0 {
		w.batches <- storage.Batch{Revision: revision}
	}
}

func (w *watcher) toEvent(event *clientv3.Event) (storage.Event, error) {
	e := storage.Event{Type: storage.Updated, KV: toKV(event.Kv)}
	switch {
	case event.Type == mvccpb.DELETE:
		e.Type, e.KV.Value = storage.Deleted, nil
	case event.IsCreate():
		e.Type = storage.Created
	}
	if !w.request.Previous || e.Type == storage.Created {
		return e, nil
	}
	if event.PrevKv == nil {
		return e, fmt.Errorf("the value before revision %d: %w", e.KV.Revision, storage.ErrCompacted)
	}
	previous := toKV(event.PrevKv)
	e.Previous = &previous
	return e, nil
}
