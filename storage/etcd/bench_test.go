package etcd_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
)

// value is as long as a small pod in protobuf.
var value = make([]byte, 1500)

func opened(b *testing.B) storage.Store {
	store := open(b, etcd.Config{})
	b.Cleanup(func() { _ = store.Close() })
	return store
}

func BenchmarkCreate(b *testing.B) {
	store := opened(b)
	for i := 0; b.Loop(); i++ {
		if _, err := store.Create(b.Context(), fmt.Sprintf("/registry/pods/%d", i), value, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateConcurrently(b *testing.B) {
	store := opened(b)
	var n atomic.Int64
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := store.Create(context.Background(), fmt.Sprintf("/registry/pods/%d", n.Add(1)), value, 0); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkGet(b *testing.B) {
	store := opened(b)
	if _, err := store.Create(b.Context(), "/registry/pods/a", value, 0); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := store.Get(b.Context(), "/registry/pods/a"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRevision(b *testing.B) {
	store := opened(b)
	for b.Loop() {
		if _, err := store.Revision(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWrittenAndWatched is a write and the wait for its event; ack-to-event
// is the part of it after the acknowledgement.
func BenchmarkWrittenAndWatched(b *testing.B) {
	store := opened(b)
	w, err := store.Watch(b.Context(), storage.WatchRequest{})
	if err != nil {
		b.Fatal(err)
	}
	var waited time.Duration
	n := 0
	for ; b.Loop(); n++ {
		if _, err := store.Create(b.Context(), fmt.Sprintf("/registry/pods/%d", n), value, 0); err != nil {
			b.Fatal(err)
		}
		acknowledged := time.Now()
		<-w.Batches()
		waited += time.Since(acknowledged)
	}
	b.ReportMetric(float64(waited)/float64(n), "ack-to-event-ns")
}

// BenchmarkThreeMembersCreate writes to the leader of three members on one
// machine and disk, and to another member, by one client and by many.
func BenchmarkThreeMembersCreate(b *testing.B) {
	l := newLab(b)
	stores := l.three()
	leader, other := "", ""
	for _, m := range l.seen("a") {
		if m.Leader {
			leader = m.Name
		} else {
			other = m.Name
		}
	}
	var n atomic.Int64
	for what, store := range map[string]storage.Store{"leader": stores[leader], "other": stores[other]} {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", what, clients), func(b *testing.B) {
				var group errgroup.Group
				for range clients {
					group.Go(func() error {
						for range (b.N + clients - 1) / clients {
							if _, err := store.Create(context.Background(), fmt.Sprintf("/registry/pods/%d", n.Add(1)), value, 0); err != nil {
								return err
							}
						}
						return nil
					})
				}
				if err := group.Wait(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
