package cache

import (
	"context"
	"fmt"
	"strings"

	"github.com/yare-io/yare/storage"
)

// ListOptions says what to list.
type ListOptions struct {
	// Prefix of the keys: the resource's, or a folder below it.
	Prefix string
	// From is the first key to return, empty for the start: a page's Next.
	From string
	// Limit is the most objects to return; zero means all.
	Limit int
	// Revision to be met: Consistent, 0 for whatever the cache has, or a
	// revision that the answer must not be older than.
	Revision int64
	// Exact: the answer must be of Revision itself, as for continued lists.
	Exact bool
	// Predicate selects the objects.
	Predicate Predicate
}

// Page is a list, or a part of one, as of one revision.
type Page struct {
	Objects  []*Object
	Revision int64
	// Next is the key to go on From, at Revision and Exact; empty at the end.
	Next string
	// Remaining is how many objects are left from Next on. It is zero, for not
	// known, when a predicate selects objects.
	Remaining int64
}

// Get returns the object with a key, or storage.ErrNotFound. minRevision is
// Consistent, 0 for whatever the cache has, or a revision that the answer must
// not be older than. A revision that is not reached within some seconds fails
// with storage.ErrFutureRevision.
func (r *Resource) Get(ctx context.Context, key string, minRevision int64) (*Object, error) {
	reached, err := r.reach(ctx, minRevision)
	if err != nil {
		return nil, err
	}
	if !reached {
		return r.getStore(ctx, key)
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if err := r.usable(); err != nil {
		return nil, err
	}
	if err := r.broken[key]; err != nil {
		return nil, err
	}
	if o, ok := r.objects.get(key); ok {
		return o, nil
	}
	return nil, fmt.Errorf("get %s: %w", key, storage.ErrNotFound)
}

// Current returns the object that the cache has for a key now, without waiting
// for anything.
func (r *Resource) Current(key string) (*Object, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.objects.get(key)
}

func (r *Resource) getStore(ctx context.Context, key string) (*Object, error) {
	kv, err := r.cache.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return r.decode(kv)
}

// Size is how many objects there are, and how many bytes the store has of them,
// as far as the cache has come.
func (r *Resource) Size() (objects int, stored int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.objects.byKey.Len(), r.objects.stored
}

// List returns objects in the order of their keys, as of one revision. An exact
// revision that is no longer kept fails with storage.ErrCompacted, one that is
// not reached within some seconds with storage.ErrFutureRevision.
func (r *Resource) List(ctx context.Context, o ListOptions) (*Page, error) {
	reached, err := r.reach(ctx, o.Revision)
	if err != nil {
		return nil, err
	}
	if !reached {
		return r.listStore(ctx, 0, o)
	}
	var s snapshot
	if o.Exact && o.Revision > 0 {
		var ok bool
		if s, ok = r.at(o.Revision); !ok {
			return r.listStore(ctx, o.Revision, o)
		}
	} else if s, err = r.now(); err != nil {
		return nil, err
	}
	if err := r.whole(o.Prefix); err != nil {
		return nil, err
	}
	page, err := s.page(ctx, o, o.Predicate.Empty())
	if err != nil {
		return nil, err
	}
	if page.Next != "" {
		r.keep(s)
	}
	return page, nil
}

// whole fails when an object below the prefix could not be decoded: a list
// without it would claim that it does not exist.
func (r *Resource) whole(prefix string) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for key, err := range r.broken {
		if strings.HasPrefix(key, prefix) {
			return err
		}
	}
	return nil
}

// reach waits until the resource has come as far as a reader asks. It reports
// false when the feed is so far behind a consistent read that the store should
// be asked instead.
func (r *Resource) reach(ctx context.Context, revision int64) (bool, error) {
	if err := r.WaitReady(ctx); err != nil {
		return false, err
	}
	target := revision
	if revision == Consistent {
		var err error
		if target, err = r.cache.storeRevision(ctx); err != nil {
			return false, err
		}
	}
	reached, err := r.cache.waitFor(ctx, target)
	if err != nil || reached {
		return reached, err
	}
	if revision == Consistent {
		return false, nil
	}
	return false, fmt.Errorf("revision %d, the cache is at %d: %w", revision, r.cache.Revision(), storage.ErrFutureRevision)
}
