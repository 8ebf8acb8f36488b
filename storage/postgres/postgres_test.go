package postgres_test

import (
	"context"
	"os"
	"testing"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/postgres"
	"github.com/yare-io/yare/storage/postgres/postgrestest"
	"github.com/yare-io/yare/storage/storetest"
)

// shared is a server for all tests that do not stop it; nil when PostgreSQL is
// not installed.
var shared *postgrestest.Server

func TestMain(m *testing.M) {
	os.Exit(postgrestest.Main(m, func(server *postgrestest.Server) { shared = server }))
}

// schema is the URL of a schema of its own on the shared server.
func schema(t testing.TB) string {
	t.Helper()
	if shared == nil {
		t.Skip("PostgreSQL is not installed")
	}
	return shared.Schema()
}

func open(t testing.TB, config postgres.Config) storage.Store {
	t.Helper()
	if config.URL == "" {
		config.URL = schema(t)
	}
	store, err := postgres.Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storage.Store { return open(t, postgres.Config{}) })
}

// TestStoreOfManyPartitions has partitions of so few revisions that every check
// crosses several.
func TestStoreOfManyPartitions(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storage.Store { return open(t, postgres.Config{PartitionSpan: 300}) })
}
