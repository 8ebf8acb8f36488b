package memory

import (
	"time"

	"github.com/google/btree"
)

// expiries knows when which key is to be deleted. It is not safe for
// concurrent use.
type expiries struct {
	byKey  map[string]time.Time
	byTime *btree.BTreeG[expiry]
	// sooner has a token when the first expiry may have come closer.
	sooner chan struct{}
}

type expiry struct {
	at  time.Time
	key string
}

func newExpiries() expiries {
	return expiries{
		byKey: make(map[string]time.Time),
		byTime: btree.NewG(degree, func(a, b expiry) bool {
			if a.at.Equal(b.at) {
				return a.key < b.key
			}
			return a.at.Before(b.at)
		}),
		sooner: make(chan struct{}, 1),
	}
}

// set replaces what is known of a key; a ttl of zero means it stays.
func (e *expiries) set(key string, ttl time.Duration, now time.Time) {
	if at, ok := e.byKey[key]; ok {
		e.byTime.Delete(expiry{at, key})
		delete(e.byKey, key)
	}
	if ttl <= 0 {
		return
	}
	at := now.Add(ttl)
	e.byKey[key] = at
	e.byTime.ReplaceOrInsert(expiry{at, key})
	select {
	case e.sooner <- struct{}{}:
	default:
	}
}

// due returns the keys whose time has come, and how long until the next.
func (e *expiries) due(now time.Time, atMost time.Duration) (keys []string, wait time.Duration) {
	wait = atMost
	e.byTime.Ascend(func(next expiry) bool {
		if left := next.at.Sub(now); left > 0 {
			wait = min(wait, left)
			return false
		}
		keys = append(keys, next.key)
		return true
	})
	return keys, wait
}

// tick deletes keys as they expire and reports progress, until Close.
func (s *Store) tick() {
	defer close(s.done)
	timer := s.config.Clock.NewTimer(s.config.ProgressInterval)
	defer timer.Stop()
	report := s.config.Clock.Now().Add(s.config.ProgressInterval)
	for {
		select {
		case <-s.stop:
			return
		case <-s.expiries.sooner:
		case <-timer.C():
		}
		s.mu.Lock()
		now := s.config.Clock.Now()
		if s.closed {
			s.mu.Unlock()
			return
		}
		keys, wait := s.expiries.due(now, s.config.ProgressInterval)
		s.remove(keys)
		if !now.Before(report) {
			report = now.Add(s.config.ProgressInterval)
			for w := range s.watchers {
				s.progress(w)
			}
		}
		s.mu.Unlock()
		timer.Reset(wait)
	}
}
