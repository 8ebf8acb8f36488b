package apiserver

import (
	"net"
	"net/http"
	"sync"
)

// connections knows which of a server's connections carry no request, so that
// a server that stops need not wait for them: for HTTP/2, net/http does not
// close one before a second has passed, whether it is idle or not.
type connections struct {
	mutex    sync.Mutex
	idle     map[net.Conn]http.ConnState // new ones too
	stopping bool
}

func newConnections() *connections { return &connections{idle: map[net.Conn]http.ConnState{}} }

// track is the ConnState of an http.Server.
func (c *connections) track(conn net.Conn, state http.ConnState) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch state {
	case http.StateNew, http.StateIdle:
		c.idle[conn] = state
		if c.stopping {
			go end(conn, state)
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
	for conn, state := range c.idle {
		go end(conn, state)
	}
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
