package etcd

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// asked is a number from the environment, or a smaller one for a quick run.
func asked(b *testing.B, variable string, otherwise int) int {
	b.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return number
}

const historyKeys = 10_000

// history updates keys of an embedded etcd again and again.
type history struct {
	b         *testing.B
	store     *store
	value     []byte
	locks     [historyKeys]sync.Mutex
	revisions [historyKeys]int64
}

func (h *history) update(i int) error {
	k := i % historyKeys
	h.locks[k].Lock()
	defer h.locks[k].Unlock()
	var err error
	h.revisions[k], err = h.store.Update(context.Background(), largeKey(k), h.value, h.revisions[k], 0)
	return err
}

// fill makes the keys and a history of so many revisions, without waiting for
// the disk, and opens the data as a server does that waits.
func (h *history) fill(count int) {
	h.b.Helper()
	dir := h.b.TempDir()
	h.store = opened(h.b, Config{Dir: dir, NoSync: true, CompactionInterval: -1})
	var group errgroup.Group
	group.SetLimit(64)
	for i := range count {
		group.Go(func() error {
			if i >= historyKeys {
				return h.update(i)
			}
			var err error
			h.revisions[i], err = h.store.Create(context.Background(), largeKey(i), h.value, 0)
			return err
		})
		if i == historyKeys-1 {
			if err := group.Wait(); err != nil {
				h.b.Fatal(err)
			}
		}
	}
	if err := group.Wait(); err != nil {
		h.b.Fatal(err)
	}
	if err := h.store.Close(); err != nil {
		h.b.Fatal(err)
	}
	h.store = opened(h.b, Config{Dir: dir, CompactionInterval: -1})
}

// p99 is of updates by four clients, in milliseconds, until done is closed and at
// least 200 were made.
func (h *history) p99(done <-chan struct{}) float64 {
	var mu sync.Mutex
	var times []time.Duration
	var group errgroup.Group
	for client := range 4 {
		group.Go(func() error {
			for i := client; ; i += 4 {
				began := time.Now()
				if err := h.update(i); err != nil {
					return err
				}
				mu.Lock()
				times = append(times, time.Since(began))
				enough := len(times) >= 200
				mu.Unlock()
				select {
				case <-done:
					if enough {
						return nil
					}
				default:
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		h.b.Error(err)
		return 0
	}
	slices.Sort(times)
	return float64(times[int(math.Ceil(float64(len(times))*0.99))-1]) / 1e6
}

// BenchmarkCompactAndDefragment gives up a long history of 10,000 keys of 1 KB,
// and returns its room to the file system, while clients write. It tells the 99th
// percentile of writes before and meanwhile. YARE_BENCH_REVISIONS=1000000 is for
// the figure.
func BenchmarkCompactAndDefragment(b *testing.B) {
	count := asked(b, "YARE_BENCH_REVISIONS", 50_000)
	for b.Loop() {
		b.StopTimer()
		h := &history{b: b, value: make([]byte, 1000)}
		h.fill(count)
		closed := make(chan struct{})
		close(closed)
		b.ReportMetric(h.p99(closed), "ms-write-p99-before")
		now, err := h.store.Revision(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		full := h.store.server.Server.Backend().Size()
		b.StartTimer()
		h.while("compacting", func() error { return h.store.Compact(b.Context(), now) })
		h.while("scrubbing", h.scrubbed)
		h.while("defragmenting", func() error { return h.store.server.Server.Defragment() })
		b.StopTimer()
		live := float64(historyKeys * (len(h.value) + len(largeKey(0))))
		b.ReportMetric(float64(full)/live, "size-before/live")
		b.ReportMetric(float64(h.store.server.Server.Backend().Size())/live, "size-after/live")
		b.StartTimer()
	}
}

// while tells how long something takes and what writes cost meanwhile.
func (h *history) while(what string, do func() error) {
	h.b.Helper()
	done := make(chan struct{})
	var took time.Duration
	var group errgroup.Group
	group.Go(func() error {
		defer close(done)
		began := time.Now()
		err := do()
		took = time.Since(began)
		return err
	})
	h.b.ReportMetric(h.p99(done), "ms-write-p99-"+what)
	if err := group.Wait(); err != nil {
		h.b.Fatal(fmt.Errorf("%s: %w", what, err))
	}
	h.b.ReportMetric(took.Seconds(), "s-"+what)
}

// scrubbed waits until what a compaction gave up is out of the database: no more
// of it is freed for a second.
func (h *history) scrubbed() error {
	used, since := h.store.server.Server.Backend().SizeInUse(), time.Now()
	for time.Since(since) < time.Second {
		time.Sleep(20 * time.Millisecond)
		if now := h.store.server.Server.Backend().SizeInUse(); now < used {
			used, since = now, time.Now()
		}
	}
	return nil
}
