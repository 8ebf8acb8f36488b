package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/memory"
	"github.com/yare-io/yare/storage/migrate"
	"github.com/yare-io/yare/storage/postgres"
	"github.com/yare-io/yare/storage/postgres/postgrestest"
)

var shared *postgrestest.Server

func TestMain(m *testing.M) {
	if places := os.Getenv(copyVariable); places != "" {
		copyUntilKilled(places)
	}
	os.Exit(postgrestest.Main(m, func(server *postgrestest.Server) { shared = server }))
}

// kinds of stores that a cluster can be in.
var kinds = map[string]func(t *testing.T) storage.Store{
	"etcd": func(t *testing.T) storage.Store {
		store, err := etcd.Open(t.Context(), etcd.Config{Dir: t.TempDir()})
		return opened(t, store, err)
	},
	"postgres": func(t *testing.T) storage.Store {
		if shared == nil {
			t.Skip("PostgreSQL is not installed")
		}
		store, err := postgres.Open(t.Context(), postgres.Config{URL: shared.Schema()})
		return opened(t, store, err)
	},
	"memory": func(t *testing.T) storage.Store { return memory.New(memory.Config{}) },
}

func opened(t *testing.T, store storage.Store, err error) storage.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func fill(t *testing.T, store storage.Store, count int) {
	t.Helper()
	for i := range count {
		if _, err := store.Create(t.Context(), fmt.Sprintf("/registry/pods/%05d", i), fmt.Appendf(nil, "value \x00 %d", i), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Create(t.Context(), "/registry/events/x", []byte("gone soon"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Create(t.Context(), "/registry/masterleases/x", nil, 0); err != nil {
		t.Fatal(err)
	}
}

func keep(key string) (time.Duration, bool) {
	switch {
	case strings.HasPrefix(key, "/registry/masterleases/"):
		return 0, false
	case strings.HasPrefix(key, "/registry/events/"):
		return time.Hour, true
	}
	return 0, true
}

func TestEveryKindMovesToEveryOther(t *testing.T) {
	for from, openFrom := range kinds {
		for to, openTo := range kinds {
			if from == to {
				continue
			}
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				source, target := openFrom(t), openTo(t)
				fill(t, source, 1200)
				var last migrate.Progress
				n, err := migrate.Run(t.Context(), migrate.Config{From: source, To: target, Source: from, Keep: keep,
					Progress: func(p migrate.Progress) { last = p }})
				if err != nil || n != 1201 {
					t.Fatalf("%d keys: %v", n, err)
				}
				if last.Step != "compare" || last.Done != last.Total {
					t.Fatalf("the last progress was %+v", last)
				}
				result, err := target.List(t.Context(), storage.ListRequest{})
				if err != nil || len(result.KVs) != 1201 {
					t.Fatalf("the target has %d keys: %v", len(result.KVs), err)
				}
			})
		}
	}
}

// breaking fails writes after so many.
type breaking struct {
	storage.Store
	left atomic.Int64
}

var errBroken = errors.New("the cable was pulled")

func (b *breaking) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (int64, error) {
	if b.left.Add(-1) < 0 {
		return 0, errBroken
	}
	return b.Store.Create(ctx, key, value, ttl)
}

func TestAnInterruptedCopyGoesOn(t *testing.T) {
	source, target := memory.New(memory.Config{}), memory.New(memory.Config{})
	fill(t, source, 1500)
	half := &breaking{Store: target}
	half.left.Store(700)
	if _, err := migrate.Run(t.Context(), migrate.Config{From: source, To: half, Source: "a"}); !errors.Is(err, errBroken) {
		t.Fatalf("interrupted copy: %v", err)
	}
	if _, err := migrate.Run(t.Context(), migrate.Config{From: source, To: target, Source: "b"}); !errors.Is(err, migrate.ErrNotEmpty) {
		t.Fatalf("copy of another source: %v", err)
	}
	if n, err := migrate.Run(t.Context(), migrate.Config{From: source, To: target, Source: "a"}); n != 1502 || err != nil {
		t.Fatalf("%d keys: %v", n, err)
	}
	if _, err := migrate.Run(t.Context(), migrate.Config{From: source, To: target, Source: "a"}); !errors.Is(err, migrate.ErrNotEmpty) {
		t.Fatalf("copy over a complete one: %v", err)
	}
}

func TestDifferencesAreFound(t *testing.T) {
	for name, spoil := range map[string]func(storage.Store){
		"another key": func(s storage.Store) { _, _ = s.Create(context.Background(), "/zzz", nil, 0) },
		"a lost key":  func(s storage.Store) { remove(s, "/registry/pods/00003") },
	} {
		t.Run(name, func(t *testing.T) {
			source, target := memory.New(memory.Config{}), memory.New(memory.Config{})
			fill(t, source, 10)
			spoiled := false
			_, err := migrate.Run(t.Context(), migrate.Config{From: source, To: target, Progress: func(p migrate.Progress) {
				if p.Step == "copy" && p.Done == p.Total && !spoiled {
					spoiled = true
					spoil(target)
				}
			}})
			if !errors.Is(err, migrate.ErrDiffers) {
				t.Fatalf("the copy ended with %v", err)
			}
		})
	}
}

func TestASourceInUseIsNoticed(t *testing.T) {
	source, target := memory.New(memory.Config{}), memory.New(memory.Config{})
	fill(t, source, 10)
	_, err := migrate.Run(t.Context(), migrate.Config{From: source, To: target, Progress: func(migrate.Progress) {
		_, _ = source.Create(context.Background(), "/late", nil, 0)
	}})
	if !errors.Is(err, migrate.ErrChanged) {
		t.Fatalf("the copy ended with %v", err)
	}
}

func remove(store storage.Store, key string) {
	kv, err := store.Get(context.Background(), key)
	if err == nil {
		_, _ = store.Delete(context.Background(), key, kv.Revision)
	}
}
