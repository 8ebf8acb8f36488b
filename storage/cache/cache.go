// Package cache serves reads and watches of objects from memory, so that a store
// sees each object once, however many clients ask for it.
//
// One watch over the whole store feeds all resources. Because the feed sees
// every key, the revision of its last batch says exactly how far the cache has
// come: a consistent read asks the store for its revision (one question shared
// by all who ask at the same time), waits until the feed is there, and reads
// memory. A resource keeps its objects in a copy-on-write B-tree, so lists
// never hold up the feed and pages read one unchanging state, and its latest
// events in a bounded log, which watches are cursors over.
//
// The package knows that objects have metadata, labels and selectable fields.
// It knows no resource, no encoding and no HTTP: how to decode and to encode is
// handed in.
package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/storage"
)

// Consistent, as a revision to read at, asks for everything that was written
// before the call.
const Consistent int64 = -1

// ErrExpired ends or refuses a watch that needs events which are no longer
// kept: the client must list again. The API knows it as 410 Gone.
var ErrExpired = errors.New("too old resource version")

// Config describes a resource.
type Config struct {
	// Prefix of the resource's keys in the store, with a slash at its end:
	// "/registry/pods/".
	Prefix string
	// Decode makes an object of a stored value. It sets the object's
	// resourceVersion to kv.Revision. It is called from several goroutines.
	Decode func(kv storage.KV) (runtime.Object, error)
	// Fields returns what field selectors may ask for, as a new map, to which
	// metadata.name and metadata.namespace are added. May be nil.
	Fields func(runtime.Object) fields.Set
	// Indexed names fields ("spec.nodeName") for whose exact values lists look
	// at no other objects, and watches are woken only by events of objects that
	// have, or had, the value. Watches are always indexed by metadata.name and
	// by the folder of a key.
	Indexed []string
}

// Option changes how a cache works.
type Option func(*Cache)

// WithEncodingBudget bounds the bytes of encoded objects and events that are
// kept; the ones not used for longest go first. Default: twice what the store
// has of all objects, which is each of them in JSON and compressed, but at least
// 16 MiB and at most 512 MiB.
func WithEncodingBudget(bytes int64) Option {
	return func(c *Cache) { c.leastEncodings, c.mostEncodings = bytes, bytes }
}

// encodingsPerStored is how many bytes of encodings are kept for each that the
// store has.
const encodingsPerStored = 2

// WithEventLimit bounds how many events each resource keeps for watches to
// start from. Default: 65 536. The log is far shorter while little happens.
func WithEventLimit(events int) Option {
	return func(c *Cache) { c.eventLimit = events }
}

// WithClock sets the clock for bookmarks and waiting times.
func WithClock(clock clock.WithTicker) Option {
	return func(c *Cache) { c.clock = clock }
}

// Cache feeds resources from a store. All methods may be called concurrently.
type Cache struct {
	store      storage.Store
	logger     *slog.Logger
	clock      clock.WithTicker
	eventLimit int
	encodings  *encodings
	// leastEncodings and mostEncodings bound the budget of encodings, whatever
	// stored is: the bytes that the store has of all objects.
	leastEncodings, mostEncodings int64
	stored                        atomic.Int64

	recent  recent
	records *records
	words   words
	asking  asking
	// checkInterval and checked are of the comparison with the store.
	checkInterval time.Duration
	checked       func(prefix string, err error)

	// revision up to which every loaded resource knows everything. It only
	// grows while the store's history is one.
	revision atomic.Int64
	advanced broadcast

	// routing guards the fields below. The feed holds it while it hands out a
	// batch, so that a resource that is registered misses none.
	routing   sync.Mutex
	resources map[string][]*Resource
	// running is set while Run has a feed that resources can load beside.
	running *feed
	stopped chan struct{}
	once    sync.Once
}

