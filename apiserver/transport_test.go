package apiserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// reused sends some requests and counts those that went on a connection that an
// earlier one had opened.
func reused(t *testing.T, client *http.Client, requests int) int {
	t.Helper()
	var count atomic.Int64
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if info.Reused {
			count.Add(1)
		}
	}}
	for range requests {
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, "https://server/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body) // else HTTP/1.1 cannot go on
		_ = response.Body.Close()
	}
	return int(count.Load())
}

// loopback is a network of real sockets.
type loopback struct{ net.Listener }

func onLoopback(t *testing.T) network {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return loopback{listener}
}

func (l loopback) DialContext(ctx context.Context) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }

func TestConnectionsAreKept(t *testing.T) {
	for _, protocol := range []string{"h2", "http/1.1"} {
		client, stop := serveIn(t, onLoopback(t), protocol, hello)
		if n := reused(t, client, 10); n != 9 {
			t.Errorf("%s: %d of 10 requests found a connection", protocol, n)
		}
		stop()
	}
}

// TestClientsAreSentAway: with the chance at its end, each request of HTTP/2 is
// the last one of its connection; HTTP/1.1 is left alone.
func TestClientsAreSentAway(t *testing.T) {
	server := &Server{config: Config{GoAwayChance: 1}}
	for protocol, want := range map[string]int{"h2": 0, "http/1.1": 9} {
		client, stop := serveIn(t, onLoopback(t), protocol, server.goAway(http.HandlerFunc(hello)).ServeHTTP)
		if n := reused(t, client, 10); n != want {
			t.Errorf("%s: %d of 10 requests found a connection, want %d", protocol, n, want)
		}
		stop()
	}
}

// raw is an HTTP/2 connection without a client's manners.
type raw struct {
	*http2.Framer
	conn   net.Conn
	frames chan http2.Frame
}

// dialRaw opens a connection, whose frames come in whether read or not.
func dialRaw(t *testing.T, handler http.HandlerFunc) *raw {
	t.Helper()
	server := &Server{handler: handler, logger: slog.New(slog.DiscardHandler)}
	server.stopping, server.stop = context.WithCancel(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	listener := onLoopback(t)
	var running sync.WaitGroup
	running.Go(func() {
		_ = server.Serve(ctx, listener, &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{"h2"}})
	})
	plain, err := listener.DialContext(ctx)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(plain, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	c := &raw{Framer: http2.NewFramer(conn, conn), conn: conn, frames: make(chan http2.Frame, 10_000)}
	running.Go(func() {
		defer close(c.frames)
		for {
			frame, err := c.ReadFrame()
			if err != nil {
				return
			}
			switch f := frame.(type) { // a frame is valid until the next one is read
			case *http2.SettingsFrame:
				streams, _ := f.Value(http2.SettingMaxConcurrentStreams)
				c.frames <- settings{f, streams}
			case *http2.GoAwayFrame:
				c.frames <- goAway{f, f.ErrCode}
			}
		}
	})
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		running.Wait()
	})
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	if err := c.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

type settings struct {
	http2.Frame
	streams uint32
}

type goAway struct {
	http2.Frame
	code http2.ErrCode
}

func TestStreamsOfAConnectionAreLimited(t *testing.T) {
	c := dialRaw(t, hello)
	if s, ok := (<-c.frames).(settings); !ok || s.streams != maxStreams {
		t.Errorf("the server allows %d streams, want %d", s.streams, maxStreams)
	}
}

// TestRapidResetsEndTheConnection (CVE-2023-44487): streams that are opened and
// reset at once, over and over, run no more handlers than the limit, and their
// connection is closed.
func TestRapidResetsEndTheConnection(t *testing.T) {
	release := make(chan struct{})
	var running, most atomic.Int64
	c := dialRaw(t, func(http.ResponseWriter, *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		<-release // whether the client is still there or not
	})
	defer close(release)
	var block bytes.Buffer
	headers := hpack.NewEncoder(&block)
	for _, field := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "server"}, {Name: ":path", Value: "/"}} {
		if err := headers.WriteField(field); err != nil {
			t.Fatal(err)
		}
	}
	// The encoder's table changes with the first block only: the same literal
	// fields may be sent again.
	for stream := uint32(1); stream < 20_000; stream += 2 {
		if c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}) != nil ||
			c.WriteRSTStream(stream, http2.ErrCodeCancel) != nil {
			break // the server has hung up
		}
	}
	calm := false
	for frame := range c.frames {
		if g, ok := frame.(goAway); ok {
			calm = g.code == http2.ErrCodeEnhanceYourCalm
			break
		}
	}
	if !calm {
		t.Error("the connection was not ended with ENHANCE_YOUR_CALM")
	}
	if n := most.Load(); n == 0 || n > maxStreams {
		t.Errorf("%d handlers ran at once, at most %d may", n, maxStreams)
	}
}
