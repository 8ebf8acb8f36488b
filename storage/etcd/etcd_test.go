package etcd_test

import (
	"context"
	"testing"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/storetest"
)

func open(t testing.TB, config etcd.Config) storage.Store {
	t.Helper()
	if config.Dir == "" && len(config.Endpoints) == 0 {
		config.Dir = t.TempDir()
	}
	store, err := etcd.Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestEmbeddedStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storage.Store { return open(t, etcd.Config{}) })
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		store := open(b, etcd.Config{})
		b.StopTimer()
		_ = store.Close()
		b.StartTimer()
	}
}
