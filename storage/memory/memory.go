// Package memory keeps a storage.Store in memory, for tests and for API
// servers whose data may vanish with the process.
//
// The current keys are one copy-on-write B-tree; what happened is a log of
// events, each with the value before it. A read of an older revision clones
// the tree and undoes the log down to there, so that old revisions cost
// nothing until somebody asks for them. The package owns one goroutine, which
// expires keys and reports progress; Close ends it.
package memory

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/btree"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/storage"
)

// Config sets limits. The zero value is ready for use.
type Config struct {
	// History is how many events are kept at least before the oldest are
	// compacted away. Default: 100 000.
	History int
	// MaxValue is the largest value in bytes. Default: 1.5 MiB, as etcd has it.
	MaxValue int
	// ProgressInterval is how often idle watches are told of progress.
	// Default: one second.
	ProgressInterval time.Duration
	// Clock that keys expire by. Default: the real one.
	Clock clock.Clock
	// Logger gets what nobody can be told by an error. Default: discard.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.History <= 0 {
		c.History = 100_000
	}
	if c.MaxValue <= 0 {
		c.MaxValue = 1536 << 10
	}
	if c.ProgressInterval <= 0 {
		c.ProgressInterval = time.Second
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Store is a storage.Store in memory.
type Store struct {
	config Config
	stop   chan struct{}
	done   chan struct{}

	// mu guards all that follows.
	mu       sync.Mutex
	closed   bool
	revision int64
	// compacted is the oldest revision that can be read.
	compacted int64
	tree      *btree.BTreeG[storage.KV]
	// snapshot is a clone of tree that readers share, nil after a write.
	snapshot *btree.BTreeG[storage.KV]
	// log has the events of the revisions above compacted and of compacted
	// itself, in order. Each carries Previous.
	log      []storage.Event
	size     int64
	watchers map[*watcher]struct{}
	expiries expiries
}

var _ storage.Store = (*Store)(nil)

const degree = 32

// New starts an empty store at revision 1. Close ends it.
func New(config Config) *Store {
	s := &Store{
		config:   config.withDefaults(),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
		revision: 1,
		tree:     btree.NewG(degree, func(a, b storage.KV) bool { return a.Key < b.Key }),
		watchers: make(map[*watcher]struct{}),
		expiries: newExpiries(),
	}
	go s.tick()
	return s
}

// Close implements storage.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
		for w := range s.watchers {
			s.end(w, fmt.Errorf("watch %q: store closed: %w", w.request.Prefix, storage.ErrUnavailable))
		}
	}
	s.mu.Unlock()
	<-s.done
	return nil
}

// Revision implements storage.Store.
func (s *Store) Revision(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision, s.open("revision", "")
}

// Health implements storage.Store.
func (s *Store) Health(ctx context.Context) error {
	_, err := s.Revision(ctx)
	return err
}

// Size implements storage.Store. It counts keys and values, without history.
func (s *Store) Size(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size, nil
}

// open fails once the store is closed. The caller holds mu.
func (s *Store) open(verb, key string) error {
	if s.closed {
		return fmt.Errorf("%s %q: store closed: %w", verb, key, storage.ErrUnavailable)
	}
	return nil
}
