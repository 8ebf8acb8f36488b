package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/yare-io/yare/storage"
)

// wantEvents checks events against descriptions.
func (h *harness) wantEvents(events []storage.Event, want ...string) {
	h.Helper()
	var got []string
	for _, event := range events {
		got = append(got, describe(event))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		h.Fatalf("events %q, want %q", got, want)
	}
}

func watchDelivers(h *harness) {
	w := h.mustWatch(storage.WatchRequest{Prefix: "/"})
	a := h.mustCreate("/a", "1")
	b := h.mustUpdate("/a", "2", a)
	c := h.mustDelete("/a", b)
	d := h.mustCreate("/a", "3")
	events := h.collect(w, d)
	h.wantEvents(events,
		fmt.Sprintf("%d /a=1@%d", storage.Created, a), fmt.Sprintf("%d /a=2@%d", storage.Updated, b),
		fmt.Sprintf("%d /a=@%d", storage.Deleted, c), fmt.Sprintf("%d /a=3@%d", storage.Created, d))
	if events[2].KV.Value != nil {
		h.Fatal("a deletion has a value")
	}
	if err := w.Err(); err != nil {
		h.Fatalf("a running watch has error %v", err)
	}
}

func watchFromThePast(h *harness) {
	a := h.mustCreate("/a", "1")
	b := h.mustUpdate("/a", "2", a)
	c := h.mustUpdate("/a", "3", b)
	w := h.mustWatch(storage.WatchRequest{Prefix: "/", After: a})
	d := h.mustUpdate("/a", "4", c)
	h.wantEvents(h.collect(w, d),
		fmt.Sprintf("%d /a=2@%d", storage.Updated, b), fmt.Sprintf("%d /a=3@%d", storage.Updated, c),
		fmt.Sprintf("%d /a=4@%d", storage.Updated, d))
}

func watchPrefix(h *harness) {
	w := h.mustWatch(storage.WatchRequest{Prefix: "/a/"})
	h.mustCreate("/a", "no")
	h.mustCreate("/a0", "no")
	h.mustCreate("/b/1", "no")
	r := h.mustCreate("/a/1", "yes")
	h.wantEvents(h.collect(w, r), fmt.Sprintf("%d /a/1=yes@%d", storage.Created, r))
}

func watchEverything(h *harness) {
	w := h.mustWatch(storage.WatchRequest{})
	a := h.mustCreate("a", "x")
	b := h.mustCreate("/b", "x")
	c := h.mustCreate("\xff\xff", "x")
	h.wantEvents(h.collect(w, c), fmt.Sprintf("%d a=x@%d", storage.Created, a),
		fmt.Sprintf("%d /b=x@%d", storage.Created, b), fmt.Sprintf("%d \xff\xff=x@%d", storage.Created, c))
}

func watchPrevious(h *harness) {
	w := h.mustWatch(storage.WatchRequest{Prefix: "/", Previous: true})
	a := h.mustCreate("/a", "1")
	b := h.mustUpdate("/a", "2", a)
	c := h.mustDelete("/a", b)
	want := []string{fmt.Sprintf("%d /a=1@%d", storage.Created, a), fmt.Sprintf("%d /a=2@%d was 1@%d", storage.Updated, b, a),
		fmt.Sprintf("%d /a=@%d was 2@%d", storage.Deleted, c, b)}
	h.wantEvents(h.collect(w, c), want...)
	late := h.mustWatch(storage.WatchRequest{Prefix: "/", Previous: true, After: a})
	h.wantEvents(h.collect(late, c), want[1:]...)
	plain := h.mustWatch(storage.WatchRequest{Prefix: "/", After: a})
	for _, event := range h.collect(plain, c) {
		if event.Previous != nil {
			h.Fatalf("previous value though not asked for: %s", describe(event))
		}
	}
}

// journal is what writers were told about their writes, by revision.
type journal struct {
	mu     sync.Mutex
	writes map[int64]string
}

func (j *journal) add(revision int64, typ storage.EventType, key, value string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writes[revision] = fmt.Sprintf("%d %s=%s@%d", typ, key, value, revision)
}

