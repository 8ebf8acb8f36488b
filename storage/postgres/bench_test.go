package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/postgres"
	"github.com/yare-io/yare/storage/postgres/postgrestest"
)

// kineBinary names the variable with the path of a kine to measure beside this
// store, on a PostgreSQL of the same settings: see scripts/bench-postgres.sh.
const kineBinary = "YARE_BENCH_KINE"

// contender opens any number of stores on one database.
type contender struct {
	name string
	open func() storage.Store
}

// durable is how the servers of benchmarks run.
var durable = []string{"fsync=on", "shared_buffers=512MB", "max_wal_size=4GB"}

// race runs a benchmark for each contender, each on a server of its own.
func race(b *testing.B, run func(*testing.B, contender)) {
	b.Run("store=yare", func(b *testing.B) {
		url := postgrestest.New(b, durable...).URL("")
		run(b, contender{name: "yare", open: func() storage.Store {
			return open(b, postgres.Config{URL: url, CompactionInterval: -1, RequestTimeout: time.Minute})
		}})
	})
	if os.Getenv(kineBinary) == "" {
		return
	}
	b.Run("store=kine", func(b *testing.B) {
		socket := startKine(b, postgrestest.New(b, durable...).URL(""))
		run(b, contender{name: "kine", open: func() storage.Store {
			store, err := etcd.Open(b.Context(), etcd.Config{Endpoints: []string{"unix://" + socket}, CompactionInterval: -1, RequestTimeout: time.Minute})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = store.Close() })
			return store
		}})
	})
}

// startKine runs kine on a database and returns its socket.
func startKine(b *testing.B, url string) string {
	b.Helper()
	dir, err := os.MkdirTemp("", "kine")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "kine.sock")
	command := exec.Command(os.Getenv(kineBinary), "--endpoint", url, "--listen-address", "unix://"+socket, "--metrics-bind-address", "0",
		// A write of kine takes two at a time: with no more than there are clients
		// they can wait for each other for ever.
		"--datastore-max-open-connections", "200", "--datastore-max-idle-connections", "200")
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait(); _ = log.Close() })
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := os.Stat(socket); err == nil {
			return socket
		}
		runtime.Gosched()
	}
	said, _ := os.ReadFile(log.Name())
	b.Fatalf("kine does not listen: %s", said)
	return ""
}

// object is 3 KB that compress about as a pod does: half of it is chance.
func object() []byte {
	var text strings.Builder
	for i := 0; text.Len() < 3000; i++ {
		fmt.Fprintf(&text, `{"field-%d":{"name":"k8s.io/some-name","uid":"%016x%016x"}},`, i, rand.Uint64(), rand.Uint64())
	}
	return []byte(text.String()[:3000])
}

// keysOf is how many keys each of so many clients has.
const benchKeys = 2000

func populate(b *testing.B, store storage.Store, count int) []int64 {
	b.Helper()
	revisions := make([]int64, count)
	parallel(b, 64, count, func(i int) error {
		var err error
		revisions[i], err = store.Create(b.Context(), fmt.Sprintf("/registry/pods/default/pod-%06d", i), object(), 0)
		return err
	})
	return revisions
}

// parallel does count things with so many clients.
func parallel(b *testing.B, clients, count int, do func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				if err := do(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkCreate(b *testing.B) {
	race(b, func(b *testing.B, c contender) {
		store := c.open()
		for _, clients := range []int{1, 64} {
			var n atomic.Int64
			b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
				value := object()
				parallel(b, clients, b.N, func(int) error {
					_, err := store.Create(b.Context(), fmt.Sprintf("/registry/c%d/%d", clients, n.Add(1)), value, 0)
					return err
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			})
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	race(b, func(b *testing.B, c contender) {
		store := c.open()
		revisions := populate(b, store, benchKeys)
		locks := make([]sync.Mutex, benchKeys)
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
				value := object()
				parallel(b, clients, b.N, func(i int) error {
					k := i % benchKeys
					locks[k].Lock()
					defer locks[k].Unlock()
					var err error
					revisions[k], err = store.Update(b.Context(), fmt.Sprintf("/registry/pods/default/pod-%06d", k), value, revisions[k], 0)
					return err
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			})
		}
	})
}

func BenchmarkList(b *testing.B) {
	race(b, func(b *testing.B, c contender) {
		store := c.open()
		have := 0
		for _, count := range []int{10_000, 100_000} {
			parallel(b, 64, count-have, func(i int) error {
				_, err := store.Create(b.Context(), fmt.Sprintf("/registry/pods/default/pod-%06d", have+i), object(), 0)
				return err
			})
			have = count
			b.Run(fmt.Sprintf("keys=%d", count), func(b *testing.B) {
				for b.Loop() {
					result, err := store.List(b.Context(), storage.ListRequest{Prefix: "/registry/pods/"})
					if err != nil || len(result.KVs) != count {
						b.Fatalf("%d keys: %v", len(result.KVs), err)
					}
				}
			})
			b.Run(fmt.Sprintf("keys=%d/pages=500", count), func(b *testing.B) {
				for b.Loop() {
					listPages(b, store, count)
				}
			})
		}
	})
}

func listPages(b *testing.B, store storage.Store, count int) {
	request := storage.ListRequest{Prefix: "/registry/pods/", Limit: 500}
	got := 0
	for {
		result, err := store.List(b.Context(), request)
		if err != nil {
			b.Fatal(err)
		}
		got += len(result.KVs)
		if result.Remaining == 0 {
			break
		}
		request.Revision, request.From = result.Revision, result.KVs[len(result.KVs)-1].Key+"\x00"
	}
	if got != count {
		b.Fatalf("%d keys", got)
	}
}

// BenchmarkWatch measures from before a create to its event, in the store that
// wrote and in another on the same database.
func BenchmarkWatch(b *testing.B) {
	race(b, func(b *testing.B, c contender) {
		stores := []storage.Store{c.open(), c.open()}
		for i, name := range []string{"same", "other"} {
			b.Run("process="+name, func(b *testing.B) {
				w, err := stores[i].Watch(b.Context(), storage.WatchRequest{Prefix: "/registry/w/"})
				if err != nil {
					b.Fatal(err)
				}
				value, after, total := object(), []time.Duration{}, []time.Duration{}
				for n := range b.N {
					began := time.Now()
					var acknowledged time.Time
					done := make(chan error, 1)
					go func() {
						_, err := stores[0].Create(b.Context(), fmt.Sprintf("/registry/w/%s/%d/%d", name, b.N, n), value, 0)
						acknowledged = time.Now()
						done <- err
					}()
					batch, ok := <-w.Batches()
					seen := time.Now()
					if err := errors.Join(<-done, w.Err()); err != nil || !ok || len(batch.Events) != 1 {
						b.Fatalf("%d events: %v", len(batch.Events), err)
					}
					total, after = append(total, seen.Sub(began)), append(after, max(0, seen.Sub(acknowledged)))
				}
				b.ReportMetric(quantile(total, 0.5), "p50-ms")
				b.ReportMetric(quantile(total, 0.99), "p99-ms")
				b.ReportMetric(quantile(after, 0.99), "p99-after-ack-ms")
			})
		}
	})
}

func quantile(times []time.Duration, q float64) float64 {
	slices.Sort(times)
	return times[min(len(times)-1, int(q*float64(len(times))))].Seconds() * 1000
}
