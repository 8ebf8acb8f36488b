package cache

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/btree"

	"github.com/yare-io/yare/storage"
)

// snapshot is an unchanging state of a resource.
type snapshot struct {
	tree     *btree.BTreeG[*Object]
	revision int64
}

const (
	// keptSnapshots is how many states are kept for pages still to be read.
	keptSnapshots = 16
	// mostUndone is how many changes are undone to get an older state before
	// asking the store is cheaper.
	mostUndone = 8192
)

// current returns the latest state. The caller holds mu.
func (r *Resource) current() snapshot {
	if r.clone == nil {
		r.clone = r.tree.Clone()
	}
	return snapshot{r.clone, r.revision()}
}

func (r *Resource) now() snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current()
}

// at returns the state at a revision that has been reached, if it is kept or
// can be had from the log.
func (r *Resource) at(revision int64) (snapshot, bool) {
	r.mu.Lock()
	for _, s := range r.kept {
		if s.revision == revision {
			r.mu.Unlock()
			return s, true
		}
	}
	if revision >= r.last && revision <= r.revision() {
		defer r.mu.Unlock()
		return snapshot{r.current().tree, revision}, true
	}
	undo := r.all.changes[r.all.after(revision)-r.all.first:]
	if revision < r.floor || revision > r.last || len(undo) > mostUndone {
		r.mu.Unlock()
		return snapshot{}, false
	}
	undo = append([]*change(nil), undo...)
	tree := r.tree.Clone()
	r.mu.Unlock()

	for i := len(undo) - 1; i >= 0; i-- {
		if undo[i].previous != nil {
			tree.ReplaceOrInsert(undo[i].previous)
		} else {
			tree.Delete(undo[i].current)
		}
	}
	return snapshot{tree, revision}, true
}

// keep remembers a state for the pages that follow.
func (r *Resource) keep(s snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.kept {
		if r.kept[i].revision == s.revision {
			r.kept = append(append(r.kept[:i:i], r.kept[i+1:]...), s)
			return
		}
	}
	if len(r.kept) == keptSnapshots {
		r.kept = append(r.kept[:0:0], r.kept[1:]...)
	}
	r.kept = append(r.kept, s)
}

// page reads a state as the options say.
func (s snapshot) page(o ListOptions) *Page {
	page := &Page{Revision: s.revision}
	counting := o.Predicate.Empty()
	s.tree.AscendGreaterOrEqual(&Object{Key: max(o.From, o.Prefix)}, func(obj *Object) bool {
		if !strings.HasPrefix(obj.Key, o.Prefix) {
			return false
		}
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
		for i, kv := range result.KVs {
			obj, err := r.decode(kv)
			if err != nil {
				return nil, err
			}
			if !o.Predicate.Matches(obj) {
				continue
			}
			if o.Limit > 0 && len(page.Objects) == o.Limit {
				page.Next = kv.Key
				if o.Predicate.Empty() {
					page.Remaining = result.Remaining + int64(len(result.KVs)-i)
				}
				return page, nil
			}
			page.Objects = append(page.Objects, obj)
		}
		if result.Remaining == 0 || len(result.KVs) == 0 {
			return page, nil
		}
		req.From = result.KVs[len(result.KVs)-1].Key + "\x00"
	}
}
