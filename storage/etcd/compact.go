package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/yare-io/yare/storage"
)

// compactionKey is the key by which the API servers of one etcd, Kubernetes'
// own among them, agree on who compacts: its version counts the rounds. Its
// value is the revision compacted last.
const compactionKey = "compact_rev_key"

// Compact implements storage.Store.
func (s *store) Compact(ctx context.Context, revision int64) error {
	limited, leave, err := s.enter(ctx)
	if err != nil {
		return fmt.Errorf("compact at %d: %w", revision, err)
	}
	defer leave()
	if _, err := s.client.Compact(limited, revision); err != nil {
		return fmt.Errorf("compact at %d: %w", revision, s.translate(err))
	}
	return nil
}

// round is what a server knows of the compactions: how many there have been,
// and the revision it saw when it last looked.
type round struct{ number, revision int64 }

// compactForever gives up, every interval, the history from before the last
// interval, until the store closes.
func (s *store) compactForever() {
	ticker := s.config.Clock.NewTicker(s.config.CompactionInterval)
	defer ticker.Stop()
	var r round
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C():
		}
		next, err := s.compactOnce(s.ctx, r)
		if errors.Is(err, storage.ErrNoSpace) {
			next, err = s.relieve(s.ctx, r)
		}
		if err != nil && s.ctx.Err() == nil {
			s.config.Logger.Warn("cannot compact etcd", "revision", r.revision, "err", err)
		}
		r = next
	}
}

// compactOnce takes the next round if no other server has, and then compacts at
// the revision of the round before. It returns what is to be known next time.
func (s *store) compactOnce(ctx context.Context, r round) (round, error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.RequestTimeout)
	defer cancel()
	response, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.Version(compactionKey), "=", r.number)).
		Then(clientv3.OpPut(compactionKey, strconv.FormatInt(r.revision, 10))).
		Else(clientv3.OpGet(compactionKey)).
		Commit()
	if err != nil {
		return r, s.translate(err)
	}
	now := round{number: r.number + 1, revision: response.Header.Revision}
	if !response.Succeeded {
		now.number = 0
		if kvs := response.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
			now.number = kvs[0].Version
		}
		return now, nil
	}
	if r.revision == 0 {
		// The first look at the store: nothing is known to be old.
		return now, nil
	}
	if err := s.Compact(ctx, r.revision); err != nil && !errors.Is(err, storage.ErrCompacted) {
		return now, err
	}
	s.config.Logger.Debug("compacted etcd", "revision", r.revision)
	return now, nil
}
