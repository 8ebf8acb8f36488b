package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/yare-io/yare/storage"
)

func getReturnsWhatWasWritten(h *harness) {
	created := h.mustCreate("/a", "one")
	if kv := h.mustGet("/a"); kv.Key != "/a" || string(kv.Value) != "one" || kv.Revision != created {
		h.Fatalf("got %+v after create at %d", kv, created)
	}
	updated := h.mustUpdate("/a", "two", created)
	if kv := h.mustGet("/a"); string(kv.Value) != "two" || kv.Revision != updated {
		h.Fatalf("got %+v after update at %d", kv, updated)
	}
}

func getOfAbsentKey(h *harness) {
	_, err := h.Get(h.ctx, "/none")
	h.wantError(err, storage.ErrNotFound, "get of a key that never was")
	h.mustDelete("/a", h.mustCreate("/a", "x"))
	_, err = h.Get(h.ctx, "/a")
	h.wantError(err, storage.ErrNotFound, "get of a deleted key")
}

func anyBytes(h *harness) {
	keys := []string{"/k/\x00", "/k/\x00\x01", "/k/ space", "/k/%2F", "/k/a/b", "/k/é", "/k/\xfe\xff", "/k/\xff", "/k/\xff\xff"}
	for _, key := range keys {
		h.mustCreate(key, key+"\x00\xff")
	}
	for _, key := range keys {
		if kv := h.mustGet(key); string(kv.Value) != key+"\x00\xff" {
			h.Fatalf("%q has value %q", key, kv.Value)
		}
	}
	h.wantKeys(h.mustList(storage.ListRequest{Prefix: "/k/"}), keys...)
	h.wantKeys(h.mustList(storage.ListRequest{Prefix: "/k/\xff"}), "/k/\xff", "/k/\xff\xff")
	h.mustCreate("/empty", "")
	if kv := h.mustGet("/empty"); len(kv.Value) != 0 {
		h.Fatalf("empty value came back as %q", kv.Value)
	}
}

func largeValues(h *harness) {
	value := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	w := h.mustWatch(storage.WatchRequest{Prefix: "/"})
	revision, err := h.Create(h.ctx, "/large", value, 0)
	if err != nil {
		h.Fatal(err)
	}
	if kv := h.mustGet("/large"); !bytes.Equal(kv.Value, value) {
		h.Fatal("the value came back changed")
	}
	if events := h.collect(w, revision); !bytes.Equal(events[0].KV.Value, value) {
		h.Fatal("the value was watched changed")
	}
}

func tooLargeValues(h *harness) {
	revision := h.mustCreate("/a", "x")
	value := make([]byte, 8<<20)
	_, err := h.Create(h.ctx, "/b", value, 0)
	h.wantError(err, storage.ErrTooLarge, "create of 8 MiB")
	_, err = h.Update(h.ctx, "/a", value, revision, 0)
	h.wantError(err, storage.ErrTooLarge, "update with 8 MiB")
	if kv := h.mustGet("/a"); kv.Revision != revision {
		h.Fatalf("the refused update wrote %+v", kv.Revision)
	}
}

func createOfPresentKey(h *harness) {
	revision := h.mustCreate("/a", "x")
	_, err := h.Create(h.ctx, "/a", []byte("y"), 0)
	h.wantError(err, storage.ErrExists, "second create")
	if kv := h.mustGet("/a"); kv.Revision != revision || string(kv.Value) != "x" {
		h.Fatalf("the failed create wrote %+v", kv)
	}
	h.mustDelete("/a", revision)
	h.mustCreate("/a", "z")
}

func updateComparesAndSwaps(h *harness) {
	_, err := h.Update(h.ctx, "/none", []byte("x"), 1, 0)
	h.wantError(err, storage.ErrConflict, "update of an absent key")
	first := h.mustCreate("/a", "1")
	second := h.mustUpdate("/a", "2", first)
	if second <= first {
		h.Fatalf("update at revision %d after %d", second, first)
	}
	_, err = h.Update(h.ctx, "/a", []byte("3"), first, 0)
	h.wantError(err, storage.ErrConflict, "update at an old revision")
	_, err = h.Update(h.ctx, "/a", []byte("3"), 0, 0)
	h.wantError(err, storage.ErrConflict, "update at revision zero")
	_, err = h.Update(h.ctx, "/none", []byte("3"), 0, 0)
	h.wantError(err, storage.ErrConflict, "update of an absent key at revision zero")
	h.mustUpdate("/a", "2", second)
}

