package cache_test

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/storage/cache"
)

// counting is an encoder that counts, and makes as many bytes as it is told.
type counting struct {
	id    string
	size  int
	calls *atomic.Int64
	err   error
}

func (e counting) Encode(_ runtime.Object, w io.Writer) error {
	e.calls.Add(1)
	if e.err != nil {
		return e.err
	}
	_, err := w.Write(make([]byte, e.size))
	return err
}

func (e counting) Identifier() runtime.Identifier { return runtime.Identifier(e.id) }

func TestObjectsAreEncodedOncePerEncoder(t *testing.T) {
	f := start(t, newStore(t))
	f.create(pods + "ns/a")
	o, err := f.pods.Get(f.ctx, pods+"ns/a", cache.Consistent)
	if err != nil {
		t.Fatal(err)
	}
	calls := &atomic.Int64{}
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			encoder := counting{id: fmt.Sprint("encoder", i%2), size: 10 + i%2, calls: calls}
			data, err := o.Encoded(encoder)
			if err != nil || len(data) != encoder.size {
				t.Errorf("encoded %d bytes: %v", len(data), err)
			}
		})
	}
	group.Wait()
	if calls.Load() != 2 {
		t.Fatalf("encoded %d times, want 2", calls.Load())
	}
}

func TestWhatIsReplacedLeavesRoom(t *testing.T) {
	calls := &atomic.Int64{}
	f := start(t, newStore(t), cache.WithEncodingBudget(1000))
	encode := func(o *cache.Object) {
		t.Helper()
		if _, err := o.Encoded(counting{id: "encoder", size: 100, calls: calls}); err != nil {
			t.Fatal(err)
		}
	}
	rev := f.create(pods + "ns/a")
	first := f.get(pods + "ns/a")
	for range 20 {
		encode(f.get(pods + "ns/a"))
		rev = f.update(pods+"ns/a", rev)
		f.get(pods + "ns/a")
	}
	for i := range 9 {
		key := fmt.Sprint(pods, "ns/b", i)
		f.create(key)
		encode(f.get(key))
	}
	before := calls.Load()
	for i := range 9 {
		encode(f.get(fmt.Sprint(pods, "ns/b", i)))
	}
	if calls.Load() != before {
		t.Fatal("what was replaced takes the room of what is there")
	}
	encode(first)
	if calls.Load() != before+1 {
		t.Fatal("an encoding of what was replaced was kept")
	}
}

func TestFailedEncodingsAreTriedAgain(t *testing.T) {
	f := start(t, newStore(t))
	f.create(pods + "ns/a")
	o, err := f.pods.Get(f.ctx, pods+"ns/a", cache.Consistent)
	if err != nil {
		t.Fatal(err)
	}
	calls := &atomic.Int64{}
	broken := errors.New("broken")
	if _, err := o.Encoded(counting{id: "e", calls: calls, err: broken}); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	if data, err := o.Encoded(counting{id: "e", calls: calls, size: 3}); err != nil || len(data) != 3 {
		t.Fatalf("got %q %v", data, err)
	}
}

func TestEncodingsStayWithinTheirBudget(t *testing.T) {
	f := start(t, newStore(t), cache.WithEncodingBudget(1000))
	const objects = 30
	for i := range objects {
		f.create(fmt.Sprintf("%sns/p%02d", pods, i))
	}
	page, err := f.pods.List(f.ctx, cache.ListOptions{Prefix: pods, Revision: cache.Consistent})
	if err != nil {
		t.Fatal(err)
	}
	encodeAll := func() int64 {
		calls := &atomic.Int64{}
		for _, o := range page.Objects {
			if _, err := o.Encoded(counting{id: "e", size: 100, calls: calls}); err != nil {
				t.Fatal(err)
			}
		}
		return calls.Load()
	}
	if n := encodeAll(); n != objects {
		t.Fatalf("encoded %d of %d", n, objects)
	}
	if n := encodeAll(); n < objects-10 {
		t.Fatalf("encoded %d again: more than 10 of 100 bytes were kept", n)
	}
	// One that is used all the time outlives the others.
	calls := &atomic.Int64{}
	hot := page.Objects[0]
	for range 5 {
		for _, o := range page.Objects[1:] {
			_, _ = o.Encoded(counting{id: "e", size: 100, calls: &atomic.Int64{}})
			_, _ = hot.Encoded(counting{id: "e", size: 100, calls: calls})
		}
	}
	if calls.Load() > 1 {
		t.Fatalf("the busiest object was encoded %d times", calls.Load())
	}
	large := &atomic.Int64{}
	for range 2 {
		_, _ = hot.Encoded(counting{id: "large", size: 500, calls: large})
	}
	if large.Load() != 2 {
		t.Fatal("an encoding of half the budget was kept")
	}
}
