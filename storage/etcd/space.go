package etcd

import (
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/yare-io/yare/storage"
)

// relieve does for a full embedded server what its operator would do: give up
// old history, return the room it took to the file system, and allow writes
// again. It does the costly part only once objects have been deleted, so that
// there is room to win. An external cluster is its operator's business.
func (s *store) relieve(ctx context.Context, r round) (round, error) {
	if s.server == nil {
		return r, storage.ErrNoSpace
	}
	now, err := s.Revision(ctx)
	if err != nil {
		return r, err
	}
	if _, err := s.client.Compact(ctx, max(r.revision, 1), clientv3.WithCompactPhysical()); err != nil {
		s.config.Logger.Debug("etcd is full and has no more history to give up", "err", err)
	}
	r.revision = now
	backend := s.server.Server.Backend()
	if used := backend.SizeInUse(); used > s.config.Quota/10*9 {
		return r, fmt.Errorf("%d of %d bytes are in use: %w", used, s.config.Quota, storage.ErrNoSpace)
	}
	if err := s.server.Server.Defragment(); err != nil {
		return r, fmt.Errorf("defragment: %w", err)
	}
	for _, alarm := range s.server.Server.Alarms() {
		if alarm.Alarm != etcdserverpb.AlarmType_NOSPACE {
			continue
		}
		member := &clientv3.AlarmMember{MemberID: alarm.MemberID, Alarm: alarm.Alarm}
		if _, err := s.client.AlarmDisarm(ctx, member); err != nil {
			return r, fmt.Errorf("allow writes again: %w", s.translate(err))
		}
	}
	s.config.Logger.Info("etcd was full and takes writes again", "size", backend.Size(), "quota", s.config.Quota)
	return r, nil
}
