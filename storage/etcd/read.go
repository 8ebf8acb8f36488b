package etcd

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/yare-io/yare/storage"
)

func toKV(kv *mvccpb.KeyValue) storage.KV {
	return storage.KV{Key: string(kv.Key), Value: kv.Value, Revision: kv.ModRevision}
}

// Get implements storage.Store.
func (s *store) Get(ctx context.Context, key string) (storage.KV, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return storage.KV{}, fmt.Errorf("get %q: %w", key, err)
	}
	defer leave()
	response, err := s.client.Get(limited, key)
	if err != nil {
		return storage.KV{}, fmt.Errorf("get %q: %w", key, s.translate(err))
	}
	if len(response.Kvs) == 0 {
		return storage.KV{}, fmt.Errorf("get %q: %w", key, storage.ErrNotFound)
	}
	return toKV(response.Kvs[0]), nil
}

// List implements storage.Store.
func (s *store) List(ctx context.Context, req storage.ListRequest) (storage.ListResult, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return storage.ListResult{}, fmt.Errorf("list %q: %w", req.Prefix, err)
	}
	defer leave()
	from, end := keyRange(req.Prefix)
	options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithRev(req.Revision)}
	if req.CountOnly {
		options = append(options, clientv3.WithCountOnly())
	} else {
		options = append(options, clientv3.WithLimit(int64(req.Limit)))
	}
	response, err := s.client.Get(limited, max(from, req.From), options...)
	if err != nil {
		return storage.ListResult{}, fmt.Errorf("list %q at revision %d: %w", req.Prefix, req.Revision, s.translate(err))
	}
	result := storage.ListResult{Revision: req.Revision, Remaining: response.Count - int64(len(response.Kvs))}
	if result.Revision == 0 {
		result.Revision = response.Header.Revision
	}
	if len(response.Kvs) > 0 {
		result.KVs = make([]storage.KV, len(response.Kvs))
	}
	for i, kv := range response.Kvs {
		result.KVs[i] = toKV(kv)
	}
	return result, nil
}

// keyRange is the half-open range of the keys below a prefix, in etcd's way of
// writing one that has no beginning or no end.
func keyRange(prefix string) (from, end string) {
	if prefix == "" {
		return "\x00", "\x00"
	}
	return prefix, clientv3.GetPrefixRangeEnd(prefix)
}
