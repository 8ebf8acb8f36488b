package postgres

import (
	"fmt"
	"strings"
	"sync"

	"github.com/yare-io/yare/storage"
)

const (
	// ringEvents and ringBytes bound the recent events that are kept for
	// watches to begin with; twice as many are held at times.
	ringEvents = 8192
	ringBytes  = 16 << 20
)

// hub passes events, each once and in the order of revisions, to the watches
// that are up to date. It knows no database.
type hub struct {
	mu sync.Mutex
	// last is what has been passed on last.
	last point
	// ring has the latest events, one for each revision up to last.
	ring  []logged
	bytes int
	live  map[*watcher]struct{}
	// moved is closed, and replaced, when last has grown.
	moved chan struct{}
}

func newHub(at point) *hub {
	return &hub{last: at, live: make(map[*watcher]struct{}), moved: make(chan struct{})}
}

func (h *hub) position() point {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

func (h *hub) behind(revision int64) bool { return h.position().revision < revision }

// append passes on those of some events in a row that are new; false means that
// the log must be read, because events before them are missing or others were
// passed on.
func (h *hub) append(events []logged) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(events) > 0 && events[0].KV.Revision <= h.last.revision {
		if events[0].KV.Revision == h.last.revision && !h.last.same(events[0].batch) {
			return false
		}
		events = events[1:]
	}
	if len(events) == 0 {
		return true
	}
	if events[0].KV.Revision != h.last.revision+1 {
		return false
	}
	h.last = events[len(events)-1].point()
	h.keep(events)
	for w := range h.live {
		h.deliver(w, events)
	}
	close(h.moved)
	h.moved = make(chan struct{})
	return true
}

// keep adds events to the ring, and copies its newer half when it is full. The
// caller holds mu.
func (h *hub) keep(events []logged) {
	h.ring = append(h.ring, events...)
	for _, e := range events {
		h.bytes += len(e.KV.Value)
	}
	if len(h.ring) <= 2*ringEvents && h.bytes <= 2*ringBytes {
		return
	}
	first, bytes := len(h.ring), 0
	for first > 0 && len(h.ring)-first < ringEvents && bytes+len(h.ring[first-1].KV.Value) <= ringBytes {
		first--
		bytes += len(h.ring[first].KV.Value)
	}
	h.ring, h.bytes = append([]logged(nil), h.ring[first:]...), bytes
}

// join makes a watch live when the ring has all that it has not been told, and
// what it was told is not another history than the hub's.
func (h *hub) join(w *watcher, at point) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	missing := h.last.revision - at.revision
	kept := int64(len(h.ring))
	if missing < 0 || missing > kept || missing == 0 && !at.same(h.last.batch) || missing > 0 && missing < kept && !at.same(h.ring[kept-missing-1].batch) {
		return false
	}
	w.told = at.revision
	h.live[w] = struct{}{}
	if missing > 0 {
		h.deliver(w, h.ring[int64(len(h.ring))-missing:])
	}
	return true
}

// known is the point at a revision, as far as the hub remembers what it passed on.
func (h *hub) known(revision int64) point {
	h.mu.Lock()
	defer h.mu.Unlock()
	if back := h.last.revision - revision; back == 0 {
		return h.last
	} else if back > 0 && back < int64(len(h.ring)) {
		return h.ring[int64(len(h.ring))-1-back].point()
	}
	return point{revision: revision}
}

// leave ends the deliveries to a watch.
func (h *hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.live, w)
}

// deliver queues what a watch asked for among the latest events. The caller
// holds mu.
func (h *hub) deliver(w *watcher, events []logged) {
	batch := storage.Batch{Revision: h.last.revision}
	for _, e := range events {
		if e.KV.Revision > w.told && strings.HasPrefix(e.KV.Key, w.request.Prefix) {
			batch.Events = append(batch.Events, e.Event)
		}
	}
	if h.last.revision <= w.told || len(batch.Events) == 0 && (!w.request.Progress || len(w.batches) > 0) {
		return
	}
	select {
	case w.batches <- batch:
		w.told = h.last.revision
	default:
		h.cut(w, fmt.Errorf("%d batches unread: %w", len(w.batches), storage.ErrSlow))
	}
}

// progress tells all watches without anything to read how far the store has
// come, even when they know it: a sign of life.
func (h *hub) progress() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.live {
		if w.request.Progress && len(w.batches) == 0 && h.last.revision >= w.told {
			w.batches <- storage.Batch{Revision: h.last.revision}
			w.told = h.last.revision
		}
	}
}

// cut ends a watch for a reason. The caller holds mu.
func (h *hub) cut(w *watcher, reason error) {
	delete(h.live, w)
	w.cut <- reason
}

var errRewound = fmt.Errorf("the database has lost revisions that were seen here, as after a fail-over to a standby that lagged behind: %w", storage.ErrFutureRevision)

// restart goes on at a point that does not follow the last one, and so ends
// all watches for a reason.
func (h *hub) restart(at point, reason error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.live {
		h.cut(w, reason)
	}
	h.last, h.ring, h.bytes = at, nil, 0
	close(h.moved)
	h.moved = make(chan struct{})
}

// wait returns a channel that is closed once the hub is after a revision.
func (h *hub) wait(revision int64) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last.revision > revision {
		passed := make(chan struct{})
		close(passed)
		return passed
	}
	return h.moved
}
