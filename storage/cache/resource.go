package cache

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/yare-io/yare/storage"
)

// Resource serves the objects below one prefix.
type Resource struct {
	cache  *Cache
	config Config

	// mu guards all that follows. It is held for short: objects are decoded,
	// filtered and encoded outside.
	mu sync.RWMutex
	// ready is closed while the resource is loaded.
	ready  chan struct{}
	loaded bool
	// loading means that events are collected in pending for the loader, which
	// starts over when overflow is set.
	loading  bool
	overflow bool
	pending  []storage.Event
	// ended is set when the resource has been removed, and gone then closed.
	ended error
	gone  chan struct{}
	// epoch is raised when the store's history turned out to be another one.
	epoch int

	expected expectations
	// keepsDecoded: see KeepDecoded.
	keepsDecoded atomic.Bool
	// fieldNames are those that most objects have.
	fieldNames atomic.Pointer[[]string]
	objects    *objects
	// accounted is what the cache knows of the size of objects.
	accounted int64
	// clone of objects that readers share, nil after a change.
	clone *objects
	// kept are the states that pages are being read from, latest last.
	kept []keptSnapshot
	// broken says of keys that cannot be decoded why; objects may have an older
	// object for them.
	broken map[string]error
	// base is the revision of the latest load, last that of the latest change
	// or load.
	base, last int64
	// floor is the oldest revision whose successors are all in the log.
	floor  int64
	all    topic
	topics map[topicKey]*topic
}

func newResource(c *Cache, config Config) *Resource {
	return &Resource{
		cache:   c,
		config:  config,
		ready:   make(chan struct{}),
		gone:    make(chan struct{}),
		objects: newObjects(config.Indexed),
		broken:  make(map[string]error),
		topics:  make(map[topicKey]*topic),
	}
}

// Ready reports whether the objects have been loaded.
func (r *Resource) Ready() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.loaded
}

// WaitReady blocks until the objects have been loaded. It fails with
// storage.ErrUnavailable when ctx ends or the cache stops before that, with
// ErrExpired when the resource has been removed.
func (r *Resource) WaitReady(ctx context.Context) error {
	r.mu.RLock()
	ready, ended := r.ready, r.ended
	r.mu.RUnlock()
	if ended != nil {
		return ended
	}
	select {
	case <-ready:
		return nil
	default:
	}
	select {
	case <-ready:
		return nil
	case <-r.gone:
		return r.ended
	case <-ctx.Done():
		return fmt.Errorf("%s is not loaded yet: %w: %w", r.config.Prefix, storage.ErrUnavailable, ctx.Err())
	case <-r.cache.stopped:
		return errStopped
	}
}

// revision is what a reader of the current objects knows everything up to. The
// caller holds mu.
func (r *Resource) revision() int64 { return max(r.last, r.cache.revision.Load()) }

// usable fails while the resource starts over. The caller holds mu.
func (r *Resource) usable() error {
	if r.ended != nil {
		return r.ended
	}
	if !r.loaded {
		return fmt.Errorf("%s starts over: %w", r.config.Prefix, storage.ErrUnavailable)
	}
	return nil
}

// receive takes events from the feed, which is the only caller once the
// resource is loaded.
func (r *Resource) receive(events []storage.Event) {
	r.mu.Lock()
	if !r.loaded {
		if r.loading && !r.overflow {
			r.pending = append(r.pending, events...)
			if len(r.pending) > r.cache.eventLimit {
				r.pending, r.overflow = nil, true
			}
		}
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	r.apply(r.decodeEvents(events))
}

// update is a decoded event: the key's new object, nothing when it was deleted,
// or why it cannot be decoded.
type update struct {
	key      string
	revision int64
	object   *Object
	err      error
}

func (r *Resource) decodeEvents(events []storage.Event) []update {
	updates := make([]update, len(events))
	for i, event := range events {
		u := update{key: event.KV.Key, revision: event.KV.Revision}
		if event.Type != storage.Deleted {
			u.object, u.err = r.fromEvent(event.KV)
		}
		updates[i] = u
	}
	return updates
}

// apply makes updates, in the order of their revisions, the current state.
func (r *Resource) apply(updates []update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clone = nil
	for _, u := range updates {
		if u.revision > r.base {
			r.applyOne(u)
		}
	}
	r.account()
}

// account tells the cache how much the store has of the objects. The caller
// holds mu.
func (r *Resource) account() {
	if r.ended != nil {
		return
	}
	r.cache.account(r.objects.stored - r.accounted)
	r.accounted = r.objects.stored
}

func (r *Resource) applyOne(u update) {
	r.last = u.revision
	if u.err != nil {
		r.broken[u.key] = u.err
		r.cache.logger.Error("cannot decode a stored object", "key", u.key, "revision", u.revision, "err", u.err)
		return
	}
	delete(r.broken, u.key)
	c := &change{revision: u.revision, current: u.object}
	if u.object != nil {
		c.previous = r.objects.put(u.object)
	} else {
		c.previous = r.objects.remove(u.key)
	}
	if c.previous != nil {
		c.previous.encoded.release()
	}
	if c.previous != nil || c.current != nil {
		r.record(c)
	}
}

// begin prepares for a load: from now on events are collected.
func (r *Resource) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loading, r.overflow, r.pending = true, false, nil
}

