package aggregation_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const remotePath = "/apis/metrics.example.com/v1/loads"

// answering makes the other server answer everything but its documents so.
func (w *world) answering(serve http.HandlerFunc) {
	w.register()
	w.wait("available", func() bool { return w.available("v1.metrics.example.com") == "True Passed" })
	w.other.serve.Store(&serve)
}

// upgrade asks for an upgrade and returns the connection and its first answer.
func (w *world) upgrade() (net.Conn, *http.Response) {
	w.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\nUser: jane\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", remotePath)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	return conn, answer
}

// TestCVE20181002105RefusedUpgradesEndTheConnection: after another server has
// refused an upgrade, the client cannot go on to it as whom it likes.
func TestCVE20181002105RefusedUpgradesEndTheConnection(t *testing.T) {
	w := newWorld(t)
	var asked, forged atomic.Int32
	w.answering(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("X-Remote-User") != "jane" {
			forged.Add(1)
		}
		http.Error(rw, "no", http.StatusForbidden)
	})
	conn, answer := w.upgrade()
	if answer.StatusCode != http.StatusForbidden {
		t.Fatalf("got %d", answer.StatusCode)
	}
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\nX-Remote-User: root\r\nX-Remote-Group: system:masters\r\n\r\n", remotePath)
	if rest, err := io.ReadAll(conn); err == nil && len(rest) > 0 {
		t.Errorf("the connection goes on: %q", rest)
	}
	if asked.Load() != 1 || forged.Load() != 0 {
		t.Errorf("the other server got %d requests, %d of them forged", asked.Load(), forged.Load())
	}
}

// TestCVE20223172RedirectsDoNotReachClients: another server cannot send a
// client, and its credentials, elsewhere.
func TestCVE20223172RedirectsDoNotReachClients(t *testing.T) {
	w := newWorld(t)
	var code atomic.Int32
	w.answering(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "https://elsewhere.invalid/", int(code.Load()))
	})
	for _, redirect := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		code.Store(int32(redirect))
		for _, method := range []string{"GET", "POST", "DELETE"} {
			if got, body := w.do(method, remotePath, "{}"); got != http.StatusBadGateway || strings.Contains(body, "elsewhere") {
				t.Errorf("%s, %d: %d %s", method, redirect, got, body)
			}
		}
		if _, answer := w.upgrade(); answer.StatusCode < 500 || answer.Header.Get("Location") != "" {
			t.Errorf("upgrade, %d: %d, Location %q", redirect, answer.StatusCode, answer.Header.Get("Location"))
		}
	}
}
