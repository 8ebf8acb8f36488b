// Package storage is the contract between the API server and whatever keeps
// its data: bytes under keys, and one sequence of revisions for the whole
// store, as etcd has it. It knows no Kubernetes type.
//
// Every backend (etcd, postgres, memory) passes the suite in storetest; what a
// backend may rely on and must keep is written here and tested there.
package storage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors a Store returns, always wrapped with what was being done to which
// key: ask with errors.Is.
var (
	// ErrNotFound: there is no such key at the revision asked for.
	ErrNotFound = errors.New("key not found")
	// ErrExists: Create met a key that is already there.
	ErrExists = errors.New("key exists")
	// ErrConflict: the key is not at the expected revision; the error is a
	// *ConflictError, which carries what is there instead.
	ErrConflict = errors.New("revision conflict")
	// ErrCompacted: the revision asked for is older than the store keeps.
	ErrCompacted = errors.New("revision has been compacted")
	// ErrFutureRevision: the revision asked for has not been reached yet.
	ErrFutureRevision = errors.New("revision is in the future")
	// ErrUnavailable: the store cannot be reached or cannot make progress. The
	// outcome of a write that fails so is unknown; a read may be retried.
	ErrUnavailable = errors.New("store unavailable")
	// ErrNoSpace: the store is full. Deletes still succeed. The outcome of the
	// write that filled it is unknown.
	ErrNoSpace = errors.New("store is full")
	// ErrTooLarge: the value is over the backend's limit. Nothing was written.
	ErrTooLarge = errors.New("value too large")
	// ErrSlow: a watch was ended because its reader did not keep up. It can be
	// taken up again after the last revision that was read.
	ErrSlow = errors.New("watcher too slow")
)

// WatchBacklog is how many batches a backend holds for a watcher whose reader
// is busy. One more, and the watch ends with ErrSlow.
const WatchBacklog = 1024

// ConflictError reports a failed compare-and-swap.
type ConflictError struct {
	Key      string
	Expected int64
	// Current is the value that stood in the way, or nil when the key is gone.
	Current *KV
}

func (e *ConflictError) Error() string {
	if e.Current == nil {
		return fmt.Sprintf("%s: expected revision %d, but the key is gone", e.Key, e.Expected)
	}
	return fmt.Sprintf("%s: expected revision %d, found %d", e.Key, e.Expected, e.Current.Revision)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// KV is one key with its value. Value belongs to whoever received the KV and
// must not be changed by anyone: backends and caches share it.
type KV struct {
	Key   string
	Value []byte
	// Revision of the store at which the key was last written.
	Revision int64
}

// Store keeps keys and their history. All methods may be called concurrently.
// Reads without a revision are linearizable: they see every write that was
// acknowledged before they began.
type Store interface {
	// Get returns the key's current value, or ErrNotFound.
	Get(ctx context.Context, key string) (KV, error)

	// List returns the keys below a prefix in byte order, all as they were at
	// one revision.
	List(ctx context.Context, req ListRequest) (ListResult, error)

	// Create writes a key that must not exist, or fails with ErrExists. With a
	// ttl above zero the key is deleted, as if by Delete, once it has passed;
	// a backend may group expiries and so be late by some seconds, never early.
	Create(ctx context.Context, key string, value []byte, ttl time.Duration) (revision int64, err error)

	// Update replaces the value of a key that must be at the expected
	// revision, or fails with a *ConflictError. The ttl replaces any that the
	// key had; zero means the key stays.
	Update(ctx context.Context, key string, value []byte, expected int64, ttl time.Duration) (revision int64, err error)

	// Delete removes a key that must be at the expected revision, or fails
	// with a *ConflictError. It returns the revision of the deletion.
	Delete(ctx context.Context, key string, expected int64) (revision int64, err error)

	// Watch streams what happens below a prefix, from a revision that is still
	// kept, until ctx ends or the stream fails. From a revision that has not
	// been reached it fails with ErrFutureRevision.
	Watch(ctx context.Context, req WatchRequest) (Watcher, error)

	// Revision returns the store's current revision, linearizably and without
	// reading any object. That of an empty store is at least one, so that zero
	// never names a state.
	Revision(ctx context.Context) (int64, error)

	// Compact gives up the history before a revision: reads and watches from
	// before it fail with ErrCompacted. Compacting to a revision that is not
	// after the last one is ErrCompacted too, to a future one
	// ErrFutureRevision.
	Compact(ctx context.Context, revision int64) error

	// Health answers quickly whether reads and writes can be expected to
	// work, with an error that says what is wrong.
	Health(ctx context.Context) error

	// Size is the number of bytes that the data takes on disk (or in memory).
	Size(ctx context.Context) (int64, error)

	// Close ends all watches and releases what the store holds. It is safe to
	// call twice.
	Close() error
}

// ListRequest says what to list.
type ListRequest struct {
	// Prefix that every key returned has. It is taken byte by byte: end it
	// with a slash to list what is in a folder.
	Prefix string
	// From is the first key to return, or empty for the start of the prefix.
	From string
	// Limit is the most keys to return; zero means all. Where values are large a
	// backend may return fewer, at least one, with the others Remaining.
	Limit int
	// Revision to read at; zero means the current one, linearizably.
	Revision int64
	// CountOnly asks for Remaining (then: all keys from From on) and no KVs.
	CountOnly bool
}

// ListResult is a part of the store as it was at Revision.
type ListResult struct {
	KVs      []KV
	Revision int64
	// Remaining is how many keys of the prefix follow the last one returned.
	Remaining int64
}

// WatchRequest says what to watch.
type WatchRequest struct {
	// Prefix that the keys of interest have; empty means the whole store.
	Prefix string
	// After is the revision whose successors are delivered: an event at
	// After+1 is the first that can arrive. Zero means the current revision.
	After int64
	// Previous asks for the value before each event.
	Previous bool
	// Progress asks for empty batches that tell how far the store has come
	// while nothing happens below Prefix, at an interval the backend chooses
	// (at most ten seconds) and whenever it costs nothing.
	Progress bool
}

// Watcher is a running watch.
type Watcher interface {
	// Batches delivers events in the order of their revisions. All events of
	// one revision are in one batch. The channel is closed when the watch
	// ends; Err then tells why. A reader that is too slow makes the watch
	// end, it is never waited for without limit.
	Batches() <-chan Batch
	// Err is nil until Batches is closed, then the reason: ErrCompacted,
	// ErrSlow, ErrUnavailable, or the context's error.
	Err() error
}

// Batch is a run of events, or progress alone when Events is empty.
type Batch struct {
	Events []Event
	// Revision up to and including which the watcher now knows everything.
	Revision int64
}

// EventType says what happened to a key.
type EventType uint8

// What can happen to a key. The zero value is not an event.
const (
	Created EventType = iota + 1
	Updated
	Deleted
)

// Event is one change of one key. For Deleted, KV.Value is nil and KV.Revision
// is the revision of the deletion.
type Event struct {
	Type EventType
	KV   KV
	// Previous is the value before the change when the watch asked for it,
	// nil for Created.
	Previous *KV
}
