package cache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
	"github.com/yare-io/yare/storage/memory"
)

const pods = "/registry/pods/"

func podConfig() cache.Config {
	return cache.Config{
		Prefix: pods,
		Decode: func(kv storage.KV) (runtime.Object, error) {
			pod := &corev1.Pod{}
			if err := json.Unmarshal(kv.Value, pod); err != nil {
				return nil, err
			}
			pod.ResourceVersion = strconv.FormatInt(kv.Revision, 10)
			return pod, nil
		},
		Fields: func(o runtime.Object) fields.Set {
			return fields.Set{"spec.nodeName": o.(*corev1.Pod).Spec.NodeName}
		},
		Indexed: []string{"spec.nodeName"},
	}
}

// pod encodes a pod; tweaks are "node=..." or "label=value".
func pod(key string, tweaks ...string) []byte {
	parts := strings.Split(strings.TrimPrefix(key, pods), "/")
	p := &corev1.Pod{}
	p.Namespace, p.Name = parts[0], parts[1]
	p.Labels = map[string]string{}
	for _, tweak := range tweaks {
		name, value, _ := strings.Cut(tweak, "=")
		if name == "node" {
			p.Spec.NodeName = value
		} else {
			p.Labels[name] = value
		}
	}
	data, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return data
}

type fixture struct {
	t     testing.TB
	ctx   context.Context
	store storage.Store
	cache *cache.Cache
	pods  *cache.Resource
}

// start runs a cache over a store until the test ends.
func start(t testing.TB, store storage.Store, options ...cache.Option) *fixture {
	t.Helper()
	c := cache.New(store, nil, options...)
	f := &fixture{t: t, store: store, cache: c, pods: c.Register(podConfig())}
	t.Cleanup(running(t, c))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	f.ctx = ctx
	if err := f.pods.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return f
}

