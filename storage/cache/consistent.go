package cache

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/yare-io/yare/storage"
)

// asking shares questions for the store's revision. An answer is only good for
// those who asked before the question was put, so one question is on its way
// while the next collects callers.
type asking struct {
	kick chan struct{}
	mu   sync.Mutex
	next *question
}

type question struct {
	// answered is closed once the fields below are set.
	answered chan struct{}
	revision int64
	err      error
}

// storeRevision returns a revision of the store that is not older than the
// call.
func (c *Cache) storeRevision(ctx context.Context) (int64, error) {
	c.asking.mu.Lock()
	q := c.asking.next
	if q == nil {
		q = &question{answered: make(chan struct{})}
		c.asking.next = q
	}
	c.asking.mu.Unlock()
	select {
	case c.asking.kick <- struct{}{}:
	default:
	}
	select {
	case <-q.answered:
		return q.revision, q.err
	case <-ctx.Done():
		return 0, fmt.Errorf("ask for the current revision: %w: %w", storage.ErrUnavailable, ctx.Err())
	case <-c.stopped:
		return 0, errStopped
	}
}

// answer puts the questions to the store until ctx ends.
func (c *Cache) answer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.asking.kick:
		}
		c.asking.mu.Lock()
		q := c.asking.next
		c.asking.next = nil
		c.asking.mu.Unlock()
		if q == nil {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		q.revision, q.err = c.store.Revision(limited)
		cancel()
		close(q.answered)
	}
}
