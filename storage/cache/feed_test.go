package cache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	testclock "k8s.io/utils/clock/testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
)

// flaky is a store whose watches can be cut and kept from starting again, and
// whose content can be exchanged, as by restoring a backup.
type flaky struct {
	mu sync.Mutex
	storage.Store
	blocked bool
	cancels []context.CancelFunc
	watches []storage.Watcher
}

func (f *flaky) inner() storage.Store {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Store
}

func (f *flaky) Get(ctx context.Context, key string) (storage.KV, error) {
	return f.inner().Get(ctx, key)
}

func (f *flaky) List(ctx context.Context, req storage.ListRequest) (storage.ListResult, error) {
	return f.inner().List(ctx, req)
}

func (f *flaky) Revision(ctx context.Context) (int64, error) { return f.inner().Revision(ctx) }

func (f *flaky) Watch(ctx context.Context, req storage.WatchRequest) (storage.Watcher, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blocked {
		return nil, storage.ErrUnavailable
	}
	ctx, cancel := context.WithCancel(ctx)
	w, err := f.Store.Watch(ctx, req)
	if err != nil {
		cancel()
		return nil, err
	}
	f.cancels, f.watches = append(f.cancels, cancel), append(f.watches, w)
	return w, nil
}

// cut ends the running watches and returns once they deliver nothing more; new
// ones fail until restore.
func (f *flaky) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blocked = true
	for _, cancel := range f.cancels {
		cancel()
	}
	for _, w := range f.watches {
		for w.Err() == nil {
			runtime.Gosched()
		}
	}
	f.cancels, f.watches = nil, nil
}

func (f *flaky) restore() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blocked = false
}

func TestFeedIsTakenUpWhereItWasCut(t *testing.T) {
	store := &flaky{Store: newStore(t)}
	f := start(t, store)
	w := f.watch(cache.WatchOptions{After: cache.Consistent})
	a := f.create(pods + "ns/a")
	f.expect(w, fmt.Sprintf("ADDED ns/a@%d", a))
	store.cut()
	b := f.update(pods+"ns/a", a, "x=1")
	c := f.remove(pods+"ns/a", b)
	d := f.create(pods + "ns/a")
	store.restore()
	f.expect(w, fmt.Sprintf("MODIFIED ns/a@%d", b), fmt.Sprintf("DELETED ns/a@%d", c), fmt.Sprintf("ADDED ns/a@%d", d))
}

func TestCompactedFeedIsListedAgainUnderLiveWatches(t *testing.T) {
	store := &flaky{Store: newStore(t)}
	f := start(t, store)
	changed, gone, same := f.create(pods+"ns/changed"), f.create(pods+"ns/gone"), f.create(pods+"ns/same")
	w := f.watch(cache.WatchOptions{After: same})
	if _, err := f.pods.Get(f.ctx, pods+"ns/same", cache.Consistent); err != nil {
		t.Fatal(err)
	}
	store.cut()
	f.remove(pods+"ns/gone", gone)
	added := f.create(pods + "ns/added")
	changed = f.update(pods+"ns/changed", changed, "x=1")
	f.remove(pods+"ns/short", f.create(pods+"ns/short"))
	end := f.create(pods + "ns/end")
	if err := f.store.Compact(f.ctx, end); err != nil {
		t.Fatal(err)
	}
	store.restore()
	f.expect(w, fmt.Sprintf("ADDED ns/added@%d", added), fmt.Sprintf("MODIFIED ns/changed@%d", changed),
		fmt.Sprintf("ADDED ns/end@%d", end), fmt.Sprintf("DELETED ns/gone@%d", end))
	later := f.update(pods+"ns/same", same, "x=1")
	f.expect(w, fmt.Sprintf("MODIFIED ns/same@%d", later))
	if _, err := f.pods.Watch(f.ctx, cache.WatchOptions{Prefix: pods, After: added}); !errors.Is(err, cache.ErrExpired) {
		t.Fatalf("watch from within the gap: %v", err)
	}
	page, err := f.pods.List(f.ctx, cache.ListOptions{Prefix: pods, Revision: cache.Consistent})
	if err != nil || keys(page) != "ns/added ns/changed ns/end ns/same" {
		t.Fatalf("list: %v %v", page, err)
	}
}