// write makes random changes to a few keys that other writers change too.
func (j *journal) write(h *harness, writer, count int) {
	random := rand.New(rand.NewPCG(uint64(writer), 7))
	for n := range count {
		key := fmt.Sprintf("/w/%d", random.IntN(6))
		value := fmt.Sprintf("%d.%d", writer, n)
		kv, err := h.Get(h.ctx, key)
		var revision int64
		typ := storage.Updated
		switch {
		case errors.Is(err, storage.ErrNotFound):
			typ = storage.Created
			revision, err = h.Create(h.ctx, key, []byte(value), 0)
		case err != nil:
		case random.IntN(4) == 0:
			typ, value = storage.Deleted, ""
			revision, err = h.Delete(h.ctx, key, kv.Revision)
		default:
			revision, err = h.Update(h.ctx, key, []byte(value), kv.Revision, 0)
		}
		switch {
		case err == nil:
			j.add(revision, typ, key, value)
		case !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrExists):
			h.Errorf("write %q: %v", key, err)
			return
		}
	}
}

func watchUnderWriters(h *harness) {
	start := h.mustRevision()
	j := &journal{writes: map[int64]string{}}
	var writers sync.WaitGroup
	for writer := range 6 {
		writers.Go(func() { j.write(h, writer, 100) })
	}
	watches := []storage.Watcher{h.mustWatch(storage.WatchRequest{Prefix: "/w/", After: start, Progress: true})}
	afters := []int64{start}
	for range 5 {
		after := h.mustRevision()
		watches = append(watches, h.mustWatch(storage.WatchRequest{Prefix: "/w/", After: after, Previous: true}))
		afters = append(afters, after)
	}
	writers.Wait()
	end := h.mustCreate("/w/end", "")
	j.add(end, storage.Created, "/w/end", "")
	for i := range 3 {
		after := start + (end-start)*int64(i+1)/4
		watches = append(watches, h.mustWatch(storage.WatchRequest{Prefix: "/w/", After: after}))
		afters = append(afters, after)
	}
	for i, w := range watches {
		h.compare(j, h.collect(w, end), afters[i], end)
	}
}

// compare checks that events are those of a journal, each once.
func (h *harness) compare(j *journal, events []storage.Event, after, end int64) {
	h.Helper()
	next := after + 1
	for _, event := range events {
		if event.KV.Revision != next {
			h.Fatalf("revision %d came where %d was due", event.KV.Revision, next)
		}
		event.Previous = nil
		if got := describe(event); got != j.writes[next] {
			h.Fatalf("event %s, written was %s", got, j.writes[next])
		}
		next++
	}
	if next != end+1 {
		h.Fatalf("events end at revision %d, want %d", next-1, end)
	}
}

// expiryInOneBatch relies on nothing but the contract: whatever the backend
// deletes at one revision must come in one batch, which collect checks.
func expiryInOneBatch(h *harness) {
	w := h.mustWatch(storage.WatchRequest{Prefix: "/"})
	for i := range 20 {
		if _, err := h.Create(h.ctx, fmt.Sprintf("/e/%d", i), []byte("x"), time.Second); err != nil {
			h.Fatal(err)
		}
	}
	h.eventually("all keys expire", func() bool {
		return h.mustList(storage.ListRequest{Prefix: "/e/", CountOnly: true}).Remaining == 0
	})
	deleted := 0
	for _, event := range h.collect(w, h.mustRevision()) {
		if event.Type == storage.Deleted {
			deleted++
		}
	}
	if deleted != 20 {
		h.Fatalf("%d deletions, want 20", deleted)
	}
}

func watchProgress(h *harness) {
	w := h.mustWatch(storage.WatchRequest{Prefix: "/quiet/", Progress: true})
	target := h.mustCreate("/loud/1", "x")
	for {
		batch := h.next(w, true)
		if len(batch.Events) > 0 {
			h.Fatalf("unexpected %s", describe(batch.Events[0]))
		}
		if batch.Revision > target {
			h.Fatalf("progress to %d, the store is at %d", batch.Revision, target)
		}
		if batch.Revision == target {
			break
		}
	}
	r := h.mustCreate("/quiet/1", "x")
	h.wantEvents(h.collect(w, r), fmt.Sprintf("%d /quiet/1=x@%d", storage.Created, r))
}

