package cache_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
)

// decodes counts how often a resource of pods decodes.
func decodes(t testing.TB, store storage.Store) (*fixture, *atomic.Int64) {
	t.Helper()
	count := &atomic.Int64{}
	config := podConfig()
	decode := config.Decode
	config.Decode = func(kv storage.KV) (runtime.Object, error) {
		count.Add(1)
		return decode(kv)
	}
	c := cache.New(store, nil)
	f := &fixture{t: t, store: store, cache: c, pods: c.Register(config)}
	t.Cleanup(running(t, c))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	f.ctx = ctx
	if err := f.pods.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return f, count
}

// crowd makes more objects than stay decoded, each of 300 KB.
func (f *fixture) crowd(name string) {
	f.t.Helper()
	for i := range 10 {
		f.create(fmt.Sprintf("%scrowd/%s%d", pods, name, i), "x="+strings.Repeat("x", 300<<10))
	}
}

func (f *fixture) get(key string) *cache.Object {
	f.t.Helper()
	o, err := f.pods.Get(f.ctx, key, cache.Consistent)
	if err != nil {
		f.t.Fatal(err)
	}
	return o
}

func TestObjectsAreDecodedWhenTheyAreAskedForAgain(t *testing.T) {
	f, count := decodes(t, newStore(t))
	rev := f.create(pods+"ns/a", "app=web", "node=n1")
	o := f.get(pods + "ns/a")
	decoded(o)
	if count.Load() != 1 {
		t.Fatalf("decoded %d times although it was just written", count.Load())
	}
	f.crowd("one")
	f.get(pods + "crowd/one9")
	before := count.Load()
	for range 3 {
		if p := decoded(o); p.Name != "a" || p.Labels["app"] != "web" || p.ResourceVersion != fmt.Sprint(rev) {
			t.Fatalf("decoded %v", p)
		}
	}
	if n := count.Load() - before; n != 1 {
		t.Fatalf("decoded %d times, want once", n)
	}
	if o.Labels.Get("app") != "web" || o.Labels.Has("other") || o.Fields.Get("spec.nodeName") != "n1" || o.Fields.Get("metadata.name") != "a" {
		t.Fatalf("labels %v, fields %v", o.Labels, o.Fields)
	}
	if !labels.SelectorFromSet(labels.Set{"app": "web"}).Matches(o.Labels) || labels.SelectorFromSet(labels.Set{"app": "db"}).Matches(o.Labels) {
		t.Fatal("selectors do not know the labels")
	}
}

func TestWhoReadsAllLeavesThemUndecoded(t *testing.T) {
	f, count := decodes(t, newStore(t))
	f.create(pods + "ns/a")
	o := f.get(pods + "ns/a")
	f.crowd("one")
	f.get(pods + "crowd/one9")
	before := count.Load()
	for i := range 3 {
		if _, err := o.Encoded(counting{id: fmt.Sprint(i), size: 1, calls: &atomic.Int64{}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := count.Load() - before; n != 3 {
		t.Fatalf("decoded %d times for three encodings", n)
	}
}

func TestObjectsStayDecodedWhereTheyAreTo(t *testing.T) {
	f, count := decodes(t, newStore(t))
	f.create(pods + "ns/a")
	o := f.get(pods + "ns/a")
	f.crowd("one")
	f.get(pods + "crowd/one9")
	f.pods.KeepDecoded()
	kept := decoded(o)
	b := f.create(pods + "ns/b")
	other := decoded(f.get(pods + "ns/b"))
	f.crowd("two")
	f.get(pods + "crowd/two9")
	before := count.Load()
	if decoded(o) != kept || decoded(f.get(pods+"ns/b")) != other || count.Load() != before {
		t.Fatal("an object was decoded again")
	}
	w := f.watch(cache.WatchOptions{After: cache.Consistent})
	gone := f.remove(pods+"ns/b", b)
	f.expect(w, fmt.Sprintf("DELETED ns/b@%d", gone))
	if other.ResourceVersion != fmt.Sprint(b) {
		t.Fatalf("the last state has become that of its end, %s", other.ResourceVersion)
	}
}

// naming is an encoder that writes an object's name.
type naming struct{}

func (naming) Encode(obj runtime.Object, w io.Writer) error {
	_, err := io.WriteString(w, obj.(*corev1.Pod).Name)
	return err
}

func (naming) Identifier() runtime.Identifier { return "naming" }

func TestObjectsAreDecodedByManyAtOnce(t *testing.T) {
	f, _ := decodes(t, newStore(t))
	f.create(pods + "ns/a")
	o := f.get(pods + "ns/a")
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for range 50 {
				if name, err := o.Encoded(naming{}); err != nil || string(name) != "a" {
					t.Errorf("encoded %q: %v", name, err)
				}
				if obj, err := o.Decoded(); err != nil || obj.(*corev1.Pod).Name != "a" {
					t.Errorf("decoded %v: %v", obj, err)
				}
			}
		})
		f.crowd(fmt.Sprint("at once", i))
	}
	f.pods.KeepDecoded()
	group.Wait()
	kept := decoded(o)
	f.crowd("after")
	if decoded(o) != kept {
		t.Error("an object was decoded again")
	}
}