func TestStoreThatGoesBackInTimeStartsOver(t *testing.T) {
	store := &flaky{Store: newStore(t)}
	f := start(t, store)
	for i := range 5 {
		f.create(fmt.Sprintf("%sns/p%d", pods, i))
	}
	w := f.watch(cache.WatchOptions{After: cache.Consistent})
	store.cut()
	backup := newStore(t)
	if _, err := backup.Create(f.ctx, pods+"ns/restored", pod(pods+"ns/restored"), 0); err != nil {
		t.Fatal(err)
	}
	store.mu.Lock()
	store.Store = backup
	store.mu.Unlock()
	store.restore()
	if _, err := w.Next(f.ctx); !errors.Is(err, cache.ErrExpired) {
		t.Fatalf("watch of the lost history: %v", err)
	}
	if err := f.pods.WaitReady(f.ctx); err != nil {
		t.Fatal(err)
	}
	page, err := f.pods.List(f.ctx, cache.ListOptions{Prefix: pods, Revision: cache.Consistent})
	if err != nil || keys(page) != "ns/restored" || page.Revision != 2 {
		t.Fatalf("list: %v %v", page, err)
	}
}

func TestConsistentReadsGoToTheStoreWhileTheFeedIsBehind(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	store := &flaky{Store: newStore(t)}
	f := start(t, store, cache.WithClock(clock))
	f.create(pods + "ns/a")
	if _, err := f.pods.Get(f.ctx, pods+"ns/a", cache.Consistent); err != nil {
		t.Fatal(err)
	}
	store.cut()
	rev := f.create(pods + "ns/b")
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
				clock.Step(100 * time.Millisecond)
			}
		}
	})
	defer group.Wait()
	defer close(stop)
	o, err := f.pods.Get(f.ctx, pods+"ns/b", cache.Consistent)
	if err != nil || o.Revision != rev {
		t.Fatalf("get: %v %v", o, err)
	}
	page, err := f.pods.List(f.ctx, cache.ListOptions{Prefix: pods, Revision: cache.Consistent, Limit: 1})
	if err != nil || keys(page) != "ns/a" || page.Next != pods+"ns/b" || page.Remaining != 1 || page.Revision != rev {
		t.Fatalf("list: %+v %v", page, err)
	}
	if page, err = f.pods.List(f.ctx, cache.ListOptions{Prefix: pods}); err != nil || keys(page) != "ns/a" {
		t.Fatalf("list of what the cache has: %+v %v", page, err)
	}
	if _, err := f.pods.Get(f.ctx, pods+"ns/b", rev); !errors.Is(err, storage.ErrFutureRevision) {
		t.Fatalf("get at a revision not reached: %v", err)
	}
	if _, err := f.pods.Watch(f.ctx, cache.WatchOptions{Prefix: pods, After: rev}); !errors.Is(err, storage.ErrFutureRevision) {
		t.Fatalf("watch from a revision not reached: %v", err)
	}
}

func TestUndecodableObjectsFailReadsAndAreNotDeletions(t *testing.T) {
	f := start(t, newStore(t))
	a := f.create(pods + "ns/a")
	f.create(pods + "other/b")
	w := f.watch(cache.WatchOptions{After: cache.Consistent})
	broken, err := f.store.Update(f.ctx, pods+"ns/a", []byte("{broken"), a, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.pods.Get(f.ctx, pods+"ns/a", cache.Consistent); err == nil || errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("get: %v", err)
	}
	if _, err := f.pods.List(f.ctx, cache.ListOptions{Prefix: pods}); err == nil {
		t.Fatal("a list without the object was called whole")
	}
	if page, err := f.pods.List(f.ctx, cache.ListOptions{Prefix: pods + "other/"}); err != nil || keys(page) != "other/b" {
		t.Fatalf("list of another folder: %v %v", page, err)
	}
	mended := f.update(pods+"ns/a", broken, "x=1")
	f.expect(w, fmt.Sprintf("MODIFIED ns/a@%d", mended))
	if _, err := f.pods.List(f.ctx, cache.ListOptions{Prefix: pods}); err != nil {
		t.Fatal(err)
	}
}

