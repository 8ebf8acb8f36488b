package engine

import (
	"context"
	"time"

	"github.com/open-policy-agent/opa/v1/storage"
)

// settleAfter is how long no bundle must have changed before all are compiled
// together.
const settleAfter = 500 * time.Millisecond

// settle compiles bundles together that were compiled apart, so that one
// evaluation asks them all, until ctx ends.
func (e *Engine) settle(ctx context.Context) error {
	timer := time.NewTimer(settleAfter)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.apart:
			timer.Reset(settleAfter)
		case <-timer.C:
			if err := e.unite(ctx); err != nil && ctx.Err() == nil {
				e.logger.Warn("Policy bundles stay compiled apart; decisions take longer", "err", err)
			}
		}
	}
}

// unite replaces the policies that run by the same ones in one group, unless
// they change meanwhile.
func (e *Engine) unite(ctx context.Context) error {
	before := e.active.Load()
	if len(before.groups) < 2 {
		return nil
	}
	all, err := e.newGroup(before.units)
	if err != nil {
		return err
	}
	return storage.Txn(ctx, e.store, storage.TransactionParams{}, func(txn storage.Transaction) error {
		if err := e.prepare(ctx, txn, all); err != nil {
			return err
		}
		next := *before
		next.groups = []*group{all}
		e.active.CompareAndSwap(before, &next)
		return nil
	})
}
