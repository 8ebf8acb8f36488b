package apiserver

import (
	"net/http"
	"sync"
	"time"
)

// watchdog cuts a stream off when its client takes too long to receive what is
// written. A deadline of the connection would not do: it also ends streams
// that have nothing to write, and to set one for each event is dear.
type watchdog struct {
	patience time.Duration
	control  *http.ResponseController
	timer    *time.Timer

	mu      sync.Mutex
	writing bool
}

func newWatchdog(control *http.ResponseController, patience time.Duration) *watchdog {
	w := &watchdog{patience: patience, control: control}
	w.timer = time.AfterFunc(patience, w.cut)
	w.timer.Stop()
	return w
}

// guard begins a write, which ends when the function returned is called.
func (w *watchdog) guard() (end func()) {
	w.set(true)
	w.timer.Reset(w.patience)
	return w.end
}

func (w *watchdog) end() {
	w.timer.Stop()
	w.set(false)
}

func (w *watchdog) set(writing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = writing
}

// cut makes the write that goes on fail. It holds the lock, so that the
// connection is not somebody else's by then.
func (w *watchdog) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writing {
		_ = w.control.SetWriteDeadline(time.Unix(1, 0))
	}
}
