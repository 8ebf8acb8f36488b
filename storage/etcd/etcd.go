// Package etcd is the storage.Store that keeps its data in etcd: in a server
// inside this process, or in an external cluster.
//
// Keys, values and leases are laid out as Kubernetes lays them out, so the data
// of an existing cluster can be served as it is, and `etcdctl get --prefix
// /registry/` shows what is there. Every write is one transaction on the key's
// revision. The package owns compaction, which several servers on one etcd
// share without getting in each other's way. It knows no Kubernetes type.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc/connectivity"
	"k8s.io/utils/clock"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/yare-io/yare/storage"
)

// Config says where etcd is. One of Dir and Endpoints must be set.
type Config struct {
	// Dir is where the embedded server keeps its data; it is created when it
	// is not there.
	Dir string
	// Listen are URLs at which the embedded server also answers other clients,
	// such as etcdctl: "unix:///run/yare/etcd.sock", "https://127.0.0.1:2379".
	// Default: none, it is reached from inside the process only.
	Listen []string
	// ListenTLS is for the https and unixs URLs among Listen. With a CA,
	// clients must show a certificate of it.
	ListenTLS TLS
	// Cluster makes the embedded server a member of a cluster; nil: it is alone,
	// and nobody can join.
	Cluster *Cluster
	// Ended, if set, is told once when the embedded server ends by itself,
	// because its member was removed from the cluster for example. All requests
	// fail from then on.
	Ended func(error)
	// Quota is the size in bytes at which the embedded server refuses writes
	// with storage.ErrNoSpace. Default: 8 GiB.
	Quota int64
	// MaxRequest is the largest write in bytes that the embedded server takes.
	// Default: 1.5 MiB.
	MaxRequest uint
	// NoSync makes the embedded server not wait for writes to be on disk: what
	// it has acknowledged may be lost when the machine stops, not when the
	// process does. For data that can be thrown away.
	NoSync bool

	// Endpoints of an external cluster: "https://10.0.0.1:2379".
	Endpoints []string
	// TLS to reach it with.
	TLS TLS

	// CompactionInterval is how long history is kept, at most twice as long.
	// Default: five minutes; negative: this server compacts nothing.
	CompactionInterval time.Duration
	// RequestTimeout ends a request that has no earlier deadline. Default: ten
	// seconds.
	RequestTimeout time.Duration
	// Clock that compaction goes by. Default: the real one.
	Clock clock.WithTicker
	// Logger also gets what etcd itself has to say; its chatter is at debug
	// level. Default: discard.
	Logger *slog.Logger

	// force begins a cluster of one with the data that is there.
	force bool
}

// TLS names PEM files.
type TLS struct{ CA, Cert, Key string }

func (c Config) withDefaults() (Config, error) {
	if (c.Dir == "") == (len(c.Endpoints) == 0) {
		return c, errors.New("etcd: set either a directory for the embedded server or the endpoints of an external one")
	}
	if c.Cluster != nil {
		if c.Dir == "" {
			return c, errors.New("etcd: only an embedded server can be a member of a cluster")
		}
		if err := c.Cluster.check(c.ListenTLS); err != nil {
			return c, err
		}
	}
	if c.Quota == 0 {
		c.Quota = 8 << 30
	}
	if c.MaxRequest == 0 {
		c.MaxRequest = 1536 << 10
	}
	if c.CompactionInterval == 0 {
		c.CompactionInterval = 5 * time.Minute
	}
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = 10 * time.Second
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// store is a storage.Store over a client, and over the server behind it when
// that is embedded.
type store struct {
	config Config
	client *clientv3.Client
	// server is the embedded one, nil when etcd is external.
	server *embed.Etcd
	leases leases
	// ranges reads a range in parts; pagesOnly is set once etcd turned out not to
	// know how.
	ranges    streamRange
	pagesOnly atomic.Bool
	// opened is set once etcd has answered; leaderless is since when, in
	// nanoseconds, a request found no leader, or zero.
	opened     atomic.Bool
	leaderless atomic.Int64

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

// Open connects to etcd, or starts it, and returns once it answers. It gives up
// when ctx ends, which means nothing for the store after that.
func Open(ctx context.Context, config Config) (storage.Store, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &store{config: config, done: make(chan struct{})}
	s.leases.byTTL = make(map[int64]lease)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	logger := zapLogger(config)
	if config.Dir != "" {
		s.client, s.server, err = startServer(ctx, config, logger)
	} else {
		s.client, err = connect(config, logger)
	}
	if err != nil {
		s.cancel()
		return nil, err
	}
	if s.server != nil {
		s.ranges = inProcess(s.server.Server)
	} else {
		s.ranges = overTheWire(s.client)
	}
	if _, err := s.Revision(ctx); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("open etcd: %w", err)
	}
	s.opened.Store(true)
	if config.CompactionInterval > 0 {
		s.running.Go(s.compactForever)
	}
	if s.server != nil && config.Ended != nil {
		s.running.Go(s.awaitEnd)
	}
	return s, nil
}

// awaitEnd reports an end of the embedded server that is not Close's.
func (s *store) awaitEnd() {
	select {
	case <-s.server.Server.StopNotify():
		s.config.Ended(errEnded)
	case <-s.ctx.Done():
	}
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
	err := s.client.Close()
	if s.server != nil {
		s.server.Close()
	}
	// The client's own context is what it was cancelled with.
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close etcd: %w", err)
	}
	return nil
}

