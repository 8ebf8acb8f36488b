package cache

import (
	"container/list"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// encodings bounds the bytes that all memos of a cache hold. It works as a
// clock: a hand goes round over the encodings and drops those that were not
// used since it last came by, so that a hit costs one atomic store and no
// shared lock.
type encodings struct {
	limit atomic.Int64

	mu   sync.Mutex
	size int64
	// ring has the *encoding values; hand is the next to be looked at, nil for
	// the front.
	ring list.List
	hand *list.Element
}

// memo keeps the encodings of one object or event. The zero value is ready;
// without a budget it keeps nothing.
type memo struct {
	budget *encodings

	// entries are few, and replaced as a whole: a hit takes no lock.
	entries atomic.Pointer[[]*encoding]
	mu      sync.Mutex
}

type encoding struct {
	owner *memo
	key   string
	used  atomic.Bool

	once  sync.Once
	bytes []byte
	err   error
	// element is the place in the budget's ring, nil before and after. The
	// budget's mu guards it.
	element *list.Element
}

var errEncoderPanicked = errors.New("encoder panicked")

// get returns the encoding for a key and builds it when it is not there. Who
// comes while it is being built waits and gets the same bytes. Errors are not
// kept.
func (m *memo) get(key string, build func() ([]byte, error)) ([]byte, error) {
	e := m.find(key)
	if e == nil {
		e = m.enter(key)
	}
	e.once.Do(func() {
		kept := false
		e.err = errEncoderPanicked
		defer func() {
			if !kept {
				m.drop(e)
			}
		}()
		e.bytes, e.err = build()
		kept = e.err == nil && m.budget != nil && m.budget.add(e)
	})
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.bytes, e.err
}

func (m *memo) find(key string) *encoding {
	entries := m.entries.Load()
	if entries == nil {
		return nil
	}
	for _, e := range *entries {
		if e.key == key {
			return e
		}
	}
	return nil
}

// enter finds or makes the entry for a key.
func (m *memo) enter(key string) *encoding {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.find(key); e != nil {
		return e
	}
	e := &encoding{owner: m, key: key}
	entries := []*encoding{e}
	if before := m.entries.Load(); before != nil {
		entries = append(entries, *before...)
	}
	m.entries.Store(&entries)
	return e
}

func (m *memo) drop(e *encoding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.entries.Load()
	if before == nil || !slices.Contains(*before, e) {
		return
	}
	entries := slices.DeleteFunc(slices.Clone(*before), func(other *encoding) bool { return other == e })
	m.entries.Store(&entries)
}

// add takes an encoding into the budget, or returns false when it alone would
// take more than an eighth of it.
func (b *encodings) add(e *encoding) bool {
	size := int64(len(e.bytes))
	limit := b.limit.Load()
	if size > limit/8 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.size += size
	for b.size > limit && b.ring.Len() > 0 {
		b.turn()
	}
	if b.hand != nil {
		e.element = b.ring.InsertBefore(e, b.hand)
	} else {
		e.element = b.ring.PushBack(e)
	}
	return true
}

// release forgets what is kept of a memo that few will ask again.
func (m *memo) release() {
	entries := m.entries.Load()
	if entries == nil || m.budget == nil {
		return
	}
	m.budget.mu.Lock()
	defer m.budget.mu.Unlock()
	for _, e := range *entries {
		if e.element != nil {
			m.budget.remove(e)
		}
	}
}

// remove takes an encoding out of the budget. The caller holds mu.
func (b *encodings) remove(e *encoding) {
	if b.hand == e.element {
		b.hand = e.element.Next()
	}
	b.ring.Remove(e.element)
	e.element = nil
	b.size -= int64(len(e.bytes))
	e.owner.drop(e)
}

// turn moves the hand by one and drops what it finds unused. After one round
// everything is unused, so add makes at most two.
func (b *encodings) turn() {
	at := b.hand
	if at == nil {
		at = b.ring.Front()
	}
	b.hand = at.Next()
	if e := at.Value.(*encoding); !e.used.Swap(false) {
		b.remove(e)
	}
}
