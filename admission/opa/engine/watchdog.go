package engine

import (
	"context"
	"runtime/metrics"
	"sync"
	"time"
)

// watchdog stops evaluations during which the process's heap grows too much.
// Go cannot tell whose memory it is, so the limit is on growth of the whole
// while an evaluation runs; only evaluations that outlast a tick are looked at.
type watchdog struct {
	mu      sync.Mutex
	watched map[*evaluation]struct{}
	wake    chan struct{}
}

// evaluation is one that runs. Its fields belong to the watchdog's lock.
type evaluation struct {
	limit uint64
	stop  func()
	// base is the size of the heap when the evaluation was first looked at.
	base     uint64
	seen     bool
	exceeded bool
}

// tick is how often the heap is looked at while evaluations run.
const tick = 2 * time.Millisecond

func newWatchdog() *watchdog {
	return &watchdog{watched: map[*evaluation]struct{}{}, wake: make(chan struct{}, 1)}
}

// watch has stop called when the heap grows by more than limit bytes. The
// function returned ends the watch, and says whether that was so.
func (w *watchdog) watch(limit int64, stop func()) func() bool {
	e := &evaluation{limit: uint64(limit), stop: stop}
	w.mu.Lock()
	w.watched[e] = struct{}{}
	first := len(w.watched) == 1
	w.mu.Unlock()
	if first {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watched, e)
		return e.exceeded
	}
}

// run looks at the heap while there are evaluations, until ctx ends.
func (w *watchdog) run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	ticker.Stop()
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
			ticker.Reset(tick)
		case <-ticker.C:
			if !w.look() {
				ticker.Stop()
			}
		}
	}
}

// look reports false when there was nothing to look at.
func (w *watchdog) look() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.watched) == 0 {
		return false
	}
	heap := heapBytes()
	for e := range w.watched {
		switch {
		case !e.seen:
			e.seen, e.base = true, heap
		case heap > e.base && heap-e.base > e.limit && !e.exceeded:
			e.exceeded = true
			e.stop()
		}
	}
	return true
}

func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