// running runs a cache until the returned function is called.
func running(t testing.TB, c *cache.Cache) func() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func newStore(t testing.TB) *memory.Store {
	store := memory.New(memory.Config{})
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func (f *fixture) create(key string, tweaks ...string) int64 {
	f.t.Helper()
	rev, err := f.store.Create(f.ctx, key, pod(key, tweaks...), 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return rev
}

func (f *fixture) update(key string, at int64, tweaks ...string) int64 {
	f.t.Helper()
	rev, err := f.store.Update(f.ctx, key, pod(key, tweaks...), at, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return rev
}

func (f *fixture) remove(key string, at int64) int64 {
	f.t.Helper()
	rev, err := f.store.Delete(f.ctx, key, at)
	if err != nil {
		f.t.Fatal(err)
	}
	return rev
}

func (f *fixture) watch(o cache.WatchOptions) *cache.Watch {
	f.t.Helper()
	if o.Prefix == "" {
		o.Prefix = pods
	}
	w, err := f.pods.Watch(f.ctx, o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(w.Close)
	return w
}

func decoded(o *cache.Object) *corev1.Pod {
	obj, err := o.Decoded()
	if err != nil {
		panic(err)
	}
	return obj.(*corev1.Pod)
}

// describe renders events as "ADDED ns/name@revision".
func describe(events []cache.Event) []string {
	var out []string
	for _, e := range events {
		line := string(e.Type)
		if e.Object != nil {
			line += " " + strings.TrimPrefix(e.Object.Key, pods)
			if rv := decoded(e.Object).ResourceVersion; rv != strconv.FormatInt(e.Revision, 10) {
				line += " with resourceVersion " + rv
			}
		}
		if e.InitialEventsEnd {
			line += " end"
		}
		out = append(out, fmt.Sprintf("%s@%d", line, e.Revision))
	}
	return out
}

// expect reads as many events as are wanted and compares.
func (f *fixture) expect(w *cache.Watch, want ...string) []cache.Event {
	f.t.Helper()
	var got []cache.Event
	for len(got) < len(want) {
		events, err := w.Next(f.ctx)
		if err != nil {
			f.t.Fatalf("after %v: %v", describe(got), err)
		}
		got = append(got, events...)
	}
	if g, w := strings.Join(describe(got), "\n"), strings.Join(want, "\n"); g != w {
		f.t.Fatalf("events:\n%s\nwant:\n%s", g, w)
	}
	return got
}

func keys(page *cache.Page) string {
	var out []string
	for _, o := range page.Objects {
		out = append(out, strings.TrimPrefix(o.Key, pods))
	}
	return strings.Join(out, " ")
}

func TestConsistentReadsSeeEveryEarlierWrite(t *testing.T) {
	f := start(t, newStore(t))
	for i := range 200 {
		key := fmt.Sprintf("%sns/p%d", pods, i)
		rev := f.create(key)
		o, err := f.pods.Get(f.ctx, key, cache.Consistent)
		if err != nil || o.Revision != rev {
			t.Fatalf("get after create: %v %v", o, err)
		}
		page, err := f.pods.List(f.ctx, cache.ListOptions{Prefix: pods, Revision: cache.Consistent})
		if err != nil || len(page.Objects) != i+1 || page.Revision != rev {
			t.Fatalf("list after create: %v %v", page, err)
		}
	}
}

func TestGetOfAnAbsentKeyIsNotFound(t *testing.T) {
	f := start(t, newStore(t))
	if _, err := f.pods.Get(f.ctx, pods+"ns/none", cache.Consistent); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
}

func TestPagesReadOneRevisionWhileWritesGoOn(t *testing.T) {
	f := start(t, newStore(t))
	for i := range 10 {
		f.create(fmt.Sprintf("%sns/p%d", pods, i))
	}
	o := cache.ListOptions{Prefix: pods, Revision: cache.Consistent, Limit: 4}
	var seen []string
	for {
		page, err := f.pods.List(f.ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, keys(page))
		if left := int64(10 - 4*len(seen)); page.Remaining != max(left, 0) {
			t.Fatalf("remaining %d, want %d", page.Remaining, left)
		}
		if page.Next == "" {
			break
		}
		o.From, o.Revision, o.Exact = page.Next, page.Revision, true
		f.create(fmt.Sprintf("%sns/p9-%d", pods, len(seen)))
		if _, err := f.pods.Get(f.ctx, pods+"ns/p0", cache.Consistent); err != nil {
			t.Fatal(err)
		}
	}
	want := "ns/p0 ns/p1 ns/p2 ns/p3|ns/p4 ns/p5 ns/p6 ns/p7|ns/p8 ns/p9"
	if got := strings.Join(seen, "|"); got != want {
		t.Fatalf("got %s", got)
	}
}

func TestExactRevisionsAreServedFromTheLogAndTheStore(t *testing.T) {
	store := newStore(t)
	if _, err := store.Create(context.Background(), pods+"ns/old", pod(pods+"ns/old"), 0); err != nil {
		t.Fatal(err)
	}
	f := start(t, store)
	a := f.create(pods + "ns/a")
	b := f.update(pods+"ns/a", a, "x=1")
	c := f.remove(pods+"ns/a", b)
	for revision, want := range map[int64]string{1: "", 2: "ns/old", a: "ns/a ns/old", b: "ns/a ns/old", c: "ns/old"} {
		page, err := f.pods.List(f.ctx, cache.ListOptions{Prefix: pods, Revision: revision, Exact: true})
		if err != nil || keys(page) != want || page.Revision != revision {
			t.Fatalf("at %d: %v %v", revision, page, err)
		}
	}
	if err := store.Compact(f.ctx, c); err != nil {
		t.Fatal(err)
	}
	if _, err := f.pods.List(f.ctx, cache.ListOptions{Prefix: pods, Revision: 1, Exact: true}); !errors.Is(err, storage.ErrCompacted) {
		t.Fatalf("got %v", err)
	}
}

func TestWatchFollowsSelectors(t *testing.T) {
	f := start(t, newStore(t))
	selector := labels.SelectorFromSet(labels.Set{"app": "web"})
	w := f.watch(cache.WatchOptions{After: cache.Consistent, Predicate: cache.Predicate{Labels: selector}})
	a := f.create(pods + "ns/a")
	b := f.update(pods+"ns/a", a, "app=web")
	c := f.update(pods+"ns/a", b, "app=web", "x=1")
	d := f.update(pods+"ns/a", c, "app=db")
	e := f.update(pods+"ns/a", d, "app=web")
	g := f.remove(pods+"ns/a", e)
	got := f.expect(w,
		fmt.Sprintf("ADDED ns/a@%d", b), fmt.Sprintf("MODIFIED ns/a@%d", c), fmt.Sprintf("DELETED ns/a@%d", d),
		fmt.Sprintf("ADDED ns/a@%d", e), fmt.Sprintf("DELETED ns/a@%d", g))
	if last := decoded(got[2].Object).Labels; last["x"] != "1" || got[2].Object.Labels.Get("x") != "1" {
		t.Fatalf("the deleted event has %v, not the last selected content", last)
	}
}

func TestWatchOfAFieldSeesOnlyItsObjects(t *testing.T) {
	f := start(t, newStore(t))
	w := f.watch(cache.WatchOptions{After: cache.Consistent, Predicate: cache.Predicate{Fields: fields.OneTermEqualSelector("spec.nodeName", "n1")}})
	f.create(pods+"ns/other", "node=n2")
	a := f.create(pods + "ns/a")
	b := f.update(pods+"ns/a", a, "node=n1")
	c := f.update(pods+"ns/a", b, "node=n2")
	f.expect(w, fmt.Sprintf("ADDED ns/a@%d", b), fmt.Sprintf("DELETED ns/a@%d", c))
}

func TestInitialEventsThenBookmarkThenChanges(t *testing.T) {
	f := start(t, newStore(t))
	a := f.create(pods + "ns/a")
	b := f.create(pods + "ns/b")
	w := f.watch(cache.WatchOptions{After: cache.Consistent, InitialEvents: true, Bookmarks: true})
	c := f.create(pods + "ns/c")
	f.expect(w, fmt.Sprintf("ADDED ns/a@%d", a), fmt.Sprintf("ADDED ns/b@%d", b),
		fmt.Sprintf("BOOKMARK end@%d", b), fmt.Sprintf("ADDED ns/c@%d", c))
}

func TestWatchFromBeforeTheLogExpires(t *testing.T) {
	f := start(t, newStore(t), cache.WithEventLimit(2))
	a := f.create(pods + "ns/a")
	for i := range 3 {
		f.create(fmt.Sprintf("%sns/p%d", pods, i))
	}
	if _, err := f.pods.Get(f.ctx, pods+"ns/p2", cache.Consistent); err != nil {
		t.Fatal(err)
	}
	if _, err := f.pods.Watch(f.ctx, cache.WatchOptions{Prefix: pods, After: a}); !errors.Is(err, cache.ErrExpired) {
		t.Fatalf("got %v", err)
	}
}

func TestSlowWatchExpires(t *testing.T) {
	f := start(t, newStore(t), cache.WithEventLimit(2))
	w := f.watch(cache.WatchOptions{After: cache.Consistent})
	for i := range 4 {
		f.create(fmt.Sprintf("%sns/p%d", pods, i))
	}
	if _, err := f.pods.Get(f.ctx, pods+"ns/p3", cache.Consistent); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(f.ctx); !errors.Is(err, cache.ErrExpired) {
		t.Fatalf("got %v", err)
	}
}

func TestResourceRegisteredWhileRunning(t *testing.T) {
	f := start(t, newStore(t))
	a := f.create(pods + "ns/a")
	again := f.cache.Register(podConfig())
	o, err := again.Get(f.ctx, pods+"ns/a", cache.Consistent)
	if err != nil || o.Revision != a {
		t.Fatalf("got %v %v", o, err)
	}
	f.cache.Remove(again)
	if _, err := again.Get(f.ctx, pods+"ns/a", 0); !errors.Is(err, cache.ErrExpired) {
		t.Fatalf("after removal: %v", err)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	f := start(t, newStore(t))
	ctx, cancel := context.WithCancel(f.ctx)
	w, err := f.pods.Watch(ctx, cache.WatchOptions{Prefix: pods})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := w.Next(f.ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestEventTypesAreThoseOfTheAPI(t *testing.T) {
	f := start(t, newStore(t))
	w := f.watch(cache.WatchOptions{After: cache.Consistent})
	f.create(pods + "ns/a")
	events, err := w.Next(f.ctx)
	if err != nil || events[0].Type != watch.Added {
		t.Fatalf("got %v %v", events, err)
	}
	calls := 0
	for range 3 {
		frame, err := events[0].Frame("json", func() ([]byte, error) { calls++; return []byte("{}"), nil })
		if err != nil || string(frame) != "{}" {
			t.Fatalf("got %q %v", frame, err)
		}
	}
	if calls != 1 {
		t.Fatalf("built %d times", calls)
	}
}