// finish makes what was loaded at a revision the state, and then what has come
// in since. It reports false when that was too much, and the load must be done
// again.
func (r *Resource) finish(updates []update, revision int64) bool {
	r.mu.Lock()
	r.objects, r.clone, r.kept = newObjects(r.config.Indexed), nil, nil
	clear(r.broken)
	for _, u := range updates {
		if u.err != nil {
			r.broken[u.key] = u.err
			r.cache.logger.Error("cannot decode a stored object", "key", u.key, "revision", u.revision, "err", u.err)
			continue
		}
		r.objects.put(u.object)
	}
	r.account()
	r.base, r.last, r.floor = revision, revision, revision
	r.all.drop(len(r.all.changes))
	// Watches of an earlier epoch have the old topics.
	clear(r.topics)
	r.mu.Unlock()
	for {
		r.mu.Lock()
		if r.overflow {
			r.mu.Unlock()
			return false
		}
		pending := r.pending
		r.pending = nil
		if len(pending) == 0 {
			r.loading, r.loaded = false, true
			close(r.ready)
			r.mu.Unlock()
			return true
		}
		r.mu.Unlock()
		r.apply(r.decodeEvents(pending))
	}
}

// merge brings a loaded resource to what the store had at a revision, when the
// events between are lost. Watches see the difference as if it had happened
// just so.
func (r *Resource) merge(updates []update, revision int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	present := make(map[string]struct{}, len(updates))
	var changes []update
	for _, u := range updates {
		present[u.key] = struct{}{}
		if old, ok := r.objects.get(u.key); !ok || old.Revision != u.revision {
			changes = append(changes, u)
		}
	}
	r.objects.byKey.Ascend(func(o *Object) bool {
		if _, ok := present[o.Key]; !ok {
			changes = append(changes, update{key: o.Key, revision: revision})
		}
		return true
	})
	sort.SliceStable(changes, func(i, j int) bool { return changes[i].revision < changes[j].revision })
	r.clone, r.kept = nil, nil
	for _, u := range changes {
		r.applyOne(u)
	}
	r.account()
	// What lay between is not known exactly, so nobody may start there.
	r.base, r.last, r.floor = revision, revision, revision
}

// reset forgets everything: the store does not have the history that the
// watches come from.
func (r *Resource) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loaded {
		r.ready = make(chan struct{})
	}
	r.loaded, r.loading = false, false
	r.base, r.last, r.floor = 0, 0, 0
	r.epoch++
	r.wakeAll()
}

// remove ends the resource for good.
func (r *Resource) remove(reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended != nil {
		return
	}
	r.ended = reason
	r.cache.account(-r.accounted)
	r.accounted = 0
	close(r.gone)
	r.wakeAll()
}

func (r *Resource) wakeAll() {
	r.all.changed.wake()
	for _, t := range r.topics {
		t.changed.wake()
	}
}

// Refresh decodes all objects again, as when the definition by which they are
// decoded has changed. No watch sees an event for it.
func (r *Resource) Refresh(ctx context.Context) error {
	if err := r.WaitReady(ctx); err != nil {
		return err
	}
	updates, err := r.fetch(ctx, 0)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range updates {
		old, ok := r.objects.get(u.key)
		switch {
		case u.err != nil && ok && old.Revision == u.revision:
			r.broken[u.key] = u.err
		case u.err == nil && (!ok && r.broken[u.key] != nil || ok && old.Revision == u.revision):
			delete(r.broken, u.key)
			r.objects.put(u.object)
		}
	}
	r.account()
	r.clone, r.kept = nil, nil
	return nil
}
