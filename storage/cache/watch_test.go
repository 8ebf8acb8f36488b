package cache_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	testclock "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
)

// TestMain fails a run that leaves goroutines of the cache or its stores.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftovers(); code == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// leftovers waits for goroutines to end and returns the stacks of those that
// do not.
func leftovers() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		var left []string
		// The first is this one.
		for _, stack := range strings.Split(string(stacks), "\n\n")[1:] {
			if strings.Contains(stack, "yare/storage/") {
				left = append(left, stack)
			}
		}
		if len(left) == 0 {
			return ""
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return strings.Join(left, "\n\n")
		}
	}
}

// nextWhile steps a clock until the watch has events.
func (f *fixture) nextWhile(clock *testclock.FakeClock, w *cache.Watch, step time.Duration) []cache.Event {
	f.t.Helper()
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		ticker := time.NewTicker(time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				clock.Step(step)
			}
		}
	})
	defer group.Wait()
	defer close(stop)
	events, err := w.Next(f.ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	return events
}

func TestBookmarksTellHowFarAQuietWatchHasCome(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	f := start(t, newStore(t), cache.WithClock(clock))
	// A context without a deadline, before which there would be a bookmark too.
	w, err := f.pods.Watch(t.Context(), cache.WatchOptions{Prefix: pods + "quiet/", After: cache.Consistent, Bookmarks: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	began := clock.Now()
	rev := f.create(pods + "loud/a")
	if _, err := f.pods.Get(f.ctx, pods+"loud/a", cache.Consistent); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		events := f.nextWhile(clock, w, time.Second)
		if len(events) != 1 || events[0].Type != watch.Bookmark || events[0].Revision != rev || events[0].InitialEventsEnd {
			t.Fatalf("got %v, want a bookmark at %d", describe(events), rev)
		}
		if passed := clock.Since(began); passed < time.Duration(n+1)*50*time.Second {
			t.Fatalf("bookmark %d after %v of the fake clock", n+1, passed)
		}
	}
	if e, ok := w.Bookmark(); !ok || e.Revision != rev {
		t.Fatalf("bookmark on demand: %v %v", e, ok)
	}
}

func TestLastBookmarkComesBeforeTheDeadline(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	f := start(t, newStore(t), cache.WithClock(clock))
	ctx, cancel := context.WithDeadline(f.ctx, clock.Now().Add(10*time.Second))
	defer cancel()
	w, err := f.pods.Watch(ctx, cache.WatchOptions{Prefix: pods, Bookmarks: true})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	began := clock.Now()
	if events := f.nextWhile(clock, w, 100*time.Millisecond); len(events) != 1 || events[0].Type != watch.Bookmark {
		t.Fatalf("got %v", describe(events))
	}
	if passed := clock.Since(began); passed < 8*time.Second || passed >= 10*time.Second {
		t.Fatalf("the bookmark came after %v of 10s", passed)
	}
}

func TestBookmarkOnDemandOnlyWhenAllIsRead(t *testing.T) {
	f := start(t, newStore(t))
	w := f.watch(cache.WatchOptions{After: cache.Consistent})
	f.create(pods + "ns/a")
	if _, err := f.pods.Get(f.ctx, pods+"ns/a", cache.Consistent); err != nil {
		t.Fatal(err)
	}
	if e, ok := w.Bookmark(); ok {
		t.Fatalf("bookmark %v with an event unread", e)
	}
}

// TestQuietTopicsDoNotExpire: what others do does not push an indexed watch off
// the log.
func TestQuietTopicsDoNotExpire(t *testing.T) {
	f := start(t, newStore(t), cache.WithEventLimit(10))
	quiet := []*cache.Watch{
		f.watch(cache.WatchOptions{Prefix: pods + "quiet/", After: cache.Consistent}),
		f.watch(cache.WatchOptions{After: cache.Consistent, Predicate: cache.Predicate{Fields: fields.OneTermEqualSelector("spec.nodeName", "n1")}}),
		f.watch(cache.WatchOptions{After: cache.Consistent, Predicate: cache.Predicate{Fields: fields.OneTermEqualSelector("metadata.name", "q")}}),
		f.watch(cache.WatchOptions{Prefix: pods + "quiet/", After: cache.Consistent, Predicate: cache.Predicate{Fields: fields.OneTermEqualSelector("metadata.name", "q")}}),
	}
	for i := range 50 {
		f.create(fmt.Sprintf("%sloud/p%d", pods, i))
	}
	rev := f.create(pods+"quiet/q", "node=n1")
	for _, w := range quiet {
		f.expect(w, fmt.Sprintf("ADDED quiet/q@%d", rev))
	}
}

func TestRemovedResourceEndsItsWatches(t *testing.T) {
	f := start(t, newStore(t))
	w := f.watch(cache.WatchOptions{After: cache.Consistent})
	f.cache.Remove(f.pods)
	if _, err := w.Next(f.ctx); !errors.Is(err, cache.ErrExpired) {
		t.Fatalf("got %v", err)
	}
}

func TestStoppedCacheEndsWatchesAndReads(t *testing.T) {
	store := newStore(t)
	c := cache.New(store, nil)
	r := c.Register(podConfig())
	stop := running(t, c)
	if err := r.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	w, err := r.Watch(t.Context(), cache.WatchOptions{Prefix: pods})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	stop()
	if _, err := w.Next(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("watch: %v", err)
	}
	if _, err := r.Get(t.Context(), pods+"ns/a", cache.Consistent); !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("get: %v", err)
	}
	if err := c.Run(t.Context()); err == nil {
		t.Fatal("a second Run was allowed")
	}
}

// TestWatchesThatWaitEnd ends what a watch waits under: the cache, the watch's
// context, or that of the call alone.
func TestWatchesThatWaitEnd(t *testing.T) {
	for name, want := range map[string]error{"cache": storage.ErrUnavailable, "watch": context.DeadlineExceeded, "call": context.DeadlineExceeded, "close": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := cache.New(newStore(t), nil)
				r := c.Register(podConfig())
				stop := sync.OnceFunc(running(t, c))
				defer stop()
				whole, call := t.Context(), t.Context()
				brief, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				switch name {
				case "watch":
					whole, call = brief, brief
				case "call":
					call = brief
				}
				w, err := r.Watch(whole, cache.WatchOptions{Prefix: pods})
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				var ended error
				go func() { _, ended = w.Next(call) }()
				synctest.Wait()
				switch name {
				case "cache":
					stop()
				case "close":
					w.Close()
				default:
					time.Sleep(2 * time.Second)
				}
				synctest.Wait()
				if !errors.Is(ended, want) {
					t.Errorf("the watch ended with %v, want %v", ended, want)
				}
			})
		})
	}
}

func TestLongInitialStateComesWhole(t *testing.T) {
	f := start(t, newStore(t))
	const objects = 1000
	for i := range objects {
		f.create(fmt.Sprintf("%sns/p%04d", pods, i))
	}
	w := f.watch(cache.WatchOptions{After: cache.Consistent, InitialEvents: true, Bookmarks: true})
	rev := f.create(pods + "ns/later")
	seen := map[string]int{}
	for n := 0; n < objects+2; {
		events, err := w.Next(f.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			n++
			switch {
			case e.InitialEventsEnd && n != objects+1:
				t.Fatalf("the initial events end after %d", n-1)
			case e.Object != nil:
				seen[e.Object.Key]++
			}
		}
	}
	if len(seen) != objects+1 || seen[pods+"ns/later"] != 1 {
		t.Fatalf("%d objects seen (the later one at %d: %d times)", len(seen), rev, seen[pods+"ns/later"])
	}
}
