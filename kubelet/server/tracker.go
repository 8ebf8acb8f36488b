package server

import (
	"net"
	"net/http"
	"sync"
)

// tracker is a listener that remembers the connections it accepted, so that
// those which were upgraded to streams can be ended too.
type tracker struct {
	net.Listener
	// handlers counts the requests that are being answered.
	handlers sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

func newTracker(l net.Listener) *tracker {
	return &tracker{Listener: l, open: map[net.Conn]bool{}}
}

// Accept implements net.Listener.
func (t *tracker) Accept() (net.Conn, error) {
	conn, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	t.open[conn] = true
	return &trackedConn{Conn: conn, tracker: t}, nil
}

// closeAll closes all connections that are open, and all that still come.
func (t *tracker) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for conn := range t.open {
		conn.Close()
	}
}

// counting counts the requests that next answers.
func (t *tracker) counting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.handlers.Add(1)
		defer t.handlers.Done()
		next.ServeHTTP(w, r)
	})
}

type trackedConn struct {
	net.Conn
	tracker *tracker
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.tracker.mu.Lock()
	delete(c.tracker.open, c.Conn)
	c.tracker.mu.Unlock()
	return c.Conn.Close()
}
