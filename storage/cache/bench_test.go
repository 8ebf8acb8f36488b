package cache_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/fields"

	"github.com/yare-io/yare/storage/cache"
)

func filled(b *testing.B, objects int) *fixture {
	f := start(b, newStore(b))
	f.ctx = context.Background()
	for i := range objects {
		f.create(fmt.Sprintf("%sns%d/p%05d", pods, i%10, i), fmt.Sprintf("node=n%d", i%100))
	}
	if _, err := f.pods.List(f.ctx, cache.ListOptions{Prefix: pods, Revision: cache.Consistent}); err != nil {
		b.Fatal(err)
	}
	return f
}

func BenchmarkGet(b *testing.B) {
	f := filled(b, 10_000)
	for name, revision := range map[string]int64{"now": 0, "consistent": cache.Consistent} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.pods.Get(f.ctx, pods+"ns3/p00003", revision); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkList(b *testing.B) {
	f := filled(b, 10_000)
	for name, o := range map[string]cache.ListOptions{
		"all":       {Prefix: pods},
		"namespace": {Prefix: pods + "ns3/"},
		"page":      {Prefix: pods, Limit: 500},
		"node":      {Prefix: pods, Predicate: cache.Predicate{Fields: fields.OneTermEqualSelector("spec.nodeName", "n7")}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.pods.List(f.ctx, o); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOverEtcd is what a client of the API server pays for with the default
// store: a write until its watch event, and a consistent read.
func BenchmarkOverEtcd(b *testing.B) {
	f := start(b, newEtcd(b))
	f.ctx = context.Background()
	f.create(pods + "ns/read")
	b.Run("write and watch", func(b *testing.B) {
		w := f.watch(cache.WatchOptions{After: cache.Consistent})
		for n := 0; b.Loop(); n++ {
			f.create(fmt.Sprintf("%sns/p%d-%d", pods, b.N, n))
			if _, err := w.Next(f.ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("consistent get", func(b *testing.B) {
		for b.Loop() {
			if _, err := f.pods.Get(f.ctx, pods+"ns/read", cache.Consistent); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("consistent get by many", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := f.pods.Get(f.ctx, pods+"ns/read", cache.Consistent); err != nil {
					b.Error(err)
					return
				}
			}
		})
	})
}

// BenchmarkWatchFanout measures a write until all watches that it concerns have
// framed it.
func BenchmarkWatchFanout(b *testing.B) {
	for _, watches := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("everyone-%d", watches), func(b *testing.B) { fanout(b, watches, watches, "") })
		b.Run(fmt.Sprintf("one-of-%d", watches), func(b *testing.B) { fanout(b, watches, 1, "spec.nodeName") })
	}
}

// fanout has each event concern so many of the watches: all, or the one for the
// value of a field.
func fanout(b *testing.B, watches, concerned int, field string) {
	f := filled(b, 0)
	var seen, built atomic.Int64
	all := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(f.ctx)
	var group sync.WaitGroup
	for i := range watches {
		o := cache.WatchOptions{Prefix: pods, After: cache.Consistent}
		if field != "" {
			o.Predicate.Fields = fields.OneTermEqualSelector(field, fmt.Sprintf("n%d", i))
		}
		w, err := f.pods.Watch(ctx, o)
		if err != nil {
			b.Fatal(err)
		}
		group.Go(func() {
			defer w.Close()
			for {
				events, err := w.Next(ctx)
				if err != nil {
					return
				}
				for i := range events {
					_, _ = events[i].Frame("json", func() ([]byte, error) { built.Add(1); return []byte("{}"), nil })
					if seen.Add(1)%int64(concerned) == 0 {
						all <- struct{}{}
					}
				}
			}
		})
	}
	b.ReportAllocs()
	n := 0
	for ; b.Loop(); n++ {
		f.create(fmt.Sprintf("%sns/p%d", pods, n), fmt.Sprintf("node=n%d", n%watches))
		<-all
	}
	cancel()
	group.Wait()
	if built.Load() != int64(n) {
		b.Fatalf("%d events were framed %d times", n, built.Load())
	}
}
