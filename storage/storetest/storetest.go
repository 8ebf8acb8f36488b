// Package storetest is the suite that every storage.Store passes. It checks the
// contract in package storage sentence by sentence, against a real store and
// nothing else: it knows no backend.
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storage.Store { return open(t) })
//	}
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
)

// checks in the order of the contract. The names are what a failing run says.
var checks = []struct {
	name string
	run  func(*harness)
}{
	{"get returns what was written", getReturnsWhatWasWritten},
	{"get of an absent key is not found", getOfAbsentKey},
	{"keys and values are any bytes", anyBytes},
	{"values up to a mebibyte are kept", largeValues},
	{"values far over the limit are refused", tooLargeValues},
	{"create of a present key exists", createOfPresentKey},
	{"update compares and swaps", updateComparesAndSwaps},
	{"delete compares and removes", deleteComparesAndRemoves},
	{"a conflict carries the current value", conflictCarriesCurrent},
	{"one of many concurrent writers wins", oneWriterWins},
	{"revisions are one growing sequence", revisionsGrow},
	{"failed writes take no revision", failedWritesTakeNoRevision},
	{"a key with a ttl goes, not early", ttlExpires},
	{"an update replaces the ttl", updateReplacesTTL},
	{"a recreated key does not inherit a ttl", recreatedKeyStays},

	{"list takes the prefix byte by byte", listPrefix},
	{"list pages with from, limit and remaining", listPages},
	{"list at a revision reads the past", listAtRevision},
	{"list counts without reading", listCounts},
	{"list is one revision under writers", listIsOneRevision},
	{"a future revision is refused", futureRevision},
	{"compaction gives up the past only", compaction},

	{"watch delivers what is written", watchDelivers},
	{"watch after a revision delivers the past", watchFromThePast},
	{"watch sees its prefix only", watchPrefix},
	{"watch of the whole store sees everything", watchEverything},
	{"watch gives previous values when asked", watchPrevious},
	{"watches lose, repeat and reorder nothing", watchUnderWriters},
	{"keys that expire together come in one batch", expiryInOneBatch},
	{"watch reports progress", watchProgress},
	{"watch from before compaction fails", watchCompacted},
	{"watch from the future is refused", watchFuture},
	{"a slow reader is cut", slowReader},
	{"cancellation ends a watch", watchCancelled},
	{"close ends watches and can be repeated", closeEnds},
	{"cancelled calls fail with the context", cancelledCalls},
	{"a healthy store says so", healthAndSize},

	{"concurrent operations are linearizable", linearizable},
}

// Run checks the stores that open returns, a new and empty one for each check.
// The suite closes them; open may register more cleaning up.
func Run(t *testing.T, open func(t *testing.T) storage.Store) {
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			store := open(t)
			t.Cleanup(func() {
				if err := store.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			check.run(&harness{T: t, Store: store, ctx: ctx})
		})
	}
}

// harness is a store whose methods with a must prefix end the check on errors.
type harness struct {
	*testing.T
	storage.Store
	ctx context.Context
}

func (h *harness) mustCreate(key, value string) int64 {
	h.Helper()
	revision, err := h.Create(h.ctx, key, []byte(value), 0)
	if err != nil {
		h.Fatalf("create %q: %v", key, err)
	}
	return revision
}

func (h *harness) mustUpdate(key, value string, expected int64) int64 {
	h.Helper()
	revision, err := h.Update(h.ctx, key, []byte(value), expected, 0)
	if err != nil {
		h.Fatalf("update %q: %v", key, err)
	}
	return revision
}

func (h *harness) mustDelete(key string, expected int64) int64 {
	h.Helper()
	revision, err := h.Delete(h.ctx, key, expected)
	if err != nil {
		h.Fatalf("delete %q: %v", key, err)
	}
	return revision
}

func (h *harness) mustGet(key string) storage.KV {
	h.Helper()
	kv, err := h.Get(h.ctx, key)
	if err != nil {
		h.Fatalf("get %q: %v", key, err)
	}
	return kv
}

func (h *harness) mustList(req storage.ListRequest) storage.ListResult {
	h.Helper()
	result, err := h.List(h.ctx, req)
	if err != nil {
		h.Fatalf("list %+v: %v", req, err)
	}
	return result
}

func (h *harness) mustRevision() int64 {
	h.Helper()
	revision, err := h.Revision(h.ctx)
	if err != nil {
		h.Fatalf("revision: %v", err)
	}
	return revision
}

func (h *harness) mustWatch(req storage.WatchRequest) storage.Watcher {
	h.Helper()
	w, err := h.Watch(h.ctx, req)
	if err != nil {
		h.Fatalf("watch %+v: %v", req, err)
	}
	return w
}

// wantError checks the kind of an error.
func (h *harness) wantError(err, want error, what string) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

// wantKeys checks the keys of a list.
func (h *harness) wantKeys(result storage.ListResult, want ...string) {
	h.Helper()
	var got []string
	for _, kv := range result.KVs {
		got = append(got, kv.Key)
	}
	if !slices.Equal(got, want) {
		h.Fatalf("listed %q, want %q", got, want)
	}
}

// next returns the next batch with events, or progress when any is asked for.
func (h *harness) next(w storage.Watcher, progress bool) storage.Batch {
	h.Helper()
	for {
		select {
		case batch, ok := <-w.Batches():
			if !ok {
				h.Fatalf("watch ended: %v", w.Err())
			}
			if progress || len(batch.Events) > 0 {
				return batch
			}
		case <-h.ctx.Done():
			h.Fatal("no batch in time")
		}
	}
}

// collect reads until the watch knows everything up to a revision that an event
// reaches, and checks what holds of every watch: batches and events only go
// forward, and no batch begins at a revision that the one before had part of.
func (h *harness) collect(w storage.Watcher, until int64) []storage.Event {
	h.Helper()
	var events []storage.Event
	var last int64
	for last < until {
		batch := h.next(w, true)
		for i, event := range batch.Events {
			switch {
			case event.KV.Revision <= last:
				h.Fatalf("event of revision %d in a batch after revision %d", event.KV.Revision, last)
			case event.KV.Revision > batch.Revision:
				h.Fatalf("event of revision %d in the batch up to %d", event.KV.Revision, batch.Revision)
			case i > 0 && event.KV.Revision < batch.Events[i-1].KV.Revision:
				h.Fatalf("event of revision %d after %d", event.KV.Revision, batch.Events[i-1].KV.Revision)
			}
		}
		if batch.Revision < last {
			h.Fatalf("batch up to revision %d after %d", batch.Revision, last)
		}
		last = batch.Revision
		events = append(events, batch.Events...)
	}
	return events
}

// ended reads a watch to its end and returns the reason.
func (h *harness) ended(w storage.Watcher) error {
	h.Helper()
	for {
		select {
		case _, ok := <-w.Batches():
			if !ok {
				return w.Err()
			}
		case <-h.ctx.Done():
			h.Fatal("the watch did not end")
		}
	}
}

// eventually polls until a condition holds.
func (h *harness) eventually(what string, condition func() bool) {
	h.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-h.ctx.Done():
			h.Fatalf("not in time: %s", what)
		}
	}
}

func describe(e storage.Event) string {
	line := fmt.Sprintf("%d %s=%s@%d", e.Type, e.KV.Key, e.KV.Value, e.KV.Revision)
	if e.Previous != nil {
		line += fmt.Sprintf(" was %s@%d", e.Previous.Value, e.Previous.Revision)
	}
	return line
}
