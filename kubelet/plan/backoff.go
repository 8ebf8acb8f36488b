package plan

import "time"

const (
	// InitialBackoff is the first delay before a failed container is started again.
	InitialBackoff = 10 * time.Second
	// MaxBackoff caps the delay.
	MaxBackoff = 5 * time.Minute
)

// Backoff keeps the restart delays of one pod's containers. It is not safe for concurrent use.
type Backoff struct {
	initial, max time.Duration
	entries      map[string]backoffEntry
}

type backoffEntry struct {
	delay time.Duration
	since time.Time // when delay was last set
}

// NewBackoff returns delays that double from initial to limit.
func NewBackoff(initial, limit time.Duration) *Backoff {
	return &Backoff{initial: min(initial, limit), max: limit, entries: map[string]backoffEntry{}}
}

// Remaining returns the current delay of key and how much of it is left at now, for something that ended at ended.
func (b *Backoff) Remaining(key string, ended, now time.Time) (delay, left time.Duration) {
	entry, ok := b.entries[key]
	if !ok || b.expired(entry, ended) {
		return 0, 0
	}
	return entry.delay, max(0, entry.delay-now.Sub(ended))
}

// Next records a restart at now of something that ended at ended, and so lengthens the next delay.
func (b *Backoff) Next(key string, ended, now time.Time) {
	entry, ok := b.entries[key]
	if !ok || b.expired(entry, ended) {
		entry.delay = b.initial
	} else {
		entry.delay = min(2*entry.delay, b.max)
	}
	entry.since = now
	b.entries[key] = entry
}

// Reset forgets key.
func (b *Backoff) Reset(key string) { delete(b.entries, key) }

// expired says whether things went well for so long before ended that the count starts again.
func (b *Backoff) expired(entry backoffEntry, ended time.Time) bool {
	return ended.Sub(entry.since) > 2*b.max
}
