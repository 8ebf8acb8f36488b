package apiserver

import (
	"crypto/tls"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// gatherLimit is how many bytes a connection holds at most beside those that
// are being sent: four TLS records, and what Linux hands down in one piece.
const gatherLimit = 64 << 10

// gatherListener accepts connections that can gather what is written to them.
type gatherListener struct{ net.Listener }

// Accept implements net.Listener.
func (l gatherListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &gatherConn{Conn: conn}
	c.changed.L = &c.mu
	return c, nil
}

// gatherConn is the connection below TLS. net/http writes one frame of HTTP/2
// at a time, each a system call: an event that goes to many watches of a
// connection costs as many. Once it gathers, a write is taken at once and sent
// by a goroutine of its own, so that what other streams write meanwhile goes
// along with it. An error is that of the next write, and what was not sent when the
// connection is closed is lost.
type gatherConn struct {
	net.Conn
	decided bool // by gatherHTTP2 alone
	gathers atomic.Bool

	mu sync.Mutex
	// changed: pending was taken, or sending has ended.
	changed sync.Cond
	pending *gathered
	sending bool
	err     error
}

type gathered struct {
	length int
	bytes  [gatherLimit]byte
}

var gatheredPool = sync.Pool{New: func() any { return new(gathered) }}

// gatherHTTP2 has a connection gather if HTTP/2 is spoken on it. In HTTP/1 each
// write is waited for, and handlers may take the connection over. It is for the
// ConnState of an http.Server, which does not call it concurrently for a
// connection.
func gatherHTTP2(conn net.Conn, state http.ConnState) {
	secure, ok := conn.(*tls.Conn)
	if !ok || state == http.StateNew {
		return
	}
	if c, ok := secure.NetConn().(*gatherConn); ok && !c.decided {
		c.decided = true
		c.gathers.Store(secure.ConnectionState().NegotiatedProtocol == "h2")
	}
}

// Write implements net.Conn.
func (c *gatherConn) Write(p []byte) (int, error) {
	if !c.gathers.Load() {
		return c.Conn.Write(p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for rest := p; len(rest) > 0; {
		for c.err == nil && c.pending != nil && c.pending.length == gatherLimit {
			c.changed.Wait()
		}
		if c.err != nil {
			return len(p) - len(rest), c.err
		}
		if c.pending == nil {
			c.pending = gatheredPool.Get().(*gathered)
		}
		n := copy(c.pending.bytes[c.pending.length:], rest)
		c.pending.length += n
		rest = rest[n:]
		if !c.sending {
			c.sending = true
			go c.send()
		}
	}
	return len(p), nil
}

// send sends until nothing is left or the connection fails. First it lets those
// run who are about to write as well.
func (c *gatherConn) send() {
	runtime.Gosched()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.pending != nil && c.err == nil {
		batch := c.pending
		c.pending = nil
		c.changed.Broadcast()
		c.mu.Unlock()
		_, err := c.Conn.Write(batch.bytes[:batch.length])
		batch.length = 0
		gatheredPool.Put(batch)
		c.mu.Lock()
		if c.err == nil {
			c.err = err
		}
	}
	c.sending = false
	c.changed.Broadcast()
}

// SetWriteDeadline implements net.Conn. A deadline that has passed is meant for
// what is written from now on, as crypto/tls sets one behind its last words: what
// was taken before is still sent, within the deadline that was set then.
func (c *gatherConn) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() && !t.After(time.Now()) {
		c.drain()
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *gatherConn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.sending {
		c.changed.Wait()
	}
}
