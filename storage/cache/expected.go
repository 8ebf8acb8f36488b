package cache

import (
	"bytes"
	"slices"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/storage"
)

// expectations are objects whose events are on their way from the store, or
// will be.
type expectations struct {
	mu    sync.Mutex
	byKey map[string][]*Expected
	// written are those whose events have not come yet, oldest first.
	written []*Expected
}

// mostWritten bounds what waits for events: the feed is never that far behind
// writers unless something is wrong.
const mostWritten = 512

// Expected is an object that is being written.
type Expected struct {
	resource *Resource
	key      string
	value    []byte
	obj      runtime.Object
	// revision at which it was written, 0 while nobody knows. The lock is that
	// of expectations.
	revision int64
}

// Expect tells the cache that obj is about to be stored as value, so that it
// need not be decoded when its event comes, which may be before the writer
// hears of it. obj must be what Decode would return for value, but for its
// resourceVersion. Nobody may change it any more, nor read its resourceVersion
// before Written. Written or Forget must be called.
func (r *Resource) Expect(key string, value []byte, obj runtime.Object) *Expected {
	if metadata, ok := obj.(metav1.ObjectMetaAccessor); ok {
		r.cache.records.share(metadata.GetObjectMeta().GetManagedFields())
	}
	e := &Expected{resource: r, key: key, value: value, obj: obj}
	x := &r.expected
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.byKey == nil {
		x.byKey = make(map[string][]*Expected)
	}
	x.byKey[key] = append(x.byKey[key], e)
	return e
}

// Written says at which revision the object was stored, and returns it with its
// resourceVersion. Until its event comes the cache keeps it.
func (e *Expected) Written(revision int64) runtime.Object {
	x := &e.resource.expected
	x.mu.Lock()
	defer x.mu.Unlock()
	if !e.settle(revision) {
		// An equal value of somebody else was taken for this one.
		obj := e.obj.DeepCopyObject()
		setVersion(obj, revision)
		return obj
	}
	if !slices.Contains(x.byKey[e.key], e) {
		return e.obj
	}
	if revision <= e.resource.cache.revision.Load() {
		x.remove(e) // the feed has passed
		return e.obj
	}
	if x.written = append(x.written, e); len(x.written) > mostWritten {
		x.remove(x.written[0])
	}
	return e.obj
}

// Forget says that the object was not stored, or that nobody knows. It does
// nothing to a nil Expected.
func (e *Expected) Forget() {
	if e == nil {
		return
	}
	x := &e.resource.expected
	x.mu.Lock()
	defer x.mu.Unlock()
	x.remove(e)
}

// settle sets the resourceVersion, and reports whether it is that of revision.
func (e *Expected) settle(revision int64) bool {
	if e.revision == 0 {
		e.revision = revision
		setVersion(e.obj, revision)
	}
	return e.revision == revision
}

func setVersion(obj runtime.Object, revision int64) {
	if metadata, err := meta.Accessor(obj); err == nil {
		metadata.SetResourceVersion(strconv.FormatInt(revision, 10))
	}
}

func (x *expectations) remove(e *Expected) {
	same := func(other *Expected) bool { return other == e }
	if left := slices.DeleteFunc(x.byKey[e.key], same); len(left) > 0 {
		x.byKey[e.key] = left
	} else {
		delete(x.byKey, e.key)
	}
	x.written = slices.DeleteFunc(x.written, same)
}

// take returns the object that was expected for a written value, nil if there
// is none.
func (x *expectations) take(kv storage.KV) runtime.Object {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range x.byKey[kv.Key] {
		if bytes.Equal(e.value, kv.Value) && e.settle(kv.Revision) {
			x.remove(e)
			return e.obj
		}
	}
	return nil
}

// fromEvent makes an Object of a written value, which is likely to be sent to
// watches soon.
func (r *Resource) fromEvent(kv storage.KV) (o *Object, err error) {
	if obj := r.expected.take(kv); obj != nil {
		o, err = r.newObject(kv, obj)
	} else {
		o, err = r.decode(kv)
	}
	if err == nil {
		r.cache.recent.add(o)
	}
	return o, err
}
