package apiserver

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"github.com/yare-io/yare/apiserver/codec"
)

// Browsers watch over WebSockets: each event is a text message.

// socketOffer is what can be had over a socket: an event a message, in JSON.
func socketOffer(offer codec.Offer) codec.Offer {
	return codec.Offer{As: offer.As, Formats: []codec.Format{codec.JSON}}
}

func isSocket(r *http.Request) bool { return wsstream.IsWebSocketRequest(r) }

// socket takes the place of an HTTP response under a stream of lines.
type socket struct {
	conn    *websocket.Conn
	header  http.Header
	line    []byte
	reading sync.WaitGroup
}

// upgrade answers the request with a socket; when it cannot, it has said so.
// The context returned ends when the client closes the socket. What the client
// says is ignored.
func (s *Server) upgrade(ctx context.Context, w http.ResponseWriter, r *http.Request) (*socket, context.Context, error) {
	upgrader := websocket.Upgrader{
		// Nothing that a browser sends by itself is believed, so any page may try.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	if offered := websocket.Subprotocols(r); len(offered) > 0 {
		upgrader.Subprotocols = offered[:1]
	}
	conn, err := upgrader.Upgrade(&hijackable{ResponseWriter: w, stopping: s.stopping}, r, nil)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	k := &socket{conn: conn, header: http.Header{}}
	k.reading.Go(func() {
		defer cancel()
		for {
			if _, _, err := conn.NextReader(); err != nil {
				return
			}
		}
	})
	return k, ctx, nil
}

func (k *socket) close() {
	_ = k.conn.Close()
	k.reading.Wait()
}

// Header and WriteHeader implement http.ResponseWriter: the answer has been
// given.
func (k *socket) Header() http.Header { return k.header }

// WriteHeader see Header.
func (k *socket) WriteHeader(int) {}

// Write sends every line that is whole as a message.
func (k *socket) Write(b []byte) (int, error) {
	k.line = append(k.line, b...)
	for {
		end := bytes.IndexByte(k.line, '\n')
		if end < 0 {
			return len(b), nil
		}
		if err := k.conn.WriteMessage(websocket.TextMessage, k.line[:end+1]); err != nil {
			return 0, err
		}
		k.line = append(k.line[:0], k.line[end+1:]...)
	}
}

// FlushError and SetWriteDeadline are what http.ResponseController asks for.
func (k *socket) FlushError() error { return nil }

// SetWriteDeadline see FlushError.
func (k *socket) SetWriteDeadline(deadline time.Time) error {
	return k.conn.NetConn().SetWriteDeadline(deadline)
}
