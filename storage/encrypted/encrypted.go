// Package encrypted is a storage.Store that encrypts the values of another one,
// as an EncryptionConfiguration of Kubernetes says, with the prefixes and the
// ciphers of Kubernetes: what either wrote, the other can read. A value is bound
// to its key, so that no value passes for another's.
//
// The package owns the configuration, its reloading and the key services it
// names. Which resource a key belongs to it is told; it knows no other
// Kubernetes type.
package encrypted

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/storage"
)

// Config says what to encrypt and how.
type Config struct {
	// File has the EncryptionConfiguration.
	File string
	// ReloadInterval is how often the file is looked at for changes; zero means
	// never. A file that cannot be used changes nothing.
	ReloadInterval time.Duration
	// ResourceOf tells which resource a key belongs to; false for keys that are
	// none and are never encrypted.
	ResourceOf func(key string) (schema.GroupResource, bool)
	// Clock of reloading and of looking after key services. Default: the real one.
	Clock clock.WithTicker
	// Logger gets what nobody can be told by an error. Default: discard.
	Logger *slog.Logger
}

// Store is a storage.Store around another one.
type Store struct {
	storage.Store
	config Config
	keys   atomic.Pointer[keyring]

	// ctx ends when Close begins; running counts what Close waits for.
	ctx     context.Context
	cancel  context.CancelFunc
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
}

var _ storage.Store = (*Store)(nil)

// Unreadable is what lists and watches have in place of a value that cannot be
// decrypted, so that one such value keeps no other from being read. Nothing
// decodes it.
const Unreadable = "k8s:enc:unreadable"

// New reads the configuration and encrypts what goes into a store from now on.
// Closing it closes that store; when New fails, the store stays open.
func New(store storage.Store, config Config) (*Store, error) {
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{Store: store, config: config}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	keys, sum, err := s.load()
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.keys.Store(keys)
	s.running.Go(s.keysLooked)
	if config.ReloadInterval > 0 {
		s.running.Go(func() { s.reloadForever(sum) })
	}
	return s, nil
}

// Close implements storage.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	err := s.Store.Close()
	s.running.Wait()
	s.keys.Load().close()
	return err
}

// hold keeps Close from finishing until running.Done is called.
func (s *Store) hold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Add(1)
	}
	return !s.closed
}

// with runs an action with the keys in force, which stay open meanwhile.
func (s *Store) with(action func(*keyring)) {
	for {
		keys := s.keys.Load()
		if keys.enter() {
			defer keys.leave()
			action(keys)
			return
		}
		if s.ctx.Err() != nil {
			action(keys)
			return
		}
	}
}

func (s *Store) encrypt(ctx context.Context, key string, value []byte) (sealed []byte, err error) {
	resource, ok := s.config.ResourceOf(key)
	if !ok {
		return value, nil
	}
	s.with(func(keys *keyring) { sealed, err = keys.encrypt(ctx, resource, key, value) })
	if err != nil {
		return nil, fmt.Errorf("encrypt %q: %w: %w", key, storage.ErrUnavailable, err)
	}
	return sealed, nil
}

// decrypt also tells whether the value should be written again, because it is
// not as it would be written now.
func (s *Store) decrypt(ctx context.Context, kv storage.KV) (clear storage.KV, stale bool, err error) {
	resource, ok := s.config.ResourceOf(kv.Key)
	if !ok {
		return kv, false, nil
	}
	s.with(func(keys *keyring) { kv.Value, stale, err = keys.decrypt(ctx, resource, kv.Key, kv.Value) })
	if err != nil {
		return storage.KV{}, false, fmt.Errorf("decrypt %q: %w", kv.Key, err)
	}
	return kv, stale, nil
}

// reveal decrypts a value in place, or makes it unreadable.
func (s *Store) reveal(ctx context.Context, kv *storage.KV) {
	clear, _, err := s.decrypt(ctx, *kv)
	if err != nil {
		s.config.Logger.Error("a stored value cannot be decrypted", "key", kv.Key, "revision", kv.Revision, "err", err)
		kv.Value = []byte(Unreadable)
		return
	}
	*kv = clear
}

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, key string) (storage.KV, error) {
	kv, err := s.Store.Get(ctx, key)
	if err != nil {
		return storage.KV{}, err
	}
	clear, _, err := s.decrypt(ctx, kv)
	return clear, err
}

// List implements storage.Store.
func (s *Store) List(ctx context.Context, req storage.ListRequest) (storage.ListResult, error) {
	result, err := s.Store.List(ctx, req)
	for i := range result.KVs {
		s.reveal(ctx, &result.KVs[i])
	}
	return result, err
}

// Create implements storage.Store.
func (s *Store) Create(ctx context.Context, key string, value []byte, ttl time.Duration) (int64, error) {
	sealed, err := s.encrypt(ctx, key, value)
	if err != nil {
		return 0, err
	}
	return s.Store.Create(ctx, key, sealed, ttl)
}

// Update implements storage.Store.
func (s *Store) Update(ctx context.Context, key string, value []byte, expected int64, ttl time.Duration) (int64, error) {
	sealed, err := s.encrypt(ctx, key, value)
	if err != nil {
		return 0, err
	}
	revision, err := s.Store.Update(ctx, key, sealed, expected, ttl)
	return revision, s.conflict(ctx, err)
}

// Delete implements storage.Store.
func (s *Store) Delete(ctx context.Context, key string, expected int64) (int64, error) {
	revision, err := s.Store.Delete(ctx, key, expected)
	return revision, s.conflict(ctx, err)
}

// conflict decrypts what stood in the way of a write.
func (s *Store) conflict(ctx context.Context, err error) error {
	var conflict *storage.ConflictError
	if !errors.As(err, &conflict) || conflict.Current == nil {
		return err
	}
	current := *conflict.Current
	s.reveal(ctx, &current)
	return &storage.ConflictError{Key: conflict.Key, Expected: conflict.Expected, Current: &current}
}

// Health implements storage.Store: it also asks whether the key services that
// are in use can be.
func (s *Store) Health(ctx context.Context) (err error) {
	if err := s.Store.Health(ctx); err != nil {
		return err
	}
	s.with(func(keys *keyring) { err = keys.health() })
	return err
}
