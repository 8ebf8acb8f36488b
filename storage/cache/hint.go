package cache

import (
	"sync"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/storage"
)

// hints are objects whose events are on their way from the store.
type hints struct {
	mu     sync.Mutex
	byKey  map[hintKey]runtime.Object
	oldest []hintKey
}

type hintKey struct {
	key      string
	revision int64
}

// mostHints bounds what waits for events: the feed is never that far behind a
// writer unless something is wrong.
const mostHints = 512

// Hint gives the cache an object that was just written, so that it need not be
// decoded when its event comes. obj must be what Decode would return for it,
// its resourceVersion included, and must not be changed any more. A hint that
// comes after the event does nothing.
func (r *Resource) Hint(key string, revision int64, obj runtime.Object) {
	if revision <= r.cache.revision.Load() {
		return
	}
	h := &r.hints
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byKey == nil {
		h.byKey = make(map[hintKey]runtime.Object)
	}
	k := hintKey{key, revision}
	h.byKey[k] = obj
	h.oldest = append(h.oldest, k)
	// A hint that missed its event waits here until others push it out.
	if len(h.oldest) > mostHints {
		delete(h.byKey, h.oldest[0])
		h.oldest = h.oldest[1:]
	}
}

func (h *hints) take(key string, revision int64) runtime.Object {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := hintKey{key, revision}
	obj := h.byKey[k]
	delete(h.byKey, k)
	return obj
}

// fromEvent makes an Object of a written value, which is likely to be sent to
// watches soon.
func (r *Resource) fromEvent(kv storage.KV) (o *Object, err error) {
	if obj := r.hints.take(kv.Key, kv.Revision); obj != nil {
		o, err = r.newObject(kv, obj)
	} else {
		o, err = r.decode(kv)
	}
	if err == nil {
		r.cache.recent.add(o)
	}
	return o, err
}
