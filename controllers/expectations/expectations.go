// Package expectations remembers, for each owner, the creations and deletions
// that were sent to the API and have not yet come back through the cache. An
// owner with open expectations must not count its objects: it would create or
// delete some of them twice. It knows neither the API nor the objects.
package expectations

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// Timeout is how long an expectation stays open when nothing is heard of it.
const Timeout = 5 * time.Minute

// Set holds the expectations of all owners of one controller, by key K. It is
// safe for concurrent use.
type Set[K comparable] struct {
	clock clock.PassiveClock

	mu     sync.Mutex
	owners map[K]*open
}

type open struct {
	creations int
	deletions map[types.UID]struct{}
	since     time.Time
}

// New makes an empty Set.
func New[K comparable](clock clock.PassiveClock) *Set[K] {
	return &Set[K]{clock: clock, owners: map[K]*open{}}
}

// ExpectCreations replaces what is expected of owner by n creations.
func (s *Set[K]) ExpectCreations(owner K, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owners[owner] = &open{creations: n, since: s.clock.Now()}
}

// ExpectDeletions replaces what is expected of owner by the deletion of uids.
func (s *Set[K]) ExpectDeletions(owner K, uids []types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	deletions := make(map[types.UID]struct{}, len(uids))
	for _, uid := range uids {
		deletions[uid] = struct{}{}
	}
	s.owners[owner] = &open{deletions: deletions, since: s.clock.Now()}
}

// Created notes that one creation was seen, or will never be.
func (s *Set[K]) Created(owner K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.owners[owner]; o != nil && o.creations > 0 {
		o.creations--
	}
}

// Deleted notes that the deletion of uid was seen, or will never be. Noting one
// twice is harmless.
func (s *Set[K]) Deleted(owner K, uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.owners[owner]; o != nil {
		delete(o.deletions, uid)
	}
}

// Forget drops all that is expected of owner.
func (s *Set[K]) Forget(owner K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.owners, owner)
}

// Satisfied says whether nothing is expected of owner, or only things expected
// for longer than Timeout.
func (s *Set[K]) Satisfied(owner K) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.owners[owner]
	if o == nil {
		return true
	}
	return o.creations == 0 && len(o.deletions) == 0 || s.clock.Since(o.since) > Timeout
}
