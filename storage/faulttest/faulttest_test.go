package faulttest_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/faulttest"
	"github.com/yare-io/yare/storage/history"
	"github.com/yare-io/yare/storage/memory"
)

func nothing(context.Context) error { return nil }

func try(t *testing.T, store storage.Store) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Cleanup(func() { _ = store.Close() })
	return faulttest.Run(ctx, faulttest.Config{
		Stores: []storage.Store{store}, Faults: []faulttest.Fault{{Name: "nothing", Strike: nothing}}, Plan: faulttest.Plan{Rounds: 8}, Calls: 300,
	})
}

func TestAGoodStoreHasNoViolations(t *testing.T) {
	if err := try(t, memory.New(memory.Config{})); err != nil {
		t.Fatal(err)
	}
}

// every tells, now and then, that it is time to do wrong.
type every struct{ n atomic.Int64 }

func (e *every) time() bool { return e.n.Add(1)%97 == 0 }

// forgetful loses writes that it has acknowledged.
type forgetful struct {
	storage.Store
	every
}

func (f *forgetful) Update(ctx context.Context, key string, value []byte, expected int64, ttl time.Duration) (int64, error) {
	revision, err := f.Store.Update(ctx, key, value, expected, ttl)
	if err == nil && f.time() {
		_, _ = f.Store.Delete(ctx, key, revision)
	}
	return revision, err
}

// stale reads what was there some time ago.
type stale struct {
	storage.Store
	every
	mu  sync.Mutex
	old map[string]storage.KV
}

func (s *stale) Get(ctx context.Context, key string) (storage.KV, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kv, ok := s.old[key]; ok && s.every.n.Add(1)%5 == 0 {
		return kv, nil
	}
	kv, err := s.Store.Get(ctx, key)
	if _, ok := s.old[key]; err == nil && !ok {
		s.old[key] = kv
	}
	return kv, err
}

// doubling does an update whose compare failed.
type doubling struct {
	storage.Store
	every
}

func (d *doubling) Update(ctx context.Context, key string, value []byte, expected int64, ttl time.Duration) (int64, error) {
	revision, err := d.Store.Update(ctx, key, value, expected, ttl)
	var conflict *storage.ConflictError
	if errors.As(err, &conflict) && conflict.Current != nil && d.n.Add(1)%7 == 0 {
		return d.Store.Update(ctx, key, value, conflict.Current.Revision, ttl)
	}
	return revision, err
}

// spoiled watches what another store does, and tells it wrong.
type spoiled struct {
	storage.Store
	spoil func(*storage.Batch)
}

type spoiledWatcher struct {
	storage.Watcher
	batches chan storage.Batch
}

func (w spoiledWatcher) Batches() <-chan storage.Batch { return w.batches }

func (s *spoiled) Watch(ctx context.Context, req storage.WatchRequest) (storage.Watcher, error) {
	inner, err := s.Store.Watch(ctx, req)
	if err != nil {
		return nil, err
	}
	w := spoiledWatcher{inner, make(chan storage.Batch)}
	go func() {
		defer close(w.batches)
		for batch := range inner.Batches() {
			s.spoil(&batch)
			select {
			case w.batches <- batch:
			case <-ctx.Done():
			}
		}
	}()
	return w, nil
}

func TestBrokenStoresAreCaught(t *testing.T) {
	var when every
	good := func() storage.Store { return memory.New(memory.Config{}) }
	watching := func(spoil func(*storage.Batch)) storage.Store {
		return &spoiled{Store: good(), spoil: func(b *storage.Batch) {
			if len(b.Events) > 0 && when.time() {
				b.Events = append([]storage.Event{}, b.Events...)
				spoil(b)
			}
		}}
	}
	for name, c := range map[string]struct {
		store storage.Store
		want  error
	}{
		"lost writes":     {&forgetful{Store: good()}, history.ErrIllegal},
		"stale reads":     {&stale{Store: good(), old: map[string]storage.KV{}}, history.ErrIllegal},
		"blind updates":   {&doubling{Store: good()}, history.ErrIllegal},
		"lost events":     {watching(func(b *storage.Batch) { b.Events = b.Events[1:] }), faulttest.ErrViolation},
		"repeated events": {watching(func(b *storage.Batch) { b.Events = append(b.Events, b.Events[len(b.Events)-1]) }), faulttest.ErrViolation},
		"other values":    {watching(func(b *storage.Batch) { b.Events[0].KV.Value = []byte("other") }), faulttest.ErrViolation},
		"wrong previous": {watching(func(b *storage.Batch) {
			b.Events[0].Previous = &storage.KV{Key: "x"}
			b.Events[0].Type = storage.Updated
		}), faulttest.ErrViolation},
		"early progress":   {watching(func(b *storage.Batch) { b.Events = nil }), faulttest.ErrViolation},
		"deletes as empty": {watching(func(b *storage.Batch) { b.Events[0].Type = storage.Deleted }), faulttest.ErrViolation},
	} {
		t.Run(name, func(t *testing.T) {
			if err := try(t, c.store); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
		})
	}
}