func watchCompacted(h *harness) {
	first := h.mustCreate("/a", "1")
	second := h.mustUpdate("/a", "2", first)
	third := h.mustUpdate("/a", "3", second)
	fourth := h.mustUpdate("/a", "4", third)
	if err := h.Compact(h.ctx, third); err != nil {
		h.Fatal(err)
	}
	w, err := h.Watch(h.ctx, storage.WatchRequest{Prefix: "/", After: first})
	if err == nil {
		err = h.ended(w)
	}
	h.wantError(err, storage.ErrCompacted, "watch from before compaction")
	still := h.mustWatch(storage.WatchRequest{Prefix: "/", After: third})
	h.wantEvents(h.collect(still, fourth), fmt.Sprintf("%d /a=4@%d", storage.Updated, fourth))
}

func watchFuture(h *harness) {
	now := h.mustCreate("/a", "1")
	w, err := h.Watch(h.ctx, storage.WatchRequest{Prefix: "/", After: now + 1})
	if err == nil {
		err = h.ended(w)
	}
	h.wantError(err, storage.ErrFutureRevision, "watch from the future")
}

func slowReader(h *harness) {
	start := h.mustRevision()
	slow := h.mustWatch(storage.WatchRequest{Prefix: "/"})
	writeMany(h, (batchedWriters+1)*storage.WatchBacklog)
	next := start + 1
	for batch := range slow.Batches() {
		for _, event := range batch.Events {
			if event.KV.Revision != next {
				h.Fatalf("revision %d came where %d was due", event.KV.Revision, next)
			}
			next++
		}
	}
	h.wantError(slow.Err(), storage.ErrSlow, "unread watch")
	end := h.mustRevision()
	again := h.mustWatch(storage.WatchRequest{Prefix: "/", After: next - 1})
	if got := h.collect(again, end); int64(len(got)) != end-next+1 || got[0].KV.Revision != next {
		h.Fatalf("%d events after revision %d, want %d", len(got), next-1, end-next+1)
	}
}

// batchedWriters write at once, and so are as many events as a batch can have
// where a backend commits together what waits together.
const batchedWriters = 4

// writeMany makes count revisions.
func writeMany(h *harness, count int) {
	var group sync.WaitGroup
	for writer := range batchedWriters {
		group.Go(func() {
			for i := writer; i < count; i += batchedWriters {
				if _, err := h.Create(h.ctx, fmt.Sprintf("/m/%d", i), []byte("x"), 0); err != nil {
					h.Errorf("create: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
}

func watchCancelled(h *harness) {
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	w, err := h.Watch(ctx, storage.WatchRequest{Prefix: "/"})
	if err != nil {
		h.Fatal(err)
	}
	h.mustCreate("/a", "x")
	h.next(w, false)
	cancel()
	h.wantError(h.ended(w), context.Canceled, "cancelled watch")
	h.mustCreate("/b", "x")
}

func closeEnds(h *harness) {
	w := h.mustWatch(storage.WatchRequest{Prefix: "/"})
	h.mustCreate("/a", "x")
	if err := h.Close(); err != nil {
		h.Fatalf("close: %v", err)
	}
	if err := h.Close(); err != nil {
		h.Fatalf("second close: %v", err)
	}
	h.wantError(h.ended(w), storage.ErrUnavailable, "watch of a closed store")
	_, err := h.Get(h.ctx, "/a")
	h.wantError(err, storage.ErrUnavailable, "get from a closed store")
	_, err = h.Create(h.ctx, "/b", nil, 0)
	h.wantError(err, storage.ErrUnavailable, "create in a closed store")
	_, err = h.Watch(h.ctx, storage.WatchRequest{Prefix: "/"})
	h.wantError(err, storage.ErrUnavailable, "watch of a closed store")
}
