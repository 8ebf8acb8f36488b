package encrypted

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	"k8s.io/apiserver/pkg/storage/value/encrypt/secretbox"
)

type v1Duration = metav1.Duration

// The prefixes by which values of a provider are known; a key's name and a
// colon follow.
const (
	aescbcPrefix    = "k8s:enc:aescbc:v1:"
	aesgcmPrefix    = "k8s:enc:aesgcm:v1:"
	secretboxPrefix = "k8s:enc:secretbox:v1:"
	kmsPrefix       = "k8s:enc:kms:v2:"
)

// keyring is one configuration in force. It can be closed once nobody uses it.
type keyring struct {
	transformers map[schema.GroupResource]value.Transformer
	services     []*service
	cancel       context.CancelFunc

	// users hold the lock for reading.
	users  sync.RWMutex
	closed bool
}

var (
	errNoProvider = errors.New("no provider of the configuration knows the value's prefix")
	errNoKey      = errors.New("no key of the configuration has the value's key name")
)

// newKeyring makes what a configuration describes; the key services it names
// are connected to until close.
func newKeyring(ctx context.Context, config *apiserverv1.EncryptionConfiguration, logger *slog.Logger) (*keyring, error) {
	ctx, cancel := context.WithCancel(ctx)
	k := &keyring{transformers: map[schema.GroupResource]value.Transformer{}, cancel: cancel}
	providers := map[schema.GroupResource][]value.PrefixTransformer{}
	for i, entry := range config.Resources {
		made, err := k.providers(ctx, entry.Providers, logger)
		if err == nil {
			err = assign(providers, entry.Resources, made)
		}
		if err != nil {
			cancel()
			return nil, fmt.Errorf("resources[%d]: %w", i, err)
		}
	}
	for resource, list := range providers {
		k.transformers[resource] = value.NewPrefixTransformers(errNoProvider, list...)
	}
	return k, nil
}

var everything = schema.GroupResource{Group: "*", Resource: "*"}

// assign gives resources their providers, after those that they may have from
// earlier entries. An entry after a wildcard that covers it would be ignored,
// and is refused.
func assign(providers map[schema.GroupResource][]value.PrefixTransformer, names []string, made []value.PrefixTransformer) error {
	for _, name := range names {
		resource := schema.ParseGroupResource(name)
		for _, wildcard := range []schema.GroupResource{{Group: resource.Group, Resource: "*"}, everything} {
			if _, masked := providers[wildcard]; masked {
				return fmt.Errorf("%q is covered by the earlier %q", name, wildcard.Resource+"."+wildcard.Group)
			}
		}
		providers[resource] = append(providers[resource], made...)
	}
	return nil
}

// transformer finds the rule for a resource: its own, its group's, or that for
// everything. Without one, values are kept as they are.
func (k *keyring) transformer(resource schema.GroupResource) value.Transformer {
	for _, rule := range []schema.GroupResource{resource, {Group: resource.Group, Resource: "*"}, everything} {
		if found, ok := k.transformers[rule]; ok {
			return found
		}
	}
	return identity.NewEncryptCheckTransformer()
}

// The key is what a value is bound to, as in Kubernetes.
func (k *keyring) encrypt(ctx context.Context, resource schema.GroupResource, key string, clear []byte) ([]byte, error) {
	return k.transformer(resource).TransformToStorage(ctx, clear, value.DefaultContext(key))
}

func (k *keyring) decrypt(ctx context.Context, resource schema.GroupResource, key string, sealed []byte) ([]byte, bool, error) {
	return k.transformer(resource).TransformFromStorage(ctx, sealed, value.DefaultContext(key))
}

// enter keeps the keyring open until leave; false means that it is closed.
func (k *keyring) enter() bool {
	k.users.RLock()
	if k.closed {
		k.users.RUnlock()
		return false
	}
	return true
}

func (k *keyring) leave() { k.users.RUnlock() }

// close waits for the users and ends the connections.
func (k *keyring) close() {
	k.users.Lock()
	k.closed = true
	k.users.Unlock()
	k.cancel()
}

func (k *keyring) health() error {
	var errs []error
	for _, s := range k.services {
		errs = append(errs, s.health())
	}
	return errors.Join(errs...)
}

func (k *keyring) providers(ctx context.Context, configs []apiserverv1.ProviderConfiguration, logger *slog.Logger) ([]value.PrefixTransformer, error) {
	var made []value.PrefixTransformer
	for _, config := range configs {
		next, err := k.provider(ctx, config, logger)
		if err != nil {
			return nil, err
		}
		made = append(made, next)
	}
	return made, nil
}

func (k *keyring) provider(ctx context.Context, config apiserverv1.ProviderConfiguration, logger *slog.Logger) (value.PrefixTransformer, error) {
	switch {
	case config.AESGCM != nil:
		return keyed(aesgcmPrefix, config.AESGCM.Keys, blockCipher(aestransformer.NewGCMTransformer))
	case config.AESCBC != nil:
		return keyed(aescbcPrefix, config.AESCBC.Keys, blockCipher(func(block cipher.Block) (value.Transformer, error) {
			return aestransformer.NewCBCTransformer(block), nil
		}))
	case config.Secretbox != nil:
		return keyed(secretboxPrefix, config.Secretbox.Keys, func(secret []byte) (value.Transformer, error) {
			return secretbox.NewSecretboxTransformer([32]byte(secret)), nil
		})
	case config.KMS != nil:
		s, err := newService(ctx, config.KMS, logger)
		if err != nil {
			return value.PrefixTransformer{}, err
		}
		k.services = append(k.services, s)
		return value.PrefixTransformer{Prefix: []byte(kmsPrefix + config.KMS.Name + ":"), Transformer: s.transformer}, nil
	}
	return value.PrefixTransformer{Transformer: identity.NewEncryptCheckTransformer()}, nil
}

func blockCipher(mode func(cipher.Block) (value.Transformer, error)) func([]byte) (value.Transformer, error) {
	return func(secret []byte) (value.Transformer, error) {
		block, err := aes.NewCipher(secret)
		if err != nil {
			return nil, err
		}
		return mode(block)
	}
}

// keyed is a provider with several keys, the first of which writes.
func keyed(prefix string, keys []apiserverv1.Key, transformer func(secret []byte) (value.Transformer, error)) (value.PrefixTransformer, error) {
	var made []value.PrefixTransformer
	for _, key := range keys {
		secret, err := secretOf(key)
		if err != nil {
			return value.PrefixTransformer{}, err
		}
		next, err := transformer(secret)
		if err != nil {
			return value.PrefixTransformer{}, fmt.Errorf("key %q: %w", key.Name, err)
		}
		made = append(made, value.PrefixTransformer{Prefix: []byte(key.Name + ":"), Transformer: next})
	}
	return value.PrefixTransformer{Prefix: []byte(prefix), Transformer: value.NewPrefixTransformers(errNoKey, made...)}, nil
}

// secretOf decodes a key. The error does not repeat it.
func secretOf(key apiserverv1.Key) ([]byte, error) {
	secret, err := base64.StdEncoding.DecodeString(key.Secret)
	if err != nil {
		return nil, errors.New("the secret is not in base64")
	}
	return secret, nil
}
