package storetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/yare-io/yare/storage"
)

func listPrefix(h *harness) {
	for _, key := range []string{"/a", "/a/1", "/a/2", "/a0", "/b/1", "z"} {
		h.mustCreate(key, key)
	}
	h.wantKeys(h.mustList(storage.ListRequest{Prefix: "/a/"}), "/a/1", "/a/2")
	h.wantKeys(h.mustList(storage.ListRequest{Prefix: "/a"}), "/a", "/a/1", "/a/2", "/a0")
	h.wantKeys(h.mustList(storage.ListRequest{Prefix: "/none/"}))
	all := h.mustList(storage.ListRequest{})
	h.wantKeys(all, "/a", "/a/1", "/a/2", "/a0", "/b/1", "z")
	if all.Revision != h.mustRevision() {
		h.Fatalf("listed at revision %d of %d", all.Revision, h.mustRevision())
	}
	for _, kv := range all.KVs {
		if string(kv.Value) != kv.Key || kv.Revision != h.mustGet(kv.Key).Revision {
			h.Fatalf("listed %+v", kv)
		}
	}
}

func listPages(h *harness) {
	for i := range 10 {
		h.mustCreate(fmt.Sprintf("/p/%d", i), "x")
	}
	h.mustCreate("/q/0", "x")
	first := h.mustList(storage.ListRequest{Prefix: "/p/", Limit: 4})
	h.wantKeys(first, "/p/0", "/p/1", "/p/2", "/p/3")
	if first.Remaining != 6 {
		h.Fatalf("%d remaining, want 6", first.Remaining)
	}
	h.mustCreate("/p/31", "new")
	second := h.mustList(storage.ListRequest{Prefix: "/p/", From: "/p/3\x00", Limit: 4, Revision: first.Revision})
	h.wantKeys(second, "/p/4", "/p/5", "/p/6", "/p/7")
	if second.Remaining != 2 || second.Revision != first.Revision {
		h.Fatalf("%d remaining at revision %d, want 2 at %d", second.Remaining, second.Revision, first.Revision)
	}
	last := h.mustList(storage.ListRequest{Prefix: "/p/", From: "/p/8", Limit: 4, Revision: first.Revision})
	h.wantKeys(last, "/p/8", "/p/9")
	if last.Remaining != 0 {
		h.Fatalf("%d remaining, want none", last.Remaining)
	}
	h.wantKeys(h.mustList(storage.ListRequest{Prefix: "/p/", From: "/a", Limit: 1}), "/p/0")
	h.wantKeys(h.mustList(storage.ListRequest{Prefix: "/p/", From: "/q/", Limit: 1}))
}

func listAtRevision(h *harness) {
	empty := h.mustRevision()
	a := h.mustCreate("/a", "1")
	b := h.mustCreate("/b", "1")
	a2 := h.mustUpdate("/a", "2", a)
	gone := h.mustDelete("/b", b)
	again := h.mustCreate("/b", "3")
	for revision, want := range map[int64]string{
		a: "/a=1@a", b: "/a=1@a /b=1@b", a2: "/a=2@c /b=1@b", gone: "/a=2@c", again: "/a=2@c /b=3@e",
	} {
		result := h.mustList(storage.ListRequest{Prefix: "/", Revision: revision})
		got := ""
		for _, kv := range result.KVs {
			got += fmt.Sprintf(" %s=%s@%c", kv.Key, kv.Value, 'a'+rune(kv.Revision-a))
		}
		if len(got) == 0 || got[1:] != want || result.Revision != revision {
			h.Fatalf("at %d: %s (revision %d), want %s", revision, got, result.Revision, want)
		}
	}
	h.wantKeys(h.mustList(storage.ListRequest{Prefix: "/", Revision: empty}))
}

func listCounts(h *harness) {
	for i := range 10 {
		h.mustCreate(fmt.Sprintf("/p/%d", i), "x")
	}
	before := h.mustRevision()
	h.mustCreate("/p/new", "x")
	for _, c := range []struct {
		req  storage.ListRequest
		want int64
	}{
		{storage.ListRequest{Prefix: "/p/"}, 11},
		{storage.ListRequest{Prefix: "/p/", Limit: 3}, 11},
		{storage.ListRequest{Prefix: "/p/", From: "/p/5"}, 6},
		{storage.ListRequest{Prefix: "/p/", Revision: before}, 10},
		{storage.ListRequest{Prefix: "/none/"}, 0},
	} {
		c.req.CountOnly = true
		if got := h.mustList(c.req); got.Remaining != c.want || len(got.KVs) != 0 {
			h.Fatalf("%+v counts %d with %d values, want %d with none", c.req, got.Remaining, len(got.KVs), c.want)
		}
	}
}

// listIsOneRevision has a writer that moves one token between two keys: every
// list must see it exactly once.
func listIsOneRevision(h *harness) {
	at := h.mustCreate("/t/a", "token")
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			var err error
			if at, err = h.Update(h.ctx, "/t/a", fmt.Appendf(nil, "%d", i), at, 0); err != nil {
				h.Errorf("update: %v", err)
				return
			}
		}
	})
	for range 50 {
		result := h.mustList(storage.ListRequest{Prefix: "/t/"})
		again := h.mustList(storage.ListRequest{Prefix: "/t/", Revision: result.Revision})
		if len(result.KVs) != 1 || len(again.KVs) != 1 || result.KVs[0].Revision != again.KVs[0].Revision {
			h.Fatalf("revision %d reads %+v and %+v", result.Revision, result.KVs, again.KVs)
		}
	}
	close(stop)
	group.Wait()
}

func futureRevision(h *harness) {
	now := h.mustCreate("/a", "x")
	_, err := h.List(h.ctx, storage.ListRequest{Prefix: "/", Revision: now + 1})
	h.wantError(err, storage.ErrFutureRevision, "list")
	h.wantError(h.Compact(h.ctx, now+1), storage.ErrFutureRevision, "compact")
}

func compaction(h *harness) {
	first := h.mustCreate("/a", "1")
	second := h.mustUpdate("/a", "2", first)
	third := h.mustUpdate("/a", "3", second)
	if err := h.Compact(h.ctx, second); err != nil {
		h.Fatalf("compact: %v", err)
	}
	_, err := h.List(h.ctx, storage.ListRequest{Prefix: "/", Revision: first})
	h.wantError(err, storage.ErrCompacted, "list from before")
	h.wantError(h.Compact(h.ctx, first), storage.ErrCompacted, "compact at an older revision")
	h.wantError(h.Compact(h.ctx, second), storage.ErrCompacted, "compact at the same revision")
	for revision, want := range map[int64]string{second: "2", third: "3", 0: "3"} {
		result := h.mustList(storage.ListRequest{Prefix: "/", Revision: revision})
		if len(result.KVs) != 1 || string(result.KVs[0].Value) != want {
			h.Fatalf("at %d: %+v, want %s", revision, result.KVs, want)
		}
	}
	gone := h.mustDelete("/a", third)
	if err := h.Compact(h.ctx, gone); err != nil {
		h.Fatalf("compact: %v", err)
	}
	if _, err := h.Get(h.ctx, "/a"); !errors.Is(err, storage.ErrNotFound) {
		h.Fatalf("get: %v", err)
	}
	if now := h.mustRevision(); now != gone {
		h.Fatalf("compaction moved the revision from %d to %d", gone, now)
	}
}