// New returns a cache over a store. It serves nothing until Run is called. The
// store stays the caller's to close, after Run has returned.
func New(store storage.Store, logger *slog.Logger, options ...Option) *Cache {
	c := &Cache{
		store:      store,
		logger:     logger,
		clock:      clock.RealClock{},
		eventLimit: 64 << 10,
		encodings:  &encodings{},
		recent:     recent{limit: recentLimit},
		records:    newRecords(),
		resources:  make(map[string][]*Resource),
		stopped:    make(chan struct{}),

		checkInterval: 5 * time.Minute,

		leastEncodings: 16 << 20,
		mostEncodings:  512 << 20,
	}
	if logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	c.asking.kick = make(chan struct{}, 1)
	for _, option := range options {
		option(c)
	}
	c.account(0)
	return c
}

// account notes that the store has some bytes more, or less, of the objects here.
func (c *Cache) account(more int64) {
	c.encodings.limit.Store(min(max(c.stored.Add(more)*encodingsPerStored, c.leastEncodings), c.mostEncodings))
}

// Register adds a resource, before or while the cache runs. Its reads wait
// until its objects have been loaded. Two resources may share a prefix (one
// kind in two versions); each decodes for itself.
func (c *Cache) Register(config Config) *Resource {
	r := newResource(c, config)
	c.routing.Lock()
	defer c.routing.Unlock()
	c.resources[config.Prefix] = append(c.resources[config.Prefix], r)
	if c.running != nil {
		c.running.load(r)
	}
	return r
}

// Remove takes a resource out and ends its watches, as when the definition of
// a custom resource is deleted. Reads from it fail from then on.
func (c *Cache) Remove(r *Resource) {
	c.routing.Lock()
	same := c.resources[r.config.Prefix]
	for i := range same {
		if same[i] == r {
			c.resources[r.config.Prefix] = append(append([]*Resource(nil), same[:i]...), same[i+1:]...)
			break
		}
	}
	if len(c.resources[r.config.Prefix]) == 0 {
		delete(c.resources, r.config.Prefix)
	}
	c.routing.Unlock()
	r.remove(fmt.Errorf("%s: no longer served: %w", r.config.Prefix, ErrExpired))
}

// Revision is how far the cache has come, without asking the store.
func (c *Cache) Revision() int64 { return c.revision.Load() }

// concerned calls visit for each resource that a key belongs to. The caller
// holds routing.
func (c *Cache) concerned(key string, visit func(*Resource)) {
	for i := 0; i < len(key); i++ {
		if key[i] != '/' {
			continue
		}
		for _, r := range c.resources[key[:i+1]] {
			visit(r)
		}
	}
}

// advance makes a revision known to those who wait for it.
func (c *Cache) advance(revision int64) {
	c.revision.Store(revision)
	c.advanced.wake()
}

// folder is the part of a key up to and including its last slash.
func folder(key string) string { return key[:strings.LastIndexByte(key, '/')+1] }

// patience is how long a read waits for the feed to come as far as the store
// before it goes to the store itself.
const patience = 3 * time.Second

// waitFor blocks until the cache has reached a revision, and reports whether it
// has: false means that patience is over. It fails when ctx ends or the cache
// stops.
func (c *Cache) waitFor(ctx context.Context, revision int64) (bool, error) {
	if c.revision.Load() >= revision {
		return true, nil
	}
	timer := c.clock.NewTimer(patience)
	defer timer.Stop()
	for {
		changed := c.advanced.wait()
		if c.revision.Load() >= revision {
			return true, nil
		}
		select {
		case <-changed:
		case <-timer.C():
			return false, nil
		case <-ctx.Done():
			return false, fmt.Errorf("wait for revision %d: %w", revision, ctx.Err())
		case <-c.stopped:
			return false, errStopped
		}
	}
}

var errBehind = fmt.Errorf("the cache is far behind the store: %w", storage.ErrUnavailable)

var errStopped = fmt.Errorf("cache stopped: %w", storage.ErrUnavailable)