func deleteComparesAndRemoves(h *harness) {
	_, err := h.Delete(h.ctx, "/none", 1)
	h.wantError(err, storage.ErrConflict, "delete of an absent key")
	first := h.mustCreate("/a", "1")
	second := h.mustUpdate("/a", "2", first)
	_, err = h.Delete(h.ctx, "/a", first)
	h.wantError(err, storage.ErrConflict, "delete at an old revision")
	_, err = h.Delete(h.ctx, "/none", 0)
	h.wantError(err, storage.ErrConflict, "delete of an absent key at revision zero")
	third := h.mustDelete("/a", second)
	if third != h.mustRevision() {
		h.Fatalf("deleted at revision %d, the store is at %d", third, h.mustRevision())
	}
	_, err = h.Delete(h.ctx, "/a", second)
	h.wantError(err, storage.ErrConflict, "second delete")
}

func conflictCarriesCurrent(h *harness) {
	first := h.mustCreate("/a", "1")
	second := h.mustUpdate("/a", "2", first)
	check := func(what string, err error, want *storage.KV) {
		h.Helper()
		var conflict *storage.ConflictError
		if !errors.As(err, &conflict) {
			h.Fatalf("%s: %v is no ConflictError", what, err)
		}
		if conflict.Key != "/a" || conflict.Expected != first {
			h.Fatalf("%s: conflict about %q at %d", what, conflict.Key, conflict.Expected)
		}
		got := conflict.Current
		if (got == nil) != (want == nil) || got != nil && (got.Key != want.Key || got.Revision != want.Revision || !bytes.Equal(got.Value, want.Value)) {
			h.Fatalf("%s: current is %+v, want %+v", what, got, want)
		}
	}
	current := &storage.KV{Key: "/a", Value: []byte("2"), Revision: second}
	_, err := h.Update(h.ctx, "/a", []byte("3"), first, 0)
	check("update", err, current)
	_, err = h.Delete(h.ctx, "/a", first)
	check("delete", err, current)
	h.mustDelete("/a", second)
	_, err = h.Update(h.ctx, "/a", []byte("3"), first, 0)
	check("update of a deleted key", err, nil)
	_, err = h.Delete(h.ctx, "/a", first)
	check("delete of a deleted key", err, nil)
}