// enter begins a request: its context ends with the caller's, with Close and
// with the request timeout. leave must be called when it is over.
func (s *store) enter(ctx context.Context) (limited context.Context, leave func(), err error) {
	if err := s.admit(ctx); err != nil {
		return nil, nil, err
	}
	limited, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	detach := context.AfterFunc(s.ctx, cancel)
	return limited, func() { detach(); cancel(); s.running.Done() }, nil
}

// enterLong is enter for a request that is answered in parts: progress, called
// for each, starts the request timeout anew. The context's cause tells when it
// has passed.
func (s *store) enterLong(ctx context.Context) (limited context.Context, progress, leave func(), err error) {
	if err := s.admit(ctx); err != nil {
		return nil, nil, nil, err
	}
	limited, cancel := context.WithCancelCause(ctx)
	patience := time.AfterFunc(s.config.RequestTimeout, func() { cancel(context.DeadlineExceeded) })
	detach := context.AfterFunc(s.ctx, func() { cancel(nil) })
	progress = func() { patience.Reset(s.config.RequestTimeout) }
	return limited, progress, func() { detach(); patience.Stop(); cancel(nil); s.running.Done() }, nil
}

// admit lets a request begin, which keeps Close waiting, or says why not.
func (s *store) admit(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.reachable(); err != nil {
		return err
	}
	return s.hold()
}

// longestElection is how long requests wait for a leader. Elections are over
// well before.
const longestElection = 3 * time.Second

var (
	errNoEndpoint = fmt.Errorf("no endpoint of etcd takes connections: %w", storage.ErrUnavailable)
	errNoLeader   = fmt.Errorf("etcd has no leader: this member is cut off, or most of them are away: %w", storage.ErrUnavailable)
)

// reachable fails at once where a request could only wait in vain.
func (s *store) reachable() error {
	switch {
	case !s.opened.Load():
		return nil
	case s.server == nil:
		if s.client.ActiveConnection().GetState() == connectivity.TransientFailure {
			return errNoEndpoint
		}
	case s.server.Server.Leader() != 0:
		s.leaderless.Store(0)
	case s.leaderless.CompareAndSwap(0, time.Now().UnixNano()):
	case time.Since(time.Unix(0, s.leaderless.Load())) > longestElection:
		return errNoLeader
	}
	return nil
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

// anyKey is asked for when only the answer's revision is wanted.
const anyKey = compactionKey

// Revision implements storage.Store.
func (s *store) Revision(ctx context.Context) (int64, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the revision: %w", err)
	}
	defer leave()
	response, err := s.client.Get(limited, anyKey, clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("read the revision: %w", s.translate(err))
	}
	return response.Header.Revision, nil
}

// healthTimeout is within what a probe waits for.
const healthTimeout = 2 * time.Second

// Health implements storage.Store: it asks for a linearizable read, and whether
// etcd has raised an alarm.
func (s *store) Health(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	if _, err := s.Revision(ctx); err != nil {
		return fmt.Errorf("etcd is unhealthy: %w", err)
	}
	status, err := s.status(ctx)
	if err != nil {
		return fmt.Errorf("etcd is unhealthy: %w", err)
	}
	for _, alarm := range status.Errors {
		return fmt.Errorf("etcd is unhealthy: %s", alarm)
	}
	return nil
}

// Size implements storage.Store.
func (s *store) Size(ctx context.Context) (int64, error) {
	status, err := s.status(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the size: %w", err)
	}
	return status.DbSize, nil
}

// status asks the first member that answers.
func (s *store) status(ctx context.Context) (*clientv3.StatusResponse, error) {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if s.server != nil {
		status, err := s.client.Status(limited, "")
		return status, s.translate(err)
	}
	for _, endpoint := range s.config.Endpoints {
		var status *clientv3.StatusResponse
		if status, err = s.client.Status(limited, endpoint); err == nil {
			return status, nil
		}
	}
	return nil, s.translate(err)
}
