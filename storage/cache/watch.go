package cache

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

// WatchOptions says what to watch.
type WatchOptions struct {
	// Prefix of the keys: the resource's, or a folder below it.
	Prefix string
	// After is the revision whose successors are delivered; Consistent for the
	// store's current one, 0 for the cache's. With InitialEvents it is the
	// revision that the initial state must not be older than.
	After int64
	// Predicate selects the objects. One that comes to be selected is Added,
	// one that ceases to be is Deleted.
	Predicate Predicate
	// Bookmarks asks for events that say how far the watch has come: about
	// every minute, shortly before the deadline of the watch's context, and,
	// marked, after the initial events.
	Bookmarks bool
	// InitialEvents begins the watch with an Added event for each object.
	InitialEvents bool
}

// Event is one event of a watch.
type Event struct {
	Type watch.EventType
	// Object is nil for bookmarks; for Deleted it is the last that the watch
	// selected, at the revision of the event.
	Object   *Object
	Revision int64
	// Initial: the object was there when the watch began.
	Initial bool
	// InitialEventsEnd marks the bookmark after the initial events.
	InitialEventsEnd bool
}

// Frame returns the event as it goes over the wire in the form that key names,
// the event's type included. Frames are kept, and shared by all watches: build is called once,
// however many ask at the same time. The bytes must not be changed.
func (e *Event) Frame(key string, build func() ([]byte, error)) ([]byte, error) {
	if e.Object == nil {
		return build()
	}
	return e.Object.encoded.get(key, build)
}

// Watch is a cursor over the changes of a resource. Next must not be called
// concurrently with itself; all else may be.
type Watch struct {
	resource *Resource
	options  WatchOptions
	deadline time.Time
	closed   chan struct{}
	// done is that of the watch's context, which closes closed.
	done    <-chan struct{}
	once    sync.Once
	release func() bool
	epoch   int

	key   topicKey
	topic *topic
	// position of the next change in the topic.
	position int64
	// initial is the state still to be told, from initialFrom on.
	initial     *snapshot
	initialFrom string
	bookmarkAt  time.Time
}

const (
	bookmarkInterval = time.Minute
	// beforeDeadline is how long before its end a watch gets a last bookmark.
	beforeDeadline = 2 * time.Second
	// batchSize is how many changes are looked at in one go.
	batchSize = 256
)

// Watch starts a watch, which ends with ctx or Close. It fails with ErrExpired
// when changes after the revision are no longer kept, and with
// storage.ErrFutureRevision when it is not reached within some seconds.
func (r *Resource) Watch(ctx context.Context, o WatchOptions) (*Watch, error) {
	reached, err := r.reach(ctx, o.After)
	if err != nil {
		return nil, err
	}
	if !reached {
		return nil, fmt.Errorf("watch %s: %w", o.Prefix, errBehind)
	}
	w := &Watch{resource: r, options: o, closed: make(chan struct{}), done: ctx.Done(), key: r.topicFor(o.Prefix, o.Predicate)}
	w.deadline, _ = ctx.Deadline()
	if err := w.attach(); err != nil {
		return nil, err
	}
	w.scheduleBookmark()
	w.release = context.AfterFunc(ctx, w.end)
	return w, nil
}

// attach puts the cursor in its place.
func (w *Watch) attach() error {
	r := w.resource
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.usable(); err != nil {
		return err
	}
	w.epoch = r.epoch
	after := w.options.After
	if w.options.InitialEvents || after <= 0 {
		now := r.current()
		after = now.revision
		if w.options.InitialEvents {
			w.initial, w.initialFrom = &now, w.options.Prefix
		}
	}
	if after < r.floor {
		return fmt.Errorf("watch %s after revision %d, the oldest is %d: %w", w.options.Prefix, after, r.floor, ErrExpired)
	}
	w.topic = r.subscribe(w.key, after)
	w.position = w.topic.after(after)
	return nil
}

// Close ends the watch. It may be called more than once.
func (w *Watch) Close() {
	w.release()
	w.end()
}

func (w *Watch) end() {
	w.once.Do(func() {
		close(w.closed)
		r := w.resource
		r.mu.Lock()
		defer r.mu.Unlock()
		r.unsubscribe(w.key, w.topic)
	})
}

// Next blocks until there are events and returns them in order. It fails with
// ErrExpired when the watch was too slow or its resource is gone, with the
// context's error, or with context.Canceled after Close.
func (w *Watch) Next(ctx context.Context) ([]Event, error) {
	for {
		select {
		case <-w.closed:
			return nil, cmp.Or(ctx.Err(), context.Canceled)
		default:
		}
		if w.initial != nil {
			events, err := w.nextInitial(ctx)
			if err != nil {
				return nil, err
			}
			if len(events) > 0 {
				return events, nil
			}
		}
		changes, revision, changed, err := w.read()
		if err != nil {
			return nil, err
		}
		events, err := w.events(ctx, changes)
		if err != nil {
			return nil, err
		}
		if len(events) > 0 {
			return events, nil
		}
		if len(changes) > 0 {
			continue
		}
		due, err := w.sleep(ctx, changed)
		if err != nil {
			return nil, err
		}
		if due {
			w.scheduleBookmark()
			return []Event{{Type: watch.Bookmark, Revision: revision}}, nil
		}
	}
}

