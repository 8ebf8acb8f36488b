// Package postgres is the storage.Store that keeps its data in PostgreSQL 14 or
// later, of which it needs one schema and an ordinary role.
//
// What is there now is one table (yare_current); what was there before is a log
// of the values that writes replaced (yare_revisions), in partitions that
// compaction drops. One goroutine writes: it puts the writes that wait into one
// transaction, so that one round trip and one flush to disk serve many. All
// writers, of all processes, queue for the single row that has the store's
// revision (yare_state); hence revisions have no gaps and their order is the
// order of commits. Watches are fed by what this process wrote, and by
// notifications of what others did; they never poll while the database answers.
//
// The package owns its schema, its migrations and its compaction. It knows no
// Kubernetes type.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/storage"
)

// Config says which database to use, and how.
type Config struct {
	// URL of the database as libpq takes it, postgres://user:password@host/db
	// or key=value pairs; several hosts are tried in order for the one that
	// takes writes. Settings of the pool of reading connections
	// (pool_max_conns) may be among the parameters. search_path names the
	// schema; the first in it is created when it is not there.
	URL string
	// CompactionInterval is how long history is kept, at most twice as long.
	// Default: five minutes; negative: this process compacts nothing.
	CompactionInterval time.Duration
	// RequestTimeout ends a request that has no earlier deadline. Default: ten
	// seconds.
	RequestTimeout time.Duration
	// MaxValue is the largest value in bytes. Default: 1.5 MiB, as etcd has it.
	MaxValue int
	// PartitionSpan is how many revisions share a partition of the log, and so
	// how many may outlive a compaction; more where the log is long. Default:
	// 5000.
	PartitionSpan int64
	// Clock that compaction and progress go by. Default: the real one.
	Clock clock.WithTicker
	// Logger gets what nobody can be told by an error. Default: discard.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.CompactionInterval == 0 {
		c.CompactionInterval = 5 * time.Minute
	}
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = 10 * time.Second
	}
	if c.MaxValue <= 0 {
		c.MaxValue = 1536 << 10
	}
	if c.PartitionSpan <= 0 {
		c.PartitionSpan = 5000
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("component", "postgres")
	return c
}

// store is a storage.Store over one schema of a database.
type store struct {
	config Config
	// name tells this store's notifications from those of others.
	name string
	// channel is where the writers of one schema notify each other.
	channel string
	// lock is the number of the advisory lock of the schema.
	lock int64

	// pool is for reads and maintenance; the writer and the listener have
	// connections of their own.
	pool   *pgxpool.Pool
	dialer *pgx.ConnConfig
	writes chan *write
	hub    *hub
	// nudge has a token when there may be revisions that the hub has not seen.
	nudge chan struct{}
	// upkeep has a token when partitions may have to be made or dropped.
	upkeep chan struct{}
	// expiring has a token when a key may expire sooner than all others.
	expiring   chan struct{}
	partitions partitions
	pages      pages

	// ctx ends when Close begins; running counts the requests, watches and
	// loops that Close waits for.
	ctx     context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	done    chan struct{}
}

var _ storage.Store = (*store)(nil)

// Open connects to the database, brings its schema up to date and returns once
// it answers. It gives up when ctx ends, which means nothing for the store
// after that.
func Open(ctx context.Context, config Config) (storage.Store, error) {
	config = config.withDefaults()
	s := &store{
		config: config, name: uuid.NewString(), done: make(chan struct{}),
		writes: make(chan *write, maxBatch),
		nudge:  make(chan struct{}, 1), upkeep: make(chan struct{}, 1), expiring: make(chan struct{}, 1),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.start(ctx); err != nil {
		s.cancel()
		if s.pool != nil {
			s.pool.Close()
		}
		return nil, fmt.Errorf("open postgres: %w", err)
	}
	return s, nil
}

func (s *store) start(ctx context.Context) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	if err := s.ownSessions(ctx); err != nil {
		return err
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	err := s.onConnection(ctx, func(conn *pgxpool.Conn) error {
		_, _, err := s.inherit(ctx, conn.Conn(), "", false)
		return err
	})
	if err != nil {
		return err
	}
	now, err := s.present(ctx)
	if err != nil {
		return err
	}
	s.hub = newHub(now)
	if err := s.makePartitions(ctx, now.revision); err != nil {
		return err
	}
	for _, loop := range []func(){s.writeForever, s.listenForever, s.tailForever, s.expireForever, s.keepUp, s.reportProgress} {
		s.running.Go(loop)
	}
	if s.config.CompactionInterval > 0 {
		s.running.Go(s.compactForever)
	}
	return nil
}

// Close implements storage.Store.
func (s *store) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if !first {
		<-s.done
		return nil
	}
	defer close(s.done)
	s.cancel()
	s.running.Wait()
	s.pool.Close()
	return nil
}

