package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/yare-io/yare/storage"
)

// Create implements storage.Store.
func (s *store) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (int64, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return 0, fmt.Errorf("create %q: %w", key, err)
	}
	defer leave()
	response, err := s.put(limited, key, value, ttl, func(put clientv3.Op) clientv3.Txn {
		return s.client.Txn(limited).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).Then(put)
	})
	if err != nil {
		return 0, fmt.Errorf("create %q: %w", key, s.translate(err))
	}
	if !response.Succeeded {
		return 0, fmt.Errorf("create %q: %w", key, storage.ErrExists)
	}
	return response.Header.Revision, nil
}

// Update implements storage.Store.
func (s *store) Update(ctx context.Context, key string, value []byte, expected int64, ttl time.Duration) (int64, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return 0, fmt.Errorf("update %q: %w", key, err)
	}
	defer leave()
	response, err := s.put(limited, key, value, ttl, func(put clientv3.Op) clientv3.Txn {
		return s.swap(limited, key, expected, put)
	})
	if err != nil {
		return 0, fmt.Errorf("update %q: %w", key, s.translate(err))
	}
	return swapped(response, key, expected)
}

// Delete implements storage.Store.
func (s *store) Delete(ctx context.Context, key string, expected int64) (int64, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return 0, fmt.Errorf("delete %q: %w", key, err)
	}
	defer leave()
	response, err := s.swap(limited, key, expected, clientv3.OpDelete(key)).Commit()
	if err != nil {
		return 0, fmt.Errorf("delete %q: %w", key, s.translate(err))
	}
	return swapped(response, key, expected)
}

// swap does an operation if the key is at the expected revision, and reads it
// if not. Revision zero is how etcd sees an absent key, so that is replaced by
// one that nothing is at. The transaction has the shape of Kubernetes' own,
// the only one that imitations of etcd such as kine understand.
func (s *store) swap(ctx context.Context, key string, expected int64, op clientv3.Op) clientv3.Txn {
	if expected <= 0 {
		expected = -1
	}
	return s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", expected)).
		Then(op).
		Else(clientv3.OpGet(key))
}

func swapped(response *clientv3.TxnResponse, key string, expected int64) (int64, error) {
	if response.Succeeded {
		return response.Header.Revision, nil
	}
	conflict := &storage.ConflictError{Key: key, Expected: expected}
	if kvs := response.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
		current := toKV(kvs[0])
		conflict.Current = &current
	}
	return 0, conflict
}

// put commits a transaction that writes a key, with a lease when it has a ttl.
// A lease that etcd has lost meanwhile is replaced once.
func (s *store) put(ctx context.Context, key string, value []byte, ttl time.Duration, txn func(clientv3.Op) clientv3.Txn) (*clientv3.TxnResponse, error) {
	if ttl <= 0 {
		return txn(opPut(key, value)).Commit()
	}
	for last := false; ; last = true {
		id, err := s.leaseFor(ctx, ttl)
		if err != nil {
			return nil, err
		}
		response, err := txn(opPut(key, value, clientv3.WithLease(id))).Commit()
		if last || !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return response, err
		}
		s.leases.forget(id)
	}
}

// opPut is clientv3.OpPut without its two copies of the value.
func opPut(key string, value []byte, options ...clientv3.OpOption) clientv3.Op {
	op := clientv3.OpPut(key, "", options...)
	op.WithValueBytes(value)
	return op
}
