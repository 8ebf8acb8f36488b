package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/yare-io/yare/storage"
)

const (
	// pageBytes is how much a list with a limit collects before it ends short of
	// the limit.
	pageBytes = 32 << 20
	// answerBytes is how much one answer of an etcd that is read in pages is
	// meant to have, firstPage how many keys are asked for before their size is
	// known, and growth by how much at most a page is larger than the last.
	answerBytes = 8 << 20
	firstPage   = 20
	growth      = 10
	// startsOver bounds how often a list of the current state begins anew because
	// that state was compacted while it was read.
	startsOver = 3
)

// List implements storage.Store. However long the list, no answer of etcd is:
// it is read in parts, as they were at one revision.
func (s *store) List(ctx context.Context, req storage.ListRequest) (result storage.ListResult, err error) {
	for range startsOver {
		result, err = s.list(ctx, req)
		if req.Revision != 0 || !errors.Is(err, storage.ErrCompacted) {
			break
		}
	}
	if err != nil {
		return storage.ListResult{}, fmt.Errorf("list %q at revision %d: %w", req.Prefix, req.Revision, err)
	}
	return result, nil
}

func (s *store) list(ctx context.Context, req storage.ListRequest) (storage.ListResult, error) {
	limited, progress, leave, err := s.enterLong(ctx)
	if err != nil {
		return storage.ListResult{}, err
	}
	defer leave()
	from, end := keyRange(req.Prefix)
	l := &listing{store: s, request: req, from: max(from, req.From), end: end, progress: progress}
	result, err := l.run(limited)
	if err != nil && errors.Is(context.Cause(limited), context.DeadlineExceeded) {
		err = context.DeadlineExceeded
	}
	return result, s.translate(err)
}

// listing is one list while it is read.
type listing struct {
	store    *store
	request  storage.ListRequest
	from     string // the next key to read
	end      string
	progress func()

	result storage.ListResult
	bytes  int
}

func (l *listing) run(ctx context.Context) (storage.ListResult, error) {
	l.result.Revision = l.request.Revision
	if l.request.CountOnly {
		return l.result, l.count(ctx, l.from)
	}
	if l.store.pagesOnly.Load() {
		return l.result, l.pages(ctx)
	}
	err := l.stream(ctx)
	switch code(err) {
	case codes.Unimplemented:
		l.store.pagesOnly.Store(true)
	case codes.Unavailable:
		// The member may be gone; a page is asked of another one.
	default:
		return l.result, err
	}
	again := &listing{store: l.store, request: l.request, from: l.from, end: l.end, progress: l.progress}
	again.result.Revision = l.request.Revision
	err = again.pages(ctx)
	return again.result, err
}

// add takes a part and reports whether the list is long enough.
func (l *listing) add(kvs []*mvccpb.KeyValue) (enough bool) {
	l.progress()
	for _, kv := range kvs {
		l.result.KVs = append(l.result.KVs, toKV(kv))
		l.bytes += len(kv.Key) + len(kv.Value)
	}
	if limit := l.request.Limit; limit > 0 {
		return l.bytes >= pageBytes || len(l.result.KVs) >= limit
	}
	return false
}

// count fills in how many keys there are from one on.
func (l *listing) count(ctx context.Context, from string) error {
	response, err := l.store.client.Get(ctx, from, clientv3.WithRange(l.end), clientv3.WithRev(l.result.Revision), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if l.result.Revision == 0 {
		l.result.Revision = response.Header.Revision
	}
	l.result.Remaining = response.Count
	return nil
}

// stream reads all parts by one request. The last one tells the revision and
// how many keys there are.
func (l *listing) stream(ctx context.Context) error {
	request := &etcdserverpb.RangeRequest{Key: []byte(l.from), RangeEnd: []byte(l.end), Limit: int64(l.request.Limit), Revision: l.request.Revision}
	ended := false
	err := l.store.ranges(ctx, request, func(part *etcdserverpb.RangeResponse) (more bool) {
		enough := l.add(part.Kvs)
		if part.Header != nil {
			ended = true
			l.result.Remaining = part.Count - int64(len(l.result.KVs))
			if l.result.Revision == 0 {
				l.result.Revision = part.Header.Revision
			}
		}
		return !enough && !ended
	})
	if err != nil || ended {
		return err
	}
	return l.endShort(ctx)
}

// endShort completes what a stream tells at its end only, for one that was left
// before. Where the revision was not known either, the page is read again at
// one that is.
func (l *listing) endShort(ctx context.Context) error {
	if l.request.Revision != 0 {
		return l.count(ctx, l.result.KVs[len(l.result.KVs)-1].Key+"\x00")
	}
	if err := l.count(ctx, l.from); err != nil {
		return err
	}
	l.request.Revision = l.result.Revision
	l.result.KVs, l.bytes = nil, 0
	return l.stream(ctx)
}

// pages reads the parts by a request each, for servers that have no streams.
func (l *listing) pages(ctx context.Context) error {
	for size := firstPage; ; {
		limit := size
		if l.request.Limit > 0 {
			limit = min(size, l.request.Limit-len(l.result.KVs))
		}
		before := l.bytes
		response, err := l.store.client.Get(ctx, l.from,
			clientv3.WithRange(l.end), clientv3.WithRev(l.result.Revision), clientv3.WithLimit(int64(limit)))
		if err != nil {
			return err
		}
		if l.result.Revision == 0 {
			l.result.Revision = response.Header.Revision
		}
		enough := l.add(response.Kvs)
		l.result.Remaining = response.Count - int64(len(response.Kvs))
		if enough || l.result.Remaining <= 0 || len(response.Kvs) == 0 {
			return nil
		}
		l.from = string(response.Kvs[len(response.Kvs)-1].Key) + "\x00"
		each := (l.bytes - before) / len(response.Kvs)
		size = min(growth*size, max(1, answerBytes/max(1, each)))
	}
}
