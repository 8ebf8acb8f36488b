package apiserver

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// flushTime is given to what was written last: net/http says that an HTTP/2
// connection is idle just before it sends the end of the last answer.
const flushTime = 20 * time.Millisecond

// connections knows which of a server's connections carry no request, so that
// a server that stops need not wait for them: for HTTP/2, net/http does not
// close one before a second has passed, whether it is idle or not.
type connections struct {
	mutex    sync.Mutex
	idle     map[net.Conn]idleness // new ones too
	stopping bool
}

type idleness struct {
	state http.ConnState
	since time.Time
}

func newConnections() *connections { return &connections{idle: map[net.Conn]idleness{}} }

// track is the ConnState of an http.Server.
func (c *connections) track(conn net.Conn, state http.ConnState) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch state {
	case http.StateNew, http.StateIdle:
		c.idle[conn] = idleness{state, time.Now()}
		if c.stopping {
			c.endSoon(conn)
		}
	default:
		delete(c.idle, conn)
	}
}

// stop ends all connections that are idle, and from now on each that gets so.
func (c *connections) stop() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.stopping = true
	for conn := range c.idle {
		c.endSoon(conn)
	}
}

// endSoon ends a connection once it has been idle for flushTime. The caller
// holds the lock.
func (c *connections) endSoon(conn net.Conn) {
	found := c.idle[conn]
	time.AfterFunc(time.Until(found.since.Add(flushTime)), func() {
		c.mutex.Lock()
		still := c.idle[conn] == found
		c.mutex.Unlock()
		if still {
			end(conn, found.state)
		}
	})
}

// end closes the server's half of a connection: the client reads all that was
// written, then the end, and closes the other half. One on which nothing was
// said yet is closed as it is.
func end(conn net.Conn, state http.ConnState) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok && state == http.StateIdle && half.CloseWrite() == nil {
		return
	}
	_ = conn.Close()
}