func oneWriterWins(h *harness) {
	const rounds, writers = 20, 8
	revision := h.mustCreate("/a", "start")
	for round := range rounds {
		var won, lost atomic.Int64
		var next atomic.Int64
		var group sync.WaitGroup
		for writer := range writers {
			group.Go(func() {
				got, err := h.Update(h.ctx, "/a", fmt.Appendf(nil, "%d by %d", round, writer), revision, 0)
				switch {
				case err == nil:
					won.Add(1)
					next.Store(got)
				case errors.Is(err, storage.ErrConflict):
					lost.Add(1)
				default:
					h.Errorf("update: %v", err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 || lost.Load() != writers-1 {
			h.Fatalf("round %d: %d won and %d lost", round, won.Load(), lost.Load())
		}
		revision = next.Load()
	}
}

func revisionsGrow(h *harness) {
	last := h.mustRevision()
	if last < 1 {
		h.Fatalf("an empty store is at revision %d", last)
	}
	step := func(what string, revision int64) int64 {
		h.Helper()
		if revision != last+1 {
			h.Fatalf("%s at revision %d after %d", what, revision, last)
		}
		if now := h.mustRevision(); now != revision {
			h.Fatalf("after %s at %d the store is at %d", what, revision, now)
		}
		last = revision
		return revision
	}
	a := step("create", h.mustCreate("/a", "1"))
	b := step("create of another key", h.mustCreate("/b", "1"))
	a = step("update", h.mustUpdate("/a", "2", a))
	step("delete", h.mustDelete("/a", a))
	step("delete of another key", h.mustDelete("/b", b))
}

func failedWritesTakeNoRevision(h *harness) {
	revision := h.mustCreate("/a", "1")
	_, _ = h.Create(h.ctx, "/a", []byte("2"), 0)
	_, _ = h.Update(h.ctx, "/a", []byte("2"), revision+7, 0)
	_, _ = h.Delete(h.ctx, "/a", revision+7)
	_, _ = h.Delete(h.ctx, "/none", revision)
	if now := h.mustRevision(); now != revision {
		h.Fatalf("the store is at %d, want %d", now, revision)
	}
}

func ttlExpires(h *harness) {
	const ttl = 1500 * time.Millisecond
	w := h.mustWatch(storage.WatchRequest{Prefix: "/", Previous: true})
	began := time.Now()
	created, err := h.Create(h.ctx, "/short", []byte("x"), ttl)
	if err != nil {
		h.Fatal(err)
	}
	h.mustCreate("/long", "y")
	for {
		for _, event := range h.next(w, false).Events {
			if event.Type != storage.Deleted {
				continue
			}
			if event.KV.Key != "/short" || event.Previous == nil || event.Previous.Revision != created {
				h.Fatalf("deleted %s", describe(event))
			}
			if passed := time.Since(began); passed < ttl {
				h.Fatalf("gone after %v, before its time", passed)
			}
			_, err := h.Get(h.ctx, "/short")
			h.wantError(err, storage.ErrNotFound, "get after the ttl")
			h.mustGet("/long")
			return
		}
	}
}

func updateReplacesTTL(h *harness) {
	stays, err := h.Create(h.ctx, "/stays", []byte("x"), time.Second)
	if err != nil {
		h.Fatal(err)
	}
	h.mustUpdate("/stays", "y", stays)
	goes := h.mustCreate("/goes", "x")
	if _, err := h.Update(h.ctx, "/goes", []byte("y"), goes, 1500*time.Millisecond); err != nil {
		h.Fatal(err)
	}
	h.eventually("/goes expires", func() bool {
		_, err := h.Get(h.ctx, "/goes")
		return errors.Is(err, storage.ErrNotFound)
	})
	h.mustGet("/stays")
}

func recreatedKeyStays(h *harness) {
	first, err := h.Create(h.ctx, "/a", []byte("x"), time.Second)
	if err != nil {
		h.Fatal(err)
	}
	h.mustDelete("/a", first)
	h.mustCreate("/a", "y")
	if _, err := h.Create(h.ctx, "/goes", []byte("x"), 1500*time.Millisecond); err != nil {
		h.Fatal(err)
	}
	h.eventually("/goes expires", func() bool {
		_, err := h.Get(h.ctx, "/goes")
		return errors.Is(err, storage.ErrNotFound)
	})
	h.mustGet("/a")
}

func cancelledCalls(h *harness) {
	revision := h.mustCreate("/a", "x")
	ctx, cancel := context.WithCancel(h.ctx)
	cancel()
	_, err := h.Get(ctx, "/a")
	h.wantError(err, context.Canceled, "get")
	_, err = h.List(ctx, storage.ListRequest{Prefix: "/"})
	h.wantError(err, context.Canceled, "list")
	_, err = h.Update(ctx, "/a", []byte("y"), revision, 0)
	h.wantError(err, context.Canceled, "update")
	_, err = h.Revision(ctx)
	h.wantError(err, context.Canceled, "revision")
}

func healthAndSize(h *harness) {
	if err := h.Health(h.ctx); err != nil {
		h.Fatalf("health: %v", err)
	}
	h.mustCreate("/a", string(make([]byte, 100_000)))
	size, err := h.Size(h.ctx)
	if err != nil || size < 0 {
		h.Fatalf("size %d: %v", size, err)
	}
	if err := h.Close(); err != nil {
		h.Fatalf("close: %v", err)
	}
	if err := h.Health(h.ctx); err == nil {
		h.Fatal("a closed store calls itself healthy")
	}
}
