package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
)

// revisionsVariable is how many revisions BenchmarkCompact makes and gives up:
// 1000000 for the figure, which takes minutes.
const revisionsVariable = "YARE_BENCH_REVISIONS"

// BenchmarkCompact gives up a long history of 10,000 keys, written in no order,
// while a client writes. It reports how long the call took and how long until the
// room was returned, what writes cost before and meanwhile, and the size after it
// as a multiple of the live keys and values.
func BenchmarkCompact(b *testing.B) {
	count := 100_000
	if asked := os.Getenv(revisionsVariable); asked != "" {
		var err error
		if count, err = strconv.Atoi(asked); err != nil {
			b.Fatal(err)
		}
	}
	race(b, func(b *testing.B, c contender) {
		store := c.open()
		for b.Loop() {
			compactOnce(b, store, count)
		}
	})
}

const compactKeys = 10_000

func compactOnce(b *testing.B, store storage.Store, count int) {
	b.Helper()
	b.StopTimer()
	revisions := populate(b, store, compactKeys)
	locks := make([]sync.Mutex, compactKeys)
	value := object()
	update := func(int) error {
		k := rand.IntN(compactKeys)
		locks[k].Lock()
		defer locks[k].Unlock()
		var err error
		revisions[k], err = store.Update(b.Context(), fmt.Sprintf("/registry/pods/default/pod-%06d", k), value, revisions[k], 0)
		return err
	}
	parallel(b, 64, count-1000, update)
	before := latencies(b, 1000, update)
	full, err := store.Size(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	now, err := store.Revision(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var meanwhile []time.Duration
	var writing sync.WaitGroup
	writing.Go(func() {
		for ctx.Err() == nil {
			meanwhile = append(meanwhile, latencies(b, 50, update)...)
		}
	})
	b.StartTimer()
	began := time.Now()
	if err := store.Compact(b.Context(), now); err != nil {
		b.Fatal(err)
	}
	called := time.Since(began)
	// The room has been returned when there is no less for a while.
	size, smallest, since := full, full, began
	for time.Since(since) < 5*time.Second {
		time.Sleep(50 * time.Millisecond)
		if size, err = store.Size(b.Context()); err != nil {
			b.Fatal(err)
		}
		if size < smallest {
			smallest, since = size, time.Now()
		}
	}
	b.StopTimer()
	done := since.Sub(began)
	cancel()
	writing.Wait()
	live := float64(compactKeys * (len(value) + len("/registry/pods/default/pod-000000")))
	b.ReportMetric(called.Seconds()*1000, "ms-to-answer")
	b.ReportMetric(done.Seconds(), "s-until-returned")
	b.ReportMetric(quantile(before, 0.99), "ms-write-p99-before")
	b.ReportMetric(quantile(meanwhile, 0.99), "ms-write-p99-meanwhile")
	b.ReportMetric(float64(full)/live, "size-before/live")
	b.ReportMetric(float64(size)/live, "size-after/live")
	b.StartTimer()
}

// latencies are of so many calls, one after the other.
func latencies(b *testing.B, count int, do func(i int) error) []time.Duration {
	times := make([]time.Duration, count)
	for i := range times {
		began := time.Now()
		if err := do(i); err != nil {
			b.Error(err)
			return times[:i]
		}
		times[i] = time.Since(began)
	}
	return times
}
