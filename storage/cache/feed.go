package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/yare-io/yare/storage"
)

// feed is what Run has going: the watch over the store, and the loads of
// resources beside it.
type feed struct {
	cache *Cache
	ctx   context.Context
	// loads are the running loaders; slots bounds how many read at a time.
	loads sync.WaitGroup
	slots chan struct{}
}

const (
	loadsAtOnce = 4
	loadPage    = 2000
	firstDelay  = 50 * time.Millisecond
	longestWait = 5 * time.Second
)

// Run feeds the cache until ctx ends, and returns nil once all it started has
// ended. It goes on through failures of the store. It is called once.
func (c *Cache) Run(ctx context.Context) error {
	ran := true
	c.once.Do(func() { ran = false })
	if ran {
		return errors.New("cache: Run called twice")
	}
	defer c.stop()
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { c.answer(ctx) })
	group.Go(func() { c.checkForever(ctx) })
	for ctx.Err() == nil {
		if !c.locate(ctx) {
			break
		}
		c.follow(ctx)
	}
	return nil
}

// stop ends all that waits for the feed.
func (c *Cache) stop() {
	close(c.stopped)
	c.routing.Lock()
	defer c.routing.Unlock()
	for _, same := range c.resources {
		for _, r := range same {
			r.mu.Lock()
			r.wakeAll()
			r.mu.Unlock()
		}
	}
}

func (c *Cache) hasStopped() bool {
	select {
	case <-c.stopped:
		return true
	default:
		return false
	}
}

// locate finds out where the store is, to begin there.
func (c *Cache) locate(ctx context.Context) bool {
	return c.retry(ctx, "cannot reach the store", func() error {
		revision, err := c.store.Revision(ctx)
		if err == nil {
			c.advance(revision)
		}
		return err
	})
}

// follow loads all resources and feeds them for as long as the store's history
// is the same one.
func (c *Cache) follow(ctx context.Context) {
	delay := firstDelay
	for ctx.Err() == nil {
		before := c.revision.Load()
		err := c.stream(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, storage.ErrFutureRevision):
			c.logger.Error("the store has gone back in time, all watches start over", "revision", before, "err", err)
			c.reset()
			return
		case errors.Is(err, storage.ErrCompacted):
			c.logger.Warn("the store's history was compacted before it was read, listing again", "revision", before, "err", err)
			if !c.retry(ctx, "cannot list the store again", func() error { return c.relist(ctx) }) {
				return
			}
		default:
			c.logger.Warn("the watch on the store ended, taking it up again", "revision", c.revision.Load(), "err", err)
		}
		if c.revision.Load() > before {
			delay = firstDelay
		}
		if !c.pause(ctx, delay) {
			return
		}
		delay = min(2*delay, longestWait)
	}
}

// stream hands out one watch of the store until it ends. Resources that are not
// loaded yet load beside it.
func (c *Cache) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	f := &feed{cache: c, ctx: ctx, slots: make(chan struct{}, loadsAtOnce)}
	watcher, err := c.store.Watch(ctx, storage.WatchRequest{After: c.revision.Load(), Progress: true})
	if err != nil {
		cancel()
		return err
	}
	c.start(f)
	defer func() {
		c.routing.Lock()
		c.running = nil
		c.routing.Unlock()
		cancel()
		f.loads.Wait()
		for range watcher.Batches() {
			// The store closes the channel once it has seen the cancellation.
			continue
		}
	}()
	for batch := range watcher.Batches() {
		c.handOut(batch)
	}
	return watcher.Err()
}

// start begins to load what is not loaded.
func (c *Cache) start(f *feed) {
	c.routing.Lock()
	defer c.routing.Unlock()
	c.running = f
	for _, same := range c.resources {
		for _, r := range same {
			if !r.Ready() {
				f.load(r)
			}
		}
	}
}

// handOut gives each resource its events of a batch, then makes the batch's
// revision known.
func (c *Cache) handOut(batch storage.Batch) {
	c.routing.Lock()
	defer c.routing.Unlock()
	events := make(map[*Resource][]storage.Event)
	for _, event := range batch.Events {
		c.concerned(event.KV.Key, func(r *Resource) { events[r] = append(events[r], event) })
	}
	for r, own := range events {
		r.receive(own)
	}
	if batch.Revision > c.revision.Load() {
		c.advance(batch.Revision)
	}
}

// load brings a resource in beside the feed. The caller holds routing.
func (f *feed) load(r *Resource) {
	f.loads.Go(func() {
		select {
		case f.slots <- struct{}{}:
			defer func() { <-f.slots }()
		case <-f.ctx.Done():
			return
		}
		f.cache.retry(f.ctx, "cannot load "+r.config.Prefix, func() error { return f.loadOnce(r) })
	})
}

func (f *feed) loadOnce(r *Resource) error {
	f.cache.routing.Lock()
	revision := f.cache.revision.Load()
	r.begin()
	f.cache.routing.Unlock()
	updates, err := r.fetch(f.ctx, revision)
	if err != nil {
		return err
	}
	if !r.finish(updates, revision) {
		return fmt.Errorf("more than %d events came in while loading", f.cache.eventLimit)
	}
	return nil
}

// fetch reads and decodes all objects as they were at a revision. Pages are
// decoded beside the reading of those that follow.
func (r *Resource) fetch(ctx context.Context, revision int64) ([]update, error) {
	req := storage.ListRequest{Prefix: r.config.Prefix, Revision: revision, Limit: loadPage}
	var pages [][]update
	var decoding errgroup.Group
	decoding.SetLimit(runtime.GOMAXPROCS(0))
	defer func() { _ = decoding.Wait() }()
	for {
		result, err := r.cache.store.List(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", r.config.Prefix, err)
		}
		page := make([]update, len(result.KVs))
		pages = append(pages, page)
		decoding.Go(func() error {
			for i, kv := range result.KVs {
				o, err := r.decode(kv)
				if err == nil {
					o.shrink()
				}
				page[i] = update{key: kv.Key, revision: kv.Revision, object: o, err: err}
			}
			return nil
		})
		if result.Remaining == 0 || len(result.KVs) == 0 {
			err := decoding.Wait()
			return slices.Concat(pages...), err
		}
		req.From = result.KVs[len(result.KVs)-1].Key + "\x00"
	}
}

// relist brings the loaded resources to the store's current revision.
func (c *Cache) relist(ctx context.Context) error {
	revision, err := c.store.Revision(ctx)
	if err != nil {
		return err
	}
	c.routing.Lock()
	defer c.routing.Unlock()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(loadsAtOnce)
	for _, same := range c.resources {
		for _, r := range same {
			if !r.Ready() {
				continue
			}
			group.Go(func() error {
				updates, err := r.fetch(ctx, revision)
				if err == nil {
					r.merge(updates, revision)
				}
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	c.advance(revision)
	return nil
}

// reset makes all resources start over.
func (c *Cache) reset() {
	c.routing.Lock()
	defer c.routing.Unlock()
	for _, same := range c.resources {
		for _, r := range same {
			r.reset()
		}
	}
	c.revision.Store(0)
}

// retry calls attempt until it succeeds, with growing pauses; false means that
// ctx has ended.
func (c *Cache) retry(ctx context.Context, failure string, attempt func() error) bool {
	for delay := firstDelay; ctx.Err() == nil; delay = min(2*delay, longestWait) {
		err := attempt()
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			c.logger.Warn(failure, "retryIn", delay, "err", err)
		}
		if !c.pause(ctx, delay) {
			return false
		}
	}
	return false
}

func (c *Cache) pause(ctx context.Context, delay time.Duration) bool {
	timer := c.clock.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}
