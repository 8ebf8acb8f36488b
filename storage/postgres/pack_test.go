package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/postgres"
)

// chance is bytes that cannot be compressed.
func chance(size int) []byte {
	bytes := make([]byte, size)
	for i := range bytes {
		bytes[i] = byte(rand.Uint32())
	}
	return bytes
}

// TestValuesComeBackHoweverTheyAreStored follows values of all kinds through all
// that a store tells of them.
func TestValuesComeBackHoweverTheyAreStored(t *testing.T) {
	store := open(t, postgres.Config{})
	text := bytes.Repeat([]byte("all work and no play "), 1000)
	mark := "\x00yS2"
	for name, value := range map[string][]byte{
		"empty": {}, "short": []byte("x"), "long": text, "chance": chance(3000), "large chance": chance(100_000),
		"the mark": []byte(mark), "short after the mark": []byte(mark + "x"),
		"long after the mark": append([]byte(mark), text...), "chance after the mark": append([]byte(mark), chance(3000)...),
	} {
		t.Run(name, func(t *testing.T) { followValue(t, store, "/values/"+name+"/", value) })
	}
}

func followValue(t *testing.T, store storage.Store, key string, value []byte) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	same := func(what string, got []byte) {
		t.Helper()
		if !bytes.Equal(got, value) {
			t.Errorf("%s: %d bytes that begin %.20q, want %d that begin %.20q", what, len(got), got, len(value), value)
		}
	}
	created, err := store.Create(ctx, key, value, 0)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := store.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	same("get", kv.Value)
	var conflict *storage.ConflictError
	if _, err := store.Update(ctx, key, nil, created-1, 0); !errors.As(err, &conflict) || conflict.Current == nil {
		t.Fatalf("an update of another revision: %v", err)
	}
	same("conflict", conflict.Current.Value)
	if _, err := store.Update(ctx, key, []byte("other"), created, 0); err != nil {
		t.Fatal(err)
	}
	past, err := store.List(ctx, storage.ListRequest{Prefix: key, Revision: created})
	if err != nil || len(past.KVs) != 1 {
		t.Fatalf("%d keys: %v", len(past.KVs), err)
	}
	same("list of the past", past.KVs[0].Value)
	w, err := store.Watch(ctx, storage.WatchRequest{Prefix: key, After: created - 1, Previous: true})
	if err != nil {
		t.Fatal(err)
	}
	var events []storage.Event
	for len(events) < 2 {
		batch, ok := <-w.Batches()
		if !ok {
			t.Fatal(w.Err())
		}
		events = append(events, batch.Events...)
	}
	same("event", events[0].KV.Value)
	same("previous value", events[1].Previous.Value)
}

// TestLongValuesAreStoredPacked looks at what is in the table.
func TestLongValuesAreStoredPacked(t *testing.T) {
	url := schema(t)
	store := open(t, postgres.Config{URL: url})
	if _, err := store.Create(t.Context(), "/a", []byte(strings.Repeat("kubernetes ", 300)), 0); err != nil {
		t.Fatal(err)
	}
	var size int
	if err := direct(t, url).QueryRow(t.Context(), `SELECT octet_length(content) FROM yare_current`).Scan(&size); err != nil {
		t.Fatal(err)
	}
	if size > 500 {
		t.Errorf("3300 bytes that repeat are stored in %d", size)
	}
}

// TestASchemaOfBeforePackedValuesIsBroughtUpToDate opens what version 2 of the
// schema has after a creation, an update and a deletion.
func TestASchemaOfBeforePackedValuesIsBroughtUpToDate(t *testing.T) {
	url := schema(t)
	conn := direct(t, url)
	execute(t, conn, `CREATE SCHEMA `+conn.Config().RuntimeParams["search_path"])
	for _, file := range []string{"0001_tables.sql", "0002_batches.sql"} {
		script, err := os.ReadFile("migrations/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.PgConn().Exec(t.Context(), string(script)).ReadAll(); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	execute(t, conn, `UPDATE yare_schema SET version = 2`, `UPDATE yare_state SET revision = 5`,
		`INSERT INTO yare_partitions VALUES (0, 100)`,
		`CREATE TABLE yare_revisions_0 PARTITION OF yare_revisions FOR VALUES FROM (0) TO (100)`,
		`INSERT INTO yare_current (key, revision, value) VALUES ('/a', 4, convert_to(repeat('new ', 2000), 'UTF8')), ('/b', 3, 'b')`,
		`INSERT INTO yare_revisions (revision, previous, deleted, key, was, batch) VALUES
			(2, NULL, false, '/a', NULL, 7), (3, NULL, false, '/b', NULL, 7),
			(4, 2, false, '/a', convert_to(repeat('old ', 2000), 'UTF8'), 8), (5, NULL, false, '/c', NULL, 8)`,
		`INSERT INTO yare_current (key, revision, value) VALUES ('/c', 5, '')`)
	store := open(t, postgres.Config{URL: url})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	expect := func(revision int64, want ...string) {
		t.Helper()
		result, err := store.List(ctx, storage.ListRequest{Prefix: "/", Revision: revision})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, kv := range result.KVs {
			got = append(got, kv.Key+"="+string(kv.Value))
		}
		if strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("at revision %d: %.100q, want %.100q", revision, got, want)
		}
	}
	before, after := "/a="+strings.Repeat("old ", 2000), "/a="+strings.Repeat("new ", 2000)
	expect(3, before, "/b=b")
	expect(0, after, "/b=b", "/c=")
	latest := strings.Repeat("newest ", 1000)
	if _, err := store.Update(ctx, "/a", []byte(latest), 4, 0); err != nil {
		t.Fatal(err)
	}
	expect(3, before, "/b=b")
	expect(5, after, "/b=b", "/c=")
	expect(0, "/a="+latest, "/b=b", "/c=")
	// A server from before must not take a packed value for the value.
	if _, err := conn.Exec(ctx, `SELECT key, revision, value FROM yare_current`); err == nil {
		t.Error("statements of before are still answered")
	}
}
