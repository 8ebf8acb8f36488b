package cache

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/yare-io/yare/storage"
)

// snapshot is an unchanging state of a resource.
type snapshot struct {
	objects  *objects
	revision int64
}

// keptSnapshot is one that pages are being read from.
type keptSnapshot struct {
	snapshot
	used time.Time
}

const (
	// keptSnapshots is how many states are kept for pages still to be read.
	keptSnapshots = 16
	// pageTime is how long a client may take between two pages before its
	// state is dropped. The store may have it for longer.
	pageTime = 5 * time.Minute
	// mostUndone is how many changes are undone to get an older state before
	// asking the store is cheaper.
	mostUndone = 8192
)

// current returns the latest state. The caller holds mu.
func (r *Resource) current() snapshot {
	if r.clone == nil {
		r.clone = r.objects.clone()
	}
	return snapshot{r.clone, r.revision()}
}

// now returns the latest state. It fails while the resource starts over.
func (r *Resource) now() (snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current(), r.usable()
}

// at returns the state at a revision that has been reached, if it is kept or
// can be had from the log.
func (r *Resource) at(revision int64) (snapshot, bool) {
	r.mu.Lock()
	for _, s := range r.kept {
		if s.revision == revision {
			r.mu.Unlock()
			return s.snapshot, true
		}
	}
	if r.loaded && revision >= r.last && revision <= r.revision() {
		defer r.mu.Unlock()
		return snapshot{r.current().objects, revision}, true
	}
	undo := r.all.changes[r.all.after(revision)-r.all.first:]
	if !r.loaded || revision < r.floor || revision > r.last || len(undo) > mostUndone {
		r.mu.Unlock()
		return snapshot{}, false
	}
	undo = append([]*change(nil), undo...)
	old := r.objects.clone()
	r.mu.Unlock()

	for i := len(undo) - 1; i >= 0; i-- {
		if undo[i].previous != nil {
			old.put(undo[i].previous)
		} else {
			old.remove(undo[i].current.Key)
		}
	}
	return snapshot{old, revision}, true
}

// keep remembers a state for the pages that follow.
func (r *Resource) keep(s snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = slices.DeleteFunc(r.kept, func(k keptSnapshot) bool { return k.revision == s.revision })
	if len(r.kept) == keptSnapshots {
		r.kept = slices.Delete(r.kept, 0, 1)
	}
	r.kept = append(r.kept, keptSnapshot{s, r.cache.clock.Now()})
}

// dropKept forgets the states that nobody has read from for long. The caller
// holds mu.
func (r *Resource) dropKept(now time.Time) {
	n := 0
	for n < len(r.kept) && now.Sub(r.kept[n].used) > pageTime {
		n++
	}
	r.kept = slices.Delete(r.kept, 0, n)
}

// page reads a state as the options say, and counts the objects that are left
// if it is asked to, where no form selects.
func (s snapshot) page(ctx context.Context, o ListOptions, counting bool) (*Page, error) {
	if o.Predicate.Form != nil {
		return s.formed(ctx, o)
	}
	return s.matching(o, counting), nil
}

// matching is the page of the objects that labels and fields select.
func (s snapshot) matching(o ListOptions, counting bool) *Page {
	page := &Page{Revision: s.revision, Objects: make([]*Object, 0, s.size(o))}
	s.objects.ascend(o.Prefix, o.From, o.Predicate, func(obj *Object) bool {
		if page.Next != "" {
			page.Remaining++
			return true
		}
		if !o.Predicate.Matches(obj) {
			return true
		}
		if o.Limit > 0 && len(page.Objects) == o.Limit {
			page.Next, page.Remaining = obj.Key, 1
			return counting
		}
		page.Objects = append(page.Objects, obj)
		return true
	})
	if !counting {
		page.Remaining = 0
	}
	return page
}

// manyObjects is where making room for all of them at once stops paying.
const manyObjects = 1024

// size is a guess at how many objects a page will have.
func (s snapshot) size(o ListOptions) int {
	switch {
	case !o.Predicate.Empty():
		return 0
	case o.Limit > 0:
		return min(o.Limit, s.objects.byKey.Len())
	}
	return min(manyObjects, s.objects.byKey.Len())
}

// listStore reads what the cache does not have from the store: a revision from
// before its log, or the current state while the feed is behind.
func (r *Resource) listStore(ctx context.Context, revision int64, o ListOptions) (*Page, error) {
	req := storage.ListRequest{Prefix: o.Prefix, From: o.From, Revision: revision}
	if o.Limit > 0 {
		req.Limit = o.Limit + 1
	}
	page := &Page{}
	for {
		result, err := r.cache.store.List(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", o.Prefix, err)
		}
		page.Revision, req.Revision = result.Revision, result.Revision
		matching, err := r.decodeMatching(result.KVs, o.Predicate)
		if err != nil {
			return nil, err
		}
		before := len(page.Objects)
		for batch := range slices.Chunk(matching, batchSize) {
			if err := page.add(ctx, o, batch); err != nil {
				return nil, err
			}
			if page.Next != "" {
				break
			}
		}
		if page.Next != "" && o.Predicate.Empty() {
			page.Remaining = result.Remaining + int64(len(result.KVs)-len(page.Objects)+before)
		}
		if page.Next != "" || result.Remaining == 0 || len(result.KVs) == 0 {
			return page, nil
		}
		req.From = result.KVs[len(result.KVs)-1].Key + "\x00"
	}
}

func (r *Resource) decodeMatching(values []storage.KV, p Predicate) ([]*Object, error) {
	var matching []*Object
	for _, kv := range values {
		object, err := r.decode(kv)
		if err != nil {
			return nil, err
		}
		if p.Matches(object) {
			matching = append(matching, object)
		}
	}
	return matching, nil
}
