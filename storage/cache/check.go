package cache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"time"

	"github.com/yare-io/yare/storage"
)

// ErrInconsistent is a cache that has other objects than the store.
var ErrInconsistent = errors.New("the cache differs from the store")

// WithCheck sets how often each resource is compared with the store, and who is
// told what came of it: nil, ErrInconsistent, or why it could not be done. Zero:
// never. Default: every five minutes, as kube-apiserver does it; nobody.
func WithCheck(interval time.Duration, told func(prefix string, err error)) Option {
	return func(c *Cache) { c.checkInterval, c.checked = interval, told }
}

// checkForever compares every resource with the store, again and again, until ctx
// ends. One that differs starts over, so that its clients list again.
func (c *Cache) checkForever(ctx context.Context) {
	if c.checkInterval <= 0 {
		return
	}
	for c.pause(ctx, c.checkInterval) {
		for _, r := range c.ready() {
			err := r.check(ctx)
			if ctx.Err() != nil {
				return
			}
			switch {
			case errors.Is(err, ErrInconsistent):
				c.logger.Error("a resource starts over", "prefix", r.config.Prefix, "err", err)
				c.startOver(r)
			case err != nil:
				c.logger.Debug("cannot compare the cache with the store", "prefix", r.config.Prefix, "err", err)
			}
			if c.checked != nil {
				c.checked(r.config.Prefix, err)
			}
		}
	}
}

// ready are the resources that are loaded.
func (c *Cache) ready() []*Resource {
	c.routing.Lock()
	defer c.routing.Unlock()
	var all []*Resource
	for _, same := range c.resources {
		for _, r := range same {
			if r.Ready() {
				all = append(all, r)
			}
		}
	}
	return all
}

// startOver loads a resource anew.
func (c *Cache) startOver(r *Resource) {
	c.routing.Lock()
	defer c.routing.Unlock()
	r.reset()
	if c.running != nil {
		c.running.load(r)
	}
}

// check compares, by a hash over keys and revisions, what the cache and the store
// have at one revision. What a key has at a revision never changes.
func (r *Resource) check(ctx context.Context) error {
	s, unreadable, err := r.readable()
	if err != nil {
		return err
	}
	seed := maphash.MakeSeed()
	have, want := digest{seed: seed}, digest{seed: seed}
	s.objects.ascend(r.config.Prefix, "", Predicate{}, func(o *Object) bool {
		if unreadable[o.Key] == nil {
			have.add(o.Key, o.Revision)
		}
		return true
	})
	req := storage.ListRequest{Prefix: r.config.Prefix, Revision: s.revision, Limit: checkPage}
	for {
		result, err := r.cache.store.List(ctx, req)
		if err != nil {
			return fmt.Errorf("list %s: %w", r.config.Prefix, err)
		}
		for _, kv := range result.KVs {
			if unreadable[kv.Key] == nil {
				want.add(kv.Key, kv.Revision)
			}
		}
		if result.Remaining == 0 || len(result.KVs) == 0 {
			break
		}
		req.From = result.KVs[len(result.KVs)-1].Key + "\x00"
	}
	if have != want {
		return fmt.Errorf("%w at revision %d: %d objects here, %d there", ErrInconsistent, s.revision, have.objects, want.objects)
	}
	return nil
}

// checkPage is how many objects are read from the store at a time: a check has
// time.
const checkPage = 500

// readable is the current state, and the keys whose values cannot be decoded.
func (r *Resource) readable() (s snapshot, unreadable map[string]error, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current(), maps.Clone(r.broken), r.usable()
}

// digest is a hash of a list of objects.
type digest struct {
	seed    maphash.Seed
	objects int
	sum     uint64
}

func (d *digest) add(key string, revision int64) {
	d.objects++
	d.sum = d.sum*0x9E3779B97F4A7C15 + maphash.Comparable(d.seed, struct {
		key      string
		revision int64
	}{key, revision})
}
