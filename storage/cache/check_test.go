package cache_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
)

// lossy hides the events of one key.
type lossy struct {
	storage.Store
	hidden string
}

type lossyWatcher struct {
	storage.Watcher
	batches chan storage.Batch
}

func (w lossyWatcher) Batches() <-chan storage.Batch { return w.batches }

func (l lossy) Watch(ctx context.Context, req storage.WatchRequest) (storage.Watcher, error) {
	inner, err := l.Store.Watch(ctx, req)
	if err != nil {
		return nil, err
	}
	w := lossyWatcher{inner, make(chan storage.Batch)}
	go func() {
		defer close(w.batches)
		for batch := range inner.Batches() {
			if len(batch.Events) > 0 && batch.Events[0].KV.Key == l.hidden {
				batch.Events = nil
			}
			select {
			case w.batches <- batch:
			case <-ctx.Done():
			}
		}
	}()
	return w, nil
}

// verdicts counts what checks told.
type verdicts struct{ same, different, other atomic.Int64 }

func (v *verdicts) told(_ string, err error) {
	switch {
	case err == nil:
		v.same.Add(1)
	case errors.Is(err, cache.ErrInconsistent):
		v.different.Add(1)
	default:
		v.other.Add(1)
	}
}

// until waits for a condition.
func (f *fixture) until(what string, condition func() bool) {
	f.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-f.ctx.Done():
			f.t.Fatalf("not in time: %s", what)
		}
	}
}

func TestACacheThatDiffersFromItsStoreStartsOver(t *testing.T) {
	var v verdicts
	f := start(t, lossy{newStore(t), pods + "a/hidden"}, cache.WithCheck(5*time.Millisecond, v.told))
	f.create(pods + "a/seen")
	w := f.watch(cache.WatchOptions{Prefix: pods})
	f.create(pods + "a/hidden")
	f.until("the difference is found", func() bool { return v.different.Load() > 0 })
	f.until("the object is there", func() bool {
		_, err := f.pods.Get(f.ctx, pods+"a/hidden", cache.Consistent)
		return err == nil
	})
	f.until("watches end, to list again", func() bool {
		_, err := w.Next(f.ctx)
		return errors.Is(err, cache.ErrExpired)
	})
	before := v.same.Load()
	f.until("they are the same again", func() bool { return v.same.Load() > before })
}

func TestChecksFindNoDifferenceWhileWritesGoOn(t *testing.T) {
	var v verdicts
	f := start(t, newStore(t), cache.WithCheck(time.Millisecond, v.told))
	var at int64
	for n := 0; v.same.Load() < 20; n++ {
		key := fmt.Sprintf("%sa/p%d", pods, n%50)
		switch n / 50 % 3 {
		case 0:
			at = f.create(key)
		case 1:
			o, err := f.pods.Get(f.ctx, key, cache.Consistent)
			if err != nil {
				t.Fatal(err)
			}
			at = f.update(key, o.Revision, fmt.Sprintf("n=%d", n))
		case 2:
			o, err := f.pods.Get(f.ctx, key, cache.Consistent)
			if err != nil {
				t.Fatal(err)
			}
			at = f.remove(key, o.Revision)
		}
	}
	if v.different.Load() > 0 {
		t.Errorf("%d of the checks up to revision %d found a difference", v.different.Load(), at)
	}
}
