package encrypted

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	kms "k8s.io/kms/pkg/service"
)

const (
	// seedLife is how long values may be written without a word from the key
	// service, lookInterval how often it is asked. They are those of Kubernetes.
	seedLife     = 3 * time.Minute
	lookInterval = time.Minute
	// urgentInterval is for a service that has not answered yet or any more.
	urgentInterval = 10 * time.Second
)

// service is a key service (KMS v2). It encrypts one seed, from which this
// process derives a key for each value; a new key of the service brings a new
// seed.
type service struct {
	name        string
	client      kms.Service
	transformer value.Transformer
	logger      *slog.Logger
	state       atomic.Pointer[kmsv2.State]

	mu   sync.Mutex
	last error
}

var errNoSeed = errors.New("the key service has not answered yet")

// newService connects to a key service until ctx ends, and asks it for a seed.
// One that does not answer yet is asked again by look.
func newService(ctx context.Context, config *apiserverv1.KMSConfiguration, logger *slog.Logger) (*service, error) {
	client, err := kmsv2.NewGRPCService(ctx, config.Endpoint, config.Name, config.Timeout.Duration)
	if err != nil {
		return nil, fmt.Errorf("kms %q: %w", config.Name, err)
	}
	s := &service{name: config.Name, client: client, logger: logger}
	s.transformer = kmsv2.NewEnvelopeTransformer(client, config.Name, s.current, "")
	s.look(ctx)
	return s, nil
}

func (s *service) current() (kmsv2.State, error) {
	state := s.state.Load()
	if state == nil {
		return kmsv2.State{}, fmt.Errorf("kms %q: %w", s.name, errNoSeed)
	}
	return *state, nil
}

func (s *service) health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// look asks the service how it is and follows a change of its key.
func (s *service) look(ctx context.Context) {
	err := s.follow(ctx)
	if err != nil {
		err = fmt.Errorf("kms %q: %w", s.name, err)
		s.logger.Warn("a key service is not healthy", "err", err)
	}
	s.mu.Lock()
	s.last = err
	s.mu.Unlock()
}

func (s *service) follow(ctx context.Context) error {
	status, err := s.client.Status(ctx)
	if err != nil {
		return err
	}
	if status.Healthz != "ok" {
		return fmt.Errorf("it says %q of itself", status.Healthz)
	}
	if status.Version != kmsv2.KMSAPIVersionv2 && status.Version != kmsv2.KMSAPIVersionv2beta1 {
		return fmt.Errorf("it speaks version %q, want %q", status.Version, kmsv2.KMSAPIVersionv2)
	}
	if _, err := kmsv2.ValidateKeyID(status.KeyID); err != nil {
		return err
	}
	until := time.Now().Add(seedLife)
	if state := s.state.Load(); state != nil && state.EncryptedObjectKeyID == status.KeyID {
		extended := *state
		extended.ExpirationTimestamp = until
		s.state.Store(&extended)
		return nil
	}
	return s.reseed(ctx, status.KeyID, until)
}

// reseed has the service encrypt a new seed with its key of now.
func (s *service) reseed(ctx context.Context, keyID string, until time.Time) error {
	id := uuid.NewString()
	transformer, sealed, cacheKey, err := kmsv2.GenerateTransformer(ctx, id, s.client, true)
	if err != nil {
		return err
	}
	if sealed.KeyID != keyID {
		return errors.New("its status and its answer name different keys")
	}
	s.state.Store(&kmsv2.State{
		Transformer: transformer, EncryptedObjectKeyID: sealed.KeyID, EncryptedObjectEncryptedDEKSource: sealed.EncryptedDEKSource,
		EncryptedObjectAnnotations: sealed.Annotations, EncryptedObjectEncryptedDEKSourceType: sealed.EncryptedDEKSourceType,
		UID: id, ExpirationTimestamp: until, CacheKey: cacheKey, KMSProviderName: s.name,
	})
	return nil
}

// keysLooked keeps an eye on the key services in use until the store closes.
func (s *Store) keysLooked() {
	for {
		interval := lookInterval
		s.with(func(keys *keyring) {
			if keys.health() != nil {
				interval = urgentInterval
			}
		})
		if !s.pause(interval) {
			return
		}
		s.with(func(keys *keyring) {
			for _, service := range keys.services {
				service.look(s.ctx)
			}
		})
	}
}
