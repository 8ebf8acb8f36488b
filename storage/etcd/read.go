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

// keyRange is the half-open range of the keys below a prefix, in etcd's way of
// writing one that has no beginning or no end.
func keyRange(prefix string) (from, end string) {
	if prefix == "" {
		return "\x00", "\x00"
	}
	return prefix, clientv3.GetPrefixRangeEnd(prefix)
}