// enter begins a request: its context ends with the caller's, with Close and
// with the request timeout. leave must be called when it is over.
func (s *store) enter(ctx context.Context) (limited context.Context, leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if err := s.hold(); err != nil {
		return nil, nil, err
	}
	limited, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	detach := context.AfterFunc(s.ctx, cancel)
	return limited, func() { detach(); cancel(); s.running.Done() }, nil
}

// hold keeps Close from finishing until running.Done is called.
func (s *store) hold() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.running.Add(1)
	return nil
}

// pause waits and tells whether the store is still open.
func (s *store) pause(d time.Duration) bool {
	timer := s.config.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-s.ctx.Done():
		return false
	}
}

// signal puts a token into a channel of capacity one.
func signal(tokens chan<- struct{}) {
	select {
	case tokens <- struct{}{}:
	default:
	}
}

// state is where the store's history ends and begins.
type state struct {
	revision, compacted int64
	// synchronous tells whether commits wait for a standby.
	synchronous bool
}

const stateQuery = `SELECT s.revision, c.compacted, ` + confirm + ` FROM yare_state s, yare_compaction c`

func (s *store) state(ctx context.Context) (state, error) {
	var now state
	err := s.readRow(ctx, stateQuery, nil, &now.revision, &now.compacted, &now.synchronous)
	return now, err
}

// Revision implements storage.Store.
func (s *store) Revision(ctx context.Context) (int64, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the revision: %w", err)
	}
	defer leave()
	now, err := s.state(limited)
	if err != nil {
		return 0, fmt.Errorf("read the revision: %w", s.translate(err))
	}
	if s.hub.behind(now.revision) {
		signal(s.nudge)
	}
	return now.revision, nil
}

// healthTimeout is within what a probe waits for.
const healthTimeout = 2 * time.Second

var errReadOnly = errors.New("the database takes no writes: it is a standby or set to read-only")

const healthQuery = `SELECT current_setting('transaction_read_only')::boolean, ` + confirm + ` FROM yare_state`

// Health implements storage.Store: it asks for the revision of a database that
// takes writes.
func (s *store) Health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return fmt.Errorf("postgres is unhealthy: %w", err)
	}
	defer leave()
	var readOnly, synchronous bool
	err = s.readRow(limited, healthQuery, nil, &readOnly, &synchronous)
	if err == nil && readOnly {
		err = errReadOnly
	}
	if err != nil {
		return fmt.Errorf("postgres is unhealthy: %w", s.translate(err))
	}
	return nil
}

// Size implements storage.Store. It counts tables, their history and indexes.
func (s *store) Size(ctx context.Context) (int64, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the size: %w", err)
	}
	defer leave()
	var size int64
	err = s.read(limited, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `SELECT pg_total_relation_size('yare_current')
			+ coalesce((SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree('yare_revisions')), 0)::bigint`).Scan(&size)
	})
	if err != nil {
		return 0, fmt.Errorf("read the size: %w", s.translate(err))
	}
	return size, nil
}

// partitionName is the table that has the revisions from first on.
func partitionName(first int64) string { return "yare_revisions_" + strconv.FormatInt(first, 10) }
