// Package link is a network that fails as it is told. It forwards connections to
// a server, and loses them, delays what goes over them, or leaves them half
// open, where nobody learns that the other side is not heard any more.
package link

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Link forwards connections. Its methods may be called concurrently.
type Link struct {
	listener       net.Listener
	dial           func() (net.Conn, error)
	closed         chan struct{}
	running        sync.WaitGroup
	mu             sync.Mutex
	conns          map[net.Conn]struct{}
	delay          time.Duration
	up, down       gate
	refusing, over bool
}

// gate lets through what is closed.
type gate chan struct{}

func opened() gate {
	g := make(gate)
	close(g)
	return g
}

// New forwards connections at an address to what dial reaches, until the test
// ends.
func New(tb testing.TB, network, address string, dial func() (net.Conn, error)) *Link {
	tb.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		tb.Fatal(err)
	}
	l := &Link{
		listener: listener, dial: dial, closed: make(chan struct{}),
		conns: map[net.Conn]struct{}{}, up: opened(), down: opened(),
	}
	l.running.Go(l.accept)
	tb.Cleanup(func() {
		close(l.closed)
		_ = listener.Close()
		l.mu.Lock()
		l.over = true
		l.mu.Unlock()
		l.Cut()
		l.running.Wait()
	})
	return l
}

// Addr is where clients reach the link.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Cut ends all connections.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.conns {
		_ = conn.Close()
	}
	clear(l.conns)
}

// Refuse ends all connections, and those that come, until Heal.
func (l *Link) Refuse() {
	l.mu.Lock()
	l.refusing = true
	l.mu.Unlock()
	l.Cut()
}

// Stall carries nothing in either direction until Heal. Connections stay, and
// new ones seem to succeed.
func (l *Link) Stall() { l.hold(true, true) }

// Deafen carries what clients ask but no answer, until Heal.
func (l *Link) Deafen() { l.hold(false, true) }

func (l *Link) hold(up, down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if up {
		l.up = make(gate)
	}
	if down {
		l.down = make(gate)
	}
}

// Delay makes all that comes from now on arrive later, until Heal.
func (l *Link) Delay(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = d
}

// Heal ends what Refuse, Stall, Deafen and Delay began. What was held arrives,
// unless its connection was cut.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay, l.refusing = 0, false
	for _, g := range []*gate{&l.up, &l.down} {
		select {
		case <-*g:
		default:
			close(*g)
		}
	}
}

func (l *Link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		server, err := l.dial()
		if err != nil {
			_ = client.Close()
			continue
		}
		if !l.keep(client, server) {
			continue
		}
		l.running.Go(func() { l.forward(server, client, func() gate { return l.up }) })
		l.running.Go(func() { l.forward(client, server, func() gate { return l.down }) })
	}
}

func (l *Link) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range conns {
		if l.refusing || l.over {
			_ = conn.Close()
			continue
		}
		l.conns[conn] = struct{}{}
	}
	return !l.refusing && !l.over
}

// forward copies as the link allows. When one direction ends, so does the
// connection.
func (l *Link) forward(to, from net.Conn, current func() gate) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		_ = to.Close()
		_ = from.Close()
		delete(l.conns, to)
		delete(l.conns, from)
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && (!l.wait(current) || !write(to, buffer[:n])) || err != nil {
			return
		}
	}
}

func write(to net.Conn, data []byte) bool {
	_, err := to.Write(data)
	return err == nil
}

// wait returns when the link carries again, or false when it is gone.
func (l *Link) wait(current func() gate) bool {
	l.mu.Lock()
	delay, g := l.delay, current()
	l.mu.Unlock()
	if delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.closed:
			return false
		}
	}
	select {
	case <-g:
		return true
	case <-l.closed:
		return false
	}
}
