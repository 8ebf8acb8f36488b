// Package history records what clients of a storage.Store were told, and decides
// whether one store, doing one thing after the other, could have told them so.
// It knows no backend and starts no client.
package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/yare-io/yare/storage"
)

// Verb is what a client asks of a store.
type Verb uint8

// The verbs of a history.
const (
	Get Verb = iota + 1
	Create
	Update
	Delete
)

// Call is what a client asks. Values of a history are all different, so that
// each says who wrote it. Expected is for Update and Delete.
type Call struct {
	Verb       Verb
	Key, Value string
	Expected   int64
}

// Answer is what a client is told. For a write that met what it expected, OK and
// the revision; for a failed Update or Delete what stood in the way, if
// anything; for Get what is there, if anything.
type Answer struct {
	OK       bool
	Value    string
	Revision int64
	// Unknown is a write that may have happened or not.
	Unknown bool
}

// Write is a change that was acknowledged.
type Write struct {
	Type       storage.EventType
	Key, Value string
}

// Recorder makes calls and notes what came of them. It may be used concurrently.
type Recorder struct {
	began  time.Time
	mu     sync.Mutex
	calls  []porcupine.Operation
	writes map[int64]Write
}

// New starts an empty history.
func New() *Recorder {
	return &Recorder{began: time.Now(), writes: map[int64]Write{}}
}

// Uncertain tells whether an error leaves open what came of a write.
func Uncertain(err error) bool {
	return errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrNoSpace)
}

// Do makes a call for a client. An error is an answer that the contract does
// not know, or one that leaves the outcome open; then a write is recorded as one
// that may happen at any later time, and a read not at all.
func (r *Recorder) Do(ctx context.Context, store storage.Store, client int, c Call) (Answer, error) {
	op := porcupine.Operation{ClientId: client, Input: c, Call: int64(time.Since(r.began))}
	a, err := perform(ctx, store, c)
	op.Output, op.Return = a, int64(time.Since(r.began))
	if err != nil {
		if c.Verb == Get || !Uncertain(err) {
			return a, err
		}
		op.Output, op.Return = Answer{Unknown: true}, math.MaxInt64
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, op)
	if err == nil && a.OK && c.Verb != Get {
		r.writes[a.Revision] = written(c)
	}
	return a, err
}

func written(c Call) Write {
	switch c.Verb {
	case Create:
		return Write{Type: storage.Created, Key: c.Key, Value: c.Value}
	case Delete:
		return Write{Type: storage.Deleted, Key: c.Key}
	}
	return Write{Type: storage.Updated, Key: c.Key, Value: c.Value}
}

// perform makes a call and tells what it said.
func perform(ctx context.Context, store storage.Store, c Call) (Answer, error) {
	var revision int64
	var err error
	switch c.Verb {
	case Get:
		var kv storage.KV
		kv, err = store.Get(ctx, c.Key)
		if errors.Is(err, storage.ErrNotFound) {
			return Answer{}, nil
		}
		return Answer{OK: true, Value: string(kv.Value), Revision: kv.Revision}, err
	case Create:
		revision, err = store.Create(ctx, c.Key, []byte(c.Value), 0)
		if errors.Is(err, storage.ErrExists) {
			return Answer{}, nil
		}
	case Update:
		revision, err = store.Update(ctx, c.Key, []byte(c.Value), c.Expected, 0)
	case Delete:
		revision, err = store.Delete(ctx, c.Key, c.Expected)
	}
	var conflict *storage.ConflictError
	if errors.As(err, &conflict) {
		if conflict.Current == nil {
			return Answer{}, nil
		}
		return Answer{Value: string(conflict.Current.Value), Revision: conflict.Current.Revision}, nil
	}
	return Answer{OK: true, Revision: revision}, err
}

// Acknowledged returns the writes that clients were told of, by revision.
func (r *Recorder) Acknowledged() map[int64]Write {
	r.mu.Lock()
	defer r.mu.Unlock()
	writes := make(map[int64]Write, len(r.writes))
	for revision, w := range r.writes {
		writes[revision] = w
	}
	return writes
}

// Errors of Check.
var (
	ErrIllegal   = errors.New("no order of the operations explains the answers")
	ErrUndecided = errors.New("the history could not be checked in time")
)

// Check decides within a time whether the history is linearizable. An error
// tells what happened to the key in question.
func (r *Recorder) Check(within time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	deadline := time.Now().Add(within)
	for _, part := range partition(r.calls) {
		var err error
		switch porcupine.CheckOperationsTimeout(model.ToModel(), part, max(time.Until(deadline), time.Nanosecond)) {
		case porcupine.Illegal:
			err = ErrIllegal
		case porcupine.Unknown:
			err = ErrUndecided
		default:
			continue
		}
		return fmt.Errorf("%w:\n%s", err, describe(part))
	}
	return nil
}

// described is how many calls an error shows at most, the latest ones.
const described = 100

// describe has a line for each call on a key, in the order in which they began.
func describe(calls []porcupine.Operation) string {
	calls = slices.SortedFunc(slices.Values(calls), func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var lines strings.Builder
	for _, op := range calls[max(len(calls)-described, 0):] {
		ended := "never"
		if op.Return != math.MaxInt64 {
			ended = time.Duration(op.Return).String()
		}
		fmt.Fprintf(&lines, "%v to %s, client %d: %+v: %+v\n", time.Duration(op.Call), ended, op.ClientId, op.Input, op.Output)
	}
	return lines.String()
}
