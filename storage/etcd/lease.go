package etcd

import (
	"context"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// leases are shared by the keys that are written with one ttl within a while:
// etcd pays for each lease, and thousands of events a minute would be thousands
// of leases. A key may so outlive its ttl by that while.
type leases struct {
	mu sync.Mutex
	// byTTL has the latest lease for each ttl in seconds.
	byTTL map[int64]lease
}

type lease struct {
	id clientv3.LeaseID
	// until is when the last key may be attached, keys how many have been.
	until time.Time
	keys  int
}

const (
	// longestShared is how long at most a lease takes keys, and shortestShare
	// the part of a shorter ttl that it may take instead.
	longestShared = time.Minute
	shortestShare = 20
	// keysPerLease bounds the work of one expiry.
	keysPerLease = 1000
)

// leaseFor returns a lease that does not end before the ttl has passed.
func (s *store) leaseFor(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, error) {
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	seconds := int64((ttl + time.Second - 1) / time.Second)
	now := time.Now()
	if known, ok := l.byTTL[seconds]; ok && now.Before(known.until) && known.keys < keysPerLease {
		known.keys++
		l.byTTL[seconds] = known
		return known.id, nil
	}
	shared := min(time.Duration(seconds)*time.Second/shortestShare, longestShared).Truncate(time.Second)
	granted, err := s.client.Grant(ctx, seconds+int64(shared/time.Second))
	if err != nil {
		return 0, err
	}
	for ttl, old := range l.byTTL {
		if !now.Before(old.until) {
			delete(l.byTTL, ttl)
		}
	}
	if shared > 0 {
		l.byTTL[seconds] = lease{id: granted.ID, until: now.Add(shared), keys: 1}
	}
	return granted.ID, nil
}

// forget stops sharing a lease.
func (l *leases) forget(id clientv3.LeaseID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ttl, known := range l.byTTL {
		if known.id == id {
			delete(l.byTTL, ttl)
		}
	}
}
