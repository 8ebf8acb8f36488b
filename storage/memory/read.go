package memory

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"github.com/google/btree"

	"github.com/yare-io/yare/storage"
)

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key string) (storage.KV, error) {
	if err := ctx.Err(); err != nil {
		return storage.KV{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open("get", key); err != nil {
		return storage.KV{}, err
	}
	kv, ok := s.tree.Get(storage.KV{Key: key})
	if !ok {
		return storage.KV{}, fmt.Errorf("get %q: %w", key, storage.ErrNotFound)
	}
	return kv, nil
}

// List implements storage.Store.
func (s *Store) List(ctx context.Context, req storage.ListRequest) (storage.ListResult, error) {
	if err := ctx.Err(); err != nil {
		return storage.ListResult{}, err
	}
	tree, revision, err := s.at(req.Revision)
	if err != nil {
		return storage.ListResult{}, fmt.Errorf("list %q at revision %d: %w", req.Prefix, req.Revision, err)
	}
	result := storage.ListResult{Revision: revision}
	from := max(req.From, req.Prefix)
	tree.AscendGreaterOrEqual(storage.KV{Key: from}, func(kv storage.KV) bool {
		if !strings.HasPrefix(kv.Key, req.Prefix) {
			return false
		}
		if req.CountOnly || (req.Limit > 0 && len(result.KVs) == req.Limit) {
			result.Remaining++
		} else {
			result.KVs = append(result.KVs, kv)
		}
		return true
	})
	return result, nil
}

// at returns the keys as they were at a revision, zero being the current one.
// Nobody changes the tree it returns.
func (s *Store) at(revision int64) (*btree.BTreeG[storage.KV], int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.open("list", ""); err != nil {
		return nil, 0, err
	}
	switch {
	case revision > s.revision:
		return nil, 0, storage.ErrFutureRevision
	case revision != 0 && revision < s.compacted:
		return nil, 0, storage.ErrCompacted
	}
	if s.snapshot == nil {
		s.snapshot = s.tree.Clone()
	}
	if revision == 0 || revision == s.revision {
		return s.snapshot, s.revision, nil
	}
	old := s.tree.Clone()
	for i := len(s.log) - 1; i >= 0 && s.log[i].KV.Revision > revision; i-- {
		if before := s.log[i].Previous; before != nil {
			old.ReplaceOrInsert(*before)
		} else {
			old.Delete(s.log[i].KV)
		}
	}
	return old, revision, nil
}

// since returns the part of the log that comes after a revision. The caller
// holds mu.
func (s *Store) since(revision int64) []storage.Event {
	first := sort.Search(len(s.log), func(i int) bool { return s.log[i].KV.Revision > revision })
	return s.log[first:]
}

// Compact implements storage.Store.
func (s *Store) Compact(ctx context.Context, revision int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return s.open("compact", "")
	case revision > s.revision:
		return fmt.Errorf("compact at %d of %d: %w", revision, s.revision, storage.ErrFutureRevision)
	case revision <= s.compacted:
		return fmt.Errorf("compact at %d after %d: %w", revision, s.compacted, storage.ErrCompacted)
	}
	s.compact(revision)
	return nil
}

// compact drops the log before a revision. The caller holds mu.
func (s *Store) compact(revision int64) {
	s.compacted = revision
	s.log = append([]storage.Event(nil), s.since(revision-1)...)
}