func TestKeysThatExpireTogetherAllGo(t *testing.T) {
	f := start(t, newStore(t))
	for i := range 3 {
		key := fmt.Sprintf("%sns/p%d", pods, i)
		if _, err := f.store.Create(f.ctx, key, pod(key), 300*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	w := f.watch(cache.WatchOptions{InitialEvents: true, After: cache.Consistent})
	types := map[string]int{}
	for n := 0; n < 6; {
		events, err := w.Next(f.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			types[string(e.Type)]++
			n++
		}
	}
	if types["ADDED"] != 3 || types["DELETED"] != 3 {
		t.Fatalf("events %v", types)
	}
}

// An object that is expected is not decoded, whether its event comes before or
// after its writer hears of it.
func TestExpectedObjectsAreNotDecoded(t *testing.T) {
	f := start(t, newStore(t))
	write := func(name string) (string, []byte, *corev1.Pod) {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}}
		value, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		return pods + "ns/" + name, value, pod
	}
	get := func(key string) *corev1.Pod {
		o, err := f.pods.Get(f.ctx, key, cache.Consistent)
		if err != nil {
			t.Fatal(err)
		}
		return decoded(o)
	}
	store := func(key string, value []byte) int64 {
		revision, err := f.store.Create(f.ctx, key, value, 0)
		if err != nil {
			t.Fatal(err)
		}
		return revision
	}

	key, value, first := write("first")
	expected := f.pods.Expect(key, value, first)
	revision := store(key, value)
	if get(key) != first || expected.Written(revision) != apiruntime.Object(first) {
		t.Error("the event came first, and was decoded")
	}
	if first.ResourceVersion != fmt.Sprint(revision) {
		t.Errorf("version %s, not %d", first.ResourceVersion, revision)
	}

	key, value, other := write("other")
	expected = f.pods.Expect(key, []byte("another value"), other)
	store(key, value)
	if get(key) == other {
		t.Error("what was written is not what was expected")
	}
	expected.Forget()

	key, value, gone := write("gone")
	f.pods.Expect(key, value, gone).Forget()
	store(key, value)
	if get(key) == gone {
		t.Error("what was forgotten is there")
	}

	key, value, twice := write("twice")
	expected = f.pods.Expect(key, value, twice)
	revision = store(key, value)
	get(key)
	if later := expected.Written(revision + 1); later == apiruntime.Object(twice) || twice.ResourceVersion != fmt.Sprint(revision) {
		t.Error("one object has two versions")
	}
	for i := range 2000 { // events that never come
		key, value, pod := write(fmt.Sprintf("never%d", i%100))
		f.pods.Expect(key, value, pod).Written(revision + 1000 + int64(i))
	}
}

// An object whose writer hears of it before its event comes is not decoded.
func TestWrittenObjectsAreNotDecoded(t *testing.T) {
	flaky := &flaky{Store: newStore(t)}
	f := start(t, flaky)
	flaky.cut()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a"}}
	value, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	expected := f.pods.Expect(pods+"ns/a", value, pod)
	revision, err := f.store.Create(f.ctx, pods+"ns/a", value, 0)
	if err != nil {
		t.Fatal(err)
	}
	if expected.Written(revision) != apiruntime.Object(pod) || pod.ResourceVersion != fmt.Sprint(revision) {
		t.Errorf("version %s, not %d", pod.ResourceVersion, revision)
	}
	flaky.restore()
	if o, err := f.pods.Get(f.ctx, pods+"ns/a", cache.Consistent); err != nil || decoded(o) != pod {
		t.Errorf("got %v %v", o, err)
	}
}
