package cache

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/storage"
)

// content is what is kept of an object: the value that the store has, the object
// that was decoded of it, which takes several times the room, or both.
type content struct {
	value   []byte
	decoded runtime.Object
}

// Decoded returns the object decoded, which fails only where the rules to decode
// by have changed. It is kept until many others have been asked for, so that who asks again
// soon gets the same one. It is shared and must not be changed.
func (o *Object) Decoded() (runtime.Object, error) {
	before := o.content.Load()
	if before.decoded != nil {
		if before.value != nil && o.resource.keepsDecoded.Load() {
			o.content.CompareAndSwap(before, &content{decoded: before.decoded})
		}
		return before.decoded, nil
	}
	obj, err := o.decodeAgain(before.value)
	if err != nil {
		return nil, err
	}
	after := &content{value: before.value, decoded: obj}
	if o.resource.keepsDecoded.Load() {
		after.value = nil
	}
	if !o.content.CompareAndSwap(before, after) {
		if other := o.content.Load().decoded; other != nil {
			return other, nil
		}
		return obj, nil
	}
	o.resource.cache.recent.add(o)
	return obj, nil
}

// passing returns the object decoded for a reader who is soon done with it, as
// one who reads all objects is.
func (o *Object) passing() (runtime.Object, error) {
	f := o.content.Load()
	if f.decoded != nil || o.resource.keepsDecoded.Load() {
		return o.Decoded()
	}
	return o.decodeAgain(f.value)
}

func (o *Object) decodeAgain(value []byte) (runtime.Object, error) {
	return o.resource.decodeValue(storage.KV{Key: o.Key, Value: value, Revision: o.Revision})
}

// shrink lets go of the decoded object where it can be decoded again.
func (o *Object) shrink() {
	if f := o.content.Load(); f.value != nil && f.decoded != nil {
		o.content.CompareAndSwap(f, &content{value: f.value})
	}
}

// at returns a copy that claims another revision, for events in which an object
// is seen for the last time.
func (o *Object) at(revision int64) *Object {
	last := &Object{Key: o.Key, Revision: revision, Labels: o.Labels, Fields: o.Fields, resource: o.resource, stored: o.stored}
	last.encoded.budget = o.encoded.budget
	f := o.content.Load()
	if f.value != nil {
		last.content.Store(&content{value: f.value})
		return last
	}
	obj := f.decoded.DeepCopyObject()
	if metadata, err := meta.Accessor(obj); err == nil {
		metadata.SetResourceVersion(fmt.Sprint(revision))
	}
	last.content.Store(&content{decoded: obj})
	return last
}

// KeepDecoded has the resource's objects decoded from now on, and not their
// values: for resources all of whose objects somebody in the process keeps
// anyway, as informers do, or looks at all the time.
func (r *Resource) KeepDecoded() { r.keepsDecoded.Store(true) }

// decodeValue decodes a stored value.
func (r *Resource) decodeValue(kv storage.KV) (runtime.Object, error) {
	obj, err := r.config.Decode(kv)
	if err != nil {
		return nil, fmt.Errorf("decode %s at revision %d: %w", kv.Key, kv.Revision, err)
	}
	if metadata, ok := obj.(metav1.ObjectMetaAccessor); ok && r.keepsDecoded.Load() {
		r.cache.records.share(metadata.GetObjectMeta().GetManagedFields())
	}
	return obj, nil
}

// recent are the objects that are decoded although their values are kept: the
// ones that were asked for last.
type recent struct {
	// limit of the sum of their sizes in the store, in bytes.
	limit int

	mu   sync.Mutex
	size int
	// queue has the oldest first.
	queue []*Object
}

// recentLimit is some 1,000 pods, which take four times as much decoded.
const recentLimit = 2 << 20

// add takes an object in, and lets go of those that have been there for longest.
func (r *recent) add(o *Object) {
	if o.content.Load().value == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = append(r.queue, o)
	r.size += o.stored
	for r.size > r.limit {
		oldest := r.queue[0]
		r.queue[0] = nil
		r.queue = r.queue[1:]
		r.size -= oldest.stored
		oldest.shrink()
	}
}