// Bookmark says how far the watch has come, if it has read all there is: for a
// caller that ends a watch of its own accord.
func (w *Watch) Bookmark() (Event, bool) {
	r := w.resource
	r.mu.RLock()
	defer r.mu.RUnlock()
	done := w.initial == nil && w.position == w.topic.end() && w.epoch == r.epoch
	return Event{Type: watch.Bookmark, Revision: r.revision()}, done
}

// nextInitial tells a part of the initial state, and its end.
func (w *Watch) nextInitial(ctx context.Context) ([]Event, error) {
	page, err := w.initial.page(ctx, ListOptions{
		Prefix:    w.options.Prefix,
		From:      w.initialFrom,
		Limit:     batchSize,
		Predicate: w.options.Predicate,
	}, false)
	if err != nil {
		return nil, err
	}
	events := make([]Event, 0, len(page.Objects)+1)
	for _, o := range page.Objects {
		events = append(events, Event{Type: watch.Added, Object: o, Revision: o.Revision, Initial: true})
	}
	w.initialFrom = page.Next
	if page.Next == "" {
		w.initial = nil
		if w.options.Bookmarks {
			events = append(events, Event{Type: watch.Bookmark, Revision: page.Revision, InitialEventsEnd: true})
		}
	}
	return events, nil
}

// read takes the next changes from the topic. When there are none it returns
// the revision that the watch has come to, and what to wait for.
func (w *Watch) read() ([]*change, int64, <-chan struct{}, error) {
	r := w.resource
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.ended != nil {
		return nil, 0, nil, r.ended
	}
	if r.cache.hasStopped() {
		return nil, 0, nil, errStopped
	}
	changes, ok := w.topic.read(w.position, batchSize)
	if !ok || w.epoch != r.epoch {
		return nil, 0, nil, fmt.Errorf("watch %s: changes are no longer kept: %w", w.options.Prefix, ErrExpired)
	}
	if len(changes) == 0 {
		return nil, r.revision(), w.topic.changed.wait(), nil
	}
	w.position += int64(len(changes))
	return changes, 0, nil, nil
}

// events tells what changes mean to this watch.
func (w *Watch) events(ctx context.Context, changes []*change) ([]Event, error) {
	seen, err := w.seen(ctx, changes)
	if err != nil {
		return nil, err
	}
	var events []Event
	for _, c := range changes {
		before, after := seen(c.previous), seen(c.current)
		switch {
		case before != nil && after != nil:
			events = append(events, Event{Type: watch.Modified, Object: after, Revision: c.revision})
		case after != nil:
			events = append(events, Event{Type: watch.Added, Object: after, Revision: c.revision})
		case before == nil:
		case before == c.previous:
			events = append(events, Event{Type: watch.Deleted, Object: c.gone(), Revision: c.revision})
		default:
			events = append(events, Event{Type: watch.Deleted, Object: before.at(c.revision), Revision: c.revision})
		}
	}
	return events, nil
}

func (w *Watch) selects(o *Object) bool {
	return o != nil && strings.HasPrefix(o.Key, w.options.Prefix) && w.options.Predicate.Matches(o)
}

// sleep waits for changes, or until a bookmark is due. A thousand watches may
// wait for the same changes, and each channel that they wait for costs: what ends
// the cache therefore comes as a change, and what ends the watch by closed.
func (w *Watch) sleep(ctx context.Context, changed <-chan struct{}) (due bool, err error) {
	var bookmark <-chan time.Time
	if w.options.Bookmarks {
		timer := w.resource.cache.clock.NewTimer(w.bookmarkAt.Sub(w.resource.cache.clock.Now()))
		defer timer.Stop()
		bookmark = timer.C()
	}
	done := ctx.Done()
	if done == w.done {
		done = nil
	}
	select {
	case <-changed:
		return false, nil
	case <-bookmark:
		return true, nil
	case <-done:
		return false, ctx.Err()
	case <-w.closed:
		return false, cmp.Or(ctx.Err(), context.Canceled)
	}
}

// scheduleBookmark spreads the bookmarks of many watches, and puts one just
// before the watch's end.
func (w *Watch) scheduleBookmark() {
	now := w.resource.cache.clock.Now()
	w.bookmarkAt = now.Add(bookmarkInterval - bookmarkInterval/8 + rand.N(bookmarkInterval/4))
	last := w.deadline.Add(-beforeDeadline)
	if !w.deadline.IsZero() && now.Before(last) && last.Before(w.bookmarkAt) {
		w.bookmarkAt = last
	}
}
