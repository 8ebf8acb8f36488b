package apiserver

import (
	"net/http"
	"sync"
	"time"
)

// watchdog cuts a stream off when its client takes too long to receive what is
// written: longer than patience, and at the latest after twice that. A deadline
// of the connection would not do: it also ends streams that have nothing to
// write. To set one for each event, or a timer, is dear.
type watchdog struct {
	patience time.Duration
	control  *http.ResponseController
	timer    *time.Timer

	mu      sync.Mutex
	writing bool
	// writes counts the writes, and looked is the one at which the timer, if it
	// is armed, was set.
	writes, looked int64
	armed          bool
}

func newWatchdog(control *http.ResponseController, patience time.Duration) *watchdog {
	w := &watchdog{patience: patience, control: control}
	w.timer = time.AfterFunc(patience, w.look)
	w.timer.Stop()
	return w
}

// guard begins a write, which ends when the function returned is called.
func (w *watchdog) guard() (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = true
	w.writes++
	if !w.armed {
		w.arm()
	}
	return w.end
}

func (w *watchdog) arm() {
	w.armed, w.looked = true, w.writes
	w.timer.Reset(w.patience)
}

func (w *watchdog) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = false
}

// stop is for the end of the stream.
func (w *watchdog) stop() { w.timer.Stop() }

// look makes a write fail that has gone on since the last look. It holds the
// lock meanwhile, so that the connection is not somebody else's by then.
func (w *watchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.writing:
		w.armed = false
	case w.writes == w.looked:
		_ = w.control.SetWriteDeadline(time.Unix(1, 0))
	default:
		w.arm()
	}
}
