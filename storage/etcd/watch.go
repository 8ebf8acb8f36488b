package etcd

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/metadata"

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

// progressInterval is how often a watch asks how far the store has come. The
// server's own interval is ten minutes unless its operator chose another.
const progressInterval = 2 * time.Second

// streams numbers the watches that have a stream of their own.
var streams atomic.Int64

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
	ctx, cancel := context.WithCancel(w.streamContext(caller))
	defer cancel()
	defer context.AfterFunc(w.store.ctx, cancel)()
	responses := w.open(ctx)
	var ask <-chan time.Time
	if w.request.Progress {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		ask = ticker.C
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
		case <-ask:
			if err := w.store.client.RequestProgress(ctx); err != nil && ctx.Err() == nil {
				return w.store.translate(err)
			}
		}
	}
}

// open starts the watch. One that asks for progress has a stream of its own,
// because the answer goes to all watches of a stream, and only comes when all
// of them have caught up.
func (w *watcher) open(ctx context.Context) clientv3.WatchChan {
	from, end := keyRange(w.request.Prefix)
	options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithRev(w.request.After + 1), clientv3.WithFragment()}
	if w.request.Previous {
		options = append(options, clientv3.WithPrevKV())
	}
	return w.store.client.Watch(ctx, from, options...)
}

func (w *watcher) streamContext(ctx context.Context) context.Context {
	ctx = clientv3.WithRequireLeader(ctx)
	if w.request.Progress {
		ctx = metadata.AppendToOutgoingContext(ctx, "yare-watch", strconv.FormatInt(streams.Add(1), 10))
	}
	return ctx
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

// forward queues a response. It is safe to take the last event's revision for
// the batch's: etcd never splits a revision over responses, while the revision
// in the header may be ahead of what is still to come.
func (w *watcher) forward(response clientv3.WatchResponse) error {
	batch := storage.Batch{Revision: response.Header.Revision}
	if n := len(response.Events); n > 0 {
		batch.Revision = response.Events[n-1].Kv.ModRevision
		batch.Events = make([]storage.Event, n)
	} else if !w.request.Progress || !response.IsProgressNotify() || batch.Revision < w.told || len(w.batches) > 0 {
		return nil
	}
	for i, event := range response.Events {
		var err error
		if batch.Events[i], err = w.toEvent(event); err != nil {
			return err
		}
	}
	select {
	case w.batches <- batch:
		w.told = batch.Revision
		return nil
	default:
		return fmt.Errorf("%d batches unread: %w", len(w.batches), storage.ErrSlow)
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
