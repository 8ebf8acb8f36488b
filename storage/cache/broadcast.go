package cache

import "sync"

// broadcast wakes everybody who waits, and costs nothing while nobody does.
type broadcast struct {
	mu sync.Mutex
	// changed is nil while nobody waits.
	changed chan struct{}
}

// wait returns a channel that the next wake closes. Look at the condition
// AFTER calling it, else a wake in between is lost.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

func (b *broadcast) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}
