package faulttest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/history"
)

// observer watches a whole store and takes the watch up again where it ended.
type observer struct {
	store storage.Store
	// previous asks for previous values, for which backends may go another way.
	previous bool
	// last is the revision up to which everything was seen.
	last int64
	// events by revision, and what each key is after the latest.
	events map[int64]storage.Event
	keys   map[string]storage.KV

	mu  sync.Mutex
	end int64
	// changed is closed when end is known.
	changed chan struct{}
}

// ErrViolation is a breach of the contract that a watch saw.
var ErrViolation = errors.New("violation of the contract")

func newObserver(store storage.Store, previous bool, after int64) *observer {
	return &observer{store: store, previous: previous, last: after, events: map[int64]storage.Event{}, keys: map[string]storage.KV{}, changed: make(chan struct{})}
}

// finish lets run end at a revision.
func (o *observer) finish(revision int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end = revision
	close(o.changed)
}

// done tells whether all is seen that is to be.
func (o *observer) done() bool {
	select {
	case <-o.changed:
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.last >= o.end
	default:
		return false
	}
}

// run watches until finish, and fails when it sees what cannot be.
func (o *observer) run(ctx context.Context) error {
	for !o.done() {
		err := o.watch(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrSlow), err == nil:
		default:
			return err
		}
	}
	return nil
}

// watch reads one watch until it ends, or until all is seen.
func (o *observer) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := o.store.Watch(ctx, storage.WatchRequest{After: o.last, Previous: o.previous, Progress: true})
	if err != nil {
		return err
	}
	changed := o.changed
	for !o.done() {
		select {
		case batch, ok := <-w.Batches():
			if !ok {
				return w.Err()
			}
			if err := o.take(batch); err != nil {
				return err
			}
		case <-changed:
			changed = nil
		}
	}
	return nil
}

// take checks a batch against all that came before it. Every revision of the
// whole store is an event, so none may be missing.
func (o *observer) take(batch storage.Batch) error {
	for _, e := range batch.Events {
		if e.KV.Revision != o.last+1 {
			return fmt.Errorf("%w: revision %d came where %d was due", ErrViolation, e.KV.Revision, o.last+1)
		}
		before, there := o.keys[e.KV.Key]
		switch {
		case there != (e.Type != storage.Created):
			return fmt.Errorf("%w: event %d of %q at revision %d, which was there: %t", ErrViolation, e.Type, e.KV.Key, e.KV.Revision, there)
		case o.previous && there && (e.Previous == nil || e.Previous.Revision != before.Revision || string(e.Previous.Value) != string(before.Value)):
			return fmt.Errorf("%w: the value of %q before revision %d is %+v, seen was %+v", ErrViolation, e.KV.Key, e.KV.Revision, e.Previous, before)
		}
		o.last, o.events[e.KV.Revision], o.keys[e.KV.Key] = e.KV.Revision, e, e.KV
		if e.Type == storage.Deleted {
			delete(o.keys, e.KV.Key)
		}
	}
	if batch.Revision < o.last || len(batch.Events) == 0 && batch.Revision > o.last {
		return fmt.Errorf("%w: a batch up to revision %d, seen was %d", ErrViolation, batch.Revision, o.last)
	}
	return nil
}

// saw compares the events with the writes that were acknowledged.
func (o *observer) saw(writes map[int64]history.Write) error {
	for revision, w := range writes {
		e, ok := o.events[revision]
		if !ok || e.Type != w.Type || e.KV.Key != w.Key || string(e.KV.Value) != w.Value {
			return fmt.Errorf("%w: acknowledged was %+v at revision %d, seen was %+v", ErrViolation, w, revision, e)
		}
	}
	return nil
}

// agrees compares what is there with what the events made.
func (o *observer) agrees(list storage.ListResult) error {
	if len(list.KVs) != len(o.keys) {
		return fmt.Errorf("%w: %d keys are there, the events made %d", ErrViolation, len(list.KVs), len(o.keys))
	}
	for _, kv := range list.KVs {
		if seen := o.keys[kv.Key]; seen.Revision != kv.Revision || string(seen.Value) != string(kv.Value) {
			return fmt.Errorf("%w: there is %+v, the events made %+v", ErrViolation, kv, seen)
		}
	}
	return nil
}
