package apiserver

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"k8s.io/apiserver/pkg/authentication/user"
)

// Transport returns a client transport that reaches the server without a
// socket, as the given user. Bodies and watches stream; a request ends when
// its context does or its answer's body is closed. Upgrades are refused.
func (s *Server) Transport(as user.Info) http.RoundTripper {
	return &transport{server: s, user: as}
}

type transport struct {
	server *Server
	user   user.Info
}

var errUpgrade = errors.New("the in-process transport cannot upgrade connections")

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Upgrade") != "" {
		closeBody(r)
		return nil, errUpgrade
	}
	if t.server.stopping.Err() != nil {
		closeBody(r)
		return nil, http.ErrServerClosed
	}
	ctx, cancel := context.WithCancel(withTrusted(r.Context(), t.user))
	inner := r.Clone(ctx)
	inner.RequestURI = r.URL.RequestURI()
	inner.RemoteAddr = "127.0.0.1:0"
	if inner.Host == "" {
		inner.Host = r.URL.Host
	}
	if inner.Body == nil {
		inner.Body = http.NoBody
	}
	pipe := newPipe()
	t.server.inside.Go(func() {
		defer cancel()
		defer closeBody(r)
		defer pipe.finish()
		t.server.serveInside(pipe, inner)
	})
	return pipe.response(r, cancel)
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

// serveInside runs the handler, which may end an answer it has begun only by a
// panic.
func (s *Server) serveInside(p *pipe, r *http.Request) {
	defer func() {
		if reason := recover(); reason != nil {
			p.WriteHeader(http.StatusInternalServerError)
			p.abort(io.ErrUnexpectedEOF)
		}
	}()
	s.handler.ServeHTTP(p, r)
}

// pipe is an http.ResponseWriter whose other end is a response body. A writer
// that is far ahead of the reader waits.
type pipe struct {
	header http.Header
	// started is closed when status and sent are set.
	started chan struct{}
	status  int
	sent    http.Header

	mu      sync.Mutex
	changed *sync.Cond
	// data is what the reader has not read; buffers below limit never wait.
	data []byte
	// end is why nothing more will be written (io.EOF at a good end).
	end error
	// closed: the reader has gone.
	closed bool
}

// pipeLimit is how many bytes may wait for a reader before the writer does.
const pipeLimit = 256 << 10

func newPipe() *pipe {
	p := &pipe{header: make(http.Header), started: make(chan struct{})}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// response waits for the headers.
func (p *pipe) response(r *http.Request, cancel context.CancelFunc) (*http.Response, error) {
	select {
	case <-p.started:
	case <-r.Context().Done():
		p.close()
		cancel()
		return nil, r.Context().Err()
	}
	release := context.AfterFunc(r.Context(), func() { p.abort(r.Context().Err()) })
	body := &pipeBody{pipe: p, done: func() { release(); cancel() }}
	return &http.Response{
		Status: http.StatusText(p.status), StatusCode: p.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: p.sent, Body: body, ContentLength: -1, Request: r,
	}, nil
}

// Header implements http.ResponseWriter.
func (p *pipe) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter.
func (p *pipe) WriteHeader(status int) {
	if status < http.StatusOK || p.status != 0 {
		return
	}
	p.status, p.sent = status, p.header.Clone()
	close(p.started)
}

// Write implements http.ResponseWriter.
func (p *pipe) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.data) >= pipeLimit && !p.closed && p.end == nil {
		p.changed.Wait()
	}
	if p.closed || p.end != nil {
		return 0, io.ErrClosedPipe
	}
	p.data = append(p.data, b...)
	p.changed.Broadcast()
	return len(b), nil
}

// FlushError sends the headers; data is never held back.
func (p *pipe) FlushError() error {
	p.WriteHeader(http.StatusOK)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return io.ErrClosedPipe
	}
	return nil
}

// Flush implements http.Flusher.
func (p *pipe) Flush() { _ = p.FlushError() }

// finish ends the answer well.
func (p *pipe) finish() {
	p.WriteHeader(http.StatusOK)
	p.abort(io.EOF)
}

// abort ends the answer for a reason, the first of which counts.
func (p *pipe) abort(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end == nil {
		p.end = reason
	}
	p.changed.Broadcast()
}

// close makes writers fail.
func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.data = true, nil
	p.changed.Broadcast()
}

// pipeBody is the reader's end.
type pipeBody struct {
	pipe *pipe
	done func()
}

// Read implements io.Reader.
func (b *pipeBody) Read(to []byte) (int, error) {
	p := b.pipe
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.data) == 0 && p.end == nil && !p.closed {
		p.changed.Wait()
	}
	switch {
	case p.closed:
		return 0, http.ErrBodyReadAfterClose
	case len(p.data) == 0:
		return 0, p.end
	}
	n := copy(to, p.data)
	if p.data = p.data[n:]; len(p.data) == 0 {
		p.data = nil
	}
	p.changed.Broadcast()
	return n, nil
}

// Close implements io.Closer and ends the request.
func (b *pipeBody) Close() error {
	b.pipe.close()
	b.done()
	return nil
}
