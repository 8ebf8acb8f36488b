package apiserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// calls is a connection of which each Write waits for the test to take it.
type calls struct {
	net.Conn
	written chan []byte
	closed  chan struct{}
}

func newCalls() *calls { return &calls{written: make(chan []byte), closed: make(chan struct{})} }

func (c *calls) Write(p []byte) (int, error) {
	select {
	case c.written <- bytes.Clone(p):
		return len(p), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *calls) Close() error { close(c.closed); return nil }

func gathering(conn net.Conn) *gatherConn {
	c := &gatherConn{Conn: conn}
	c.changed.L = &c.mu
	c.gathers.Store(true)
	return c
}

func say(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); err != nil || n != len(text) {
		t.Errorf("wrote %d of %d: %v", n, len(text), err)
	}
}

func TestWritesGatherWhileOneIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		socket := newCalls()
		conn := gathering(socket)
		say(t, conn, "first")
		synctest.Wait() // it is being sent
		say(t, conn, "second")
		say(t, conn, "third")
		for _, want := range []string{"first", "secondthird"} {
			if got := string(<-socket.written); got != want {
				t.Errorf("sent %q, want %q", got, want)
			}
		}
		synctest.Wait()
		say(t, conn, "last")
		if got := string(<-socket.written); got != "last" {
			t.Errorf("sent %q, want %q", got, "last")
		}
	})
}

func TestNoMoreGathersThanTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		socket := newCalls()
		conn := gathering(socket)
		say(t, conn, "first")
		synctest.Wait()
		text, done := strings.Repeat("0123456789", gatherLimit/10+1), false
		go func() { say(t, conn, text); done = true }()
		synctest.Wait()
		if done {
			t.Error("more than the limit was taken")
		}
		got := string(<-socket.written) + string(<-socket.written) + string(<-socket.written)
		synctest.Wait()
		if !done || got != "first"+text {
			t.Errorf("%d bytes were sent of %d", len(got), len("first"+text))
		}
	})
}

func TestCloseEndsAWriteThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := gathering(newCalls())
		say(t, conn, "first")
		synctest.Wait()
		var err error
		go func() { _, err = conn.Write(make([]byte, gatherLimit+1)) }()
		synctest.Wait()
		_ = conn.Close()
		synctest.Wait()
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("the write that waited: %v", err)
		}
		if _, err := conn.Write([]byte("more")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a write after the end: %v", err)
		}
	})
}

// brokenConn fails to write.
type brokenConn struct{ net.Conn }

var errBroken = errors.New("broken")

func (brokenConn) Write([]byte) (int, error) { return 0, errBroken }

func TestTheNextWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := gathering(brokenConn{})
		say(t, conn, "first")
		synctest.Wait()
		if _, err := conn.Write([]byte("second")); !errors.Is(err, errBroken) {
			t.Errorf("after a write that failed: %v", err)
		}
	})
}

// TestLastWordsArrive closes a connection on which much is still to be sent, as
// net/http does after the last answer.
func TestLastWordsArrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		server := tls.Server(gathering(near), &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
		client := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
		text := strings.Repeat("x", gatherLimit/2)
		go func() {
			say(t, server, text)
			_ = server.Close()
		}()
		got, err := io.ReadAll(client)
		if err != nil || string(got) != text {
			t.Errorf("%d of %d bytes arrived: %v", len(got), len(text), err)
		}
		_ = client.Close()
	})
}

// TestAClientThatDoesNotReadDoesNotKeepItsConnection closes a connection whose
// other end takes nothing.
func TestAClientThatDoesNotReadDoesNotKeepItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer func() { _ = far.Close() }()
		server := tls.Server(gathering(near), &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
		client := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
		go func() { _ = client.Handshake() }()
		if err := server.Handshake(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		say(t, server, "nobody reads this")
		begun := time.Now()
		_ = server.Close()
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("the end took %s", took)
		}
	})
}

// listenerOf accepts one connection.
type listenerOf struct {
	net.Listener
	conn net.Conn
}

func (l listenerOf) Accept() (net.Conn, error) { return l.conn, nil }

func TestOnlyHTTP2Gathers(t *testing.T) {
	for protocol, want := range map[string]bool{"h2": true, "http/1.1": false} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			conn, err := gatherListener{listenerOf{conn: near}}.Accept()
			if err != nil {
				t.Fatal(err)
			}
			settings := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{protocol}, InsecureSkipVerify: true}
			server, client := tls.Server(conn, settings), tls.Client(far, settings)
			gatherHTTP2(server, http.StateNew)
			go func() { _ = client.HandshakeContext(context.Background()); _, _ = io.Copy(io.Discard, client) }()
			if err := server.Handshake(); err != nil {
				t.Fatal(err)
			}
			gatherHTTP2(server, http.StateActive)
			if got := conn.(*gatherConn).gathers.Load(); got != want {
				t.Errorf("%s: gathers %t, want %t", protocol, got, want)
			}
			_ = server.Close()
			_ = client.Close()
		})
	}
}
