package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// Overlay shows documents that are kept elsewhere as part of `data`. It is read
// with the policy's own transaction open and must be safe for concurrent use.
type Overlay interface {
	// Read returns the document at path and true, or false when the path is none
	// of its own. A document that is not there is an error for which
	// storage.IsNotFound holds. Values are maps of strings, or ast.Values.
	Read(ctx context.Context, path storage.Path) (any, bool, error)
}

// store is OPA's store in memory, where a change of policy is looked at before
// it is committed: what cannot be prepared does not replace what runs.
type store struct {
	storage.Store
	overlay Overlay
	// inspect is asked about a transaction that may change policies, and returns
	// what to do when the transaction is in force; both run one at a time.
	inspect func(context.Context, storage.Transaction, *storage.Context, *activation) (func(), error)
	// list and text say which policies a transaction that activates a bundle
	// sees, and what those are that are not in the store.
	list func(context.Context, storage.Transaction, *activation, []string) ([]string, error)
	text func(id string) []byte
	// activating is the bundle that the transaction under way brings.
	activating atomic.Pointer[activation]

	mu       sync.Mutex
	contexts map[uint64]*storage.Context
}

// NewStore returns a store that has nothing but an overlay.
func NewStore(overlay Overlay) storage.Store { return newStore(overlay) }

func newStore(overlay Overlay) *store {
	return &store{Store: inmem.NewWithOpts(inmem.OptReturnASTValuesOnRead(true)), overlay: overlay, contexts: map[uint64]*storage.Context{}}
}

// NewTransaction implements storage.Store.
func (s *store) NewTransaction(ctx context.Context, params ...storage.TransactionParams) (storage.Transaction, error) {
	txn, err := s.Store.NewTransaction(ctx, params...)
	if err == nil && len(params) > 0 && params[0].Write && params[0].Context != nil {
		s.mu.Lock()
		s.contexts[txn.ID()] = params[0].Context
		s.mu.Unlock()
	}
	return txn, err
}

func (s *store) forget(txn storage.Transaction) *storage.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.contexts[txn.ID()]
	delete(s.contexts, txn.ID())
	return found
}

// Commit implements storage.Store: a transaction whose policies do not pass is
// aborted.
func (s *store) Commit(ctx context.Context, txn storage.Transaction) error {
	brought := s.forget(txn)
	if s.inspect == nil || brought == nil {
		return s.Store.Commit(ctx, txn)
	}
	enforce, err := s.inspect(ctx, txn, brought, s.activating.Swap(nil))
	if err != nil {
		s.Store.Abort(ctx, txn)
		return fmt.Errorf("policy not activated: %w", err)
	}
	brought.Put(enforceKey{}, enforce)
	return s.Store.Commit(ctx, txn)
}

// ListPolicies implements storage.Policy.
func (s *store) ListPolicies(ctx context.Context, txn storage.Transaction) ([]string, error) {
	ids, err := s.Store.ListPolicies(ctx, txn)
	arriving := s.activating.Load()
	if err != nil || arriving == nil || !s.brings(txn) {
		return ids, err
	}
	return s.list(ctx, txn, arriving, ids)
}

// GetPolicy implements storage.Policy.
func (s *store) GetPolicy(ctx context.Context, txn storage.Transaction, id string) ([]byte, error) {
	if strings.HasPrefix(id, standIn) && s.brings(txn) {
		if text := s.text(id); text != nil {
			return text, nil
		}
	}
	return s.Store.GetPolicy(ctx, txn, id)
}

// brings reports whether a transaction may bring policies.
func (s *store) brings(txn storage.Transaction) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.contexts[txn.ID()] != nil
}

// enforceKey is where a transaction keeps what to do while it is committed.
type enforceKey struct{}

// onCommit runs while no transaction is open, so that data and policy change
// for all who read at the same time.
func onCommit(_ context.Context, _ storage.Transaction, event storage.TriggerEvent) {
	if enforce, ok := event.Context.Get(enforceKey{}).(func()); ok && enforce != nil {
		enforce()
	}
}

// Abort implements storage.Store.
func (s *store) Abort(ctx context.Context, txn storage.Transaction) {
	if s.forget(txn) != nil {
		s.activating.Store(nil)
	}
	s.Store.Abort(ctx, txn)
}

// Read implements storage.Store.
func (s *store) Read(ctx context.Context, txn storage.Transaction, path storage.Path) (any, error) {
	if s.overlay != nil {
		if value, ours, err := s.overlay.Read(ctx, path); ours {
			return value, err
		}
	}
	return s.Store.Read(ctx, txn, path)
}

// MakeDir implements storage.MakeDirer.
func (s *store) MakeDir(ctx context.Context, txn storage.Transaction, path storage.Path) error {
	return storage.MakeDir(ctx, s.Store, txn, path)
}
