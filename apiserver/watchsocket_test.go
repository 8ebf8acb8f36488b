package apiserver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestWatchesOverWebSockets: an event a message, until the client goes.
func TestWatchesOverWebSockets(t *testing.T) {
	h := start(t)
	for i := range 50 { // more than one write takes
		_, err := h.client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("m-%02d", i)}, Data: map[string]string{"x": strings.Repeat("x", 1000)},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	dial := func(query string, protocols ...string) *websocket.Conn {
		t.Helper()
		dialer := websocket.Dialer{Subprotocols: protocols}
		conn, answer, err := dialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(h.http.URL, "http")+mapsPath+"?watch=1"+query, http.Header{"Origin": {"https://example.com"}})
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	next := func(conn *websocket.Conn) event {
		t.Helper()
		var e event
		kind, message, err := conn.ReadMessage()
		if err != nil || kind != websocket.TextMessage || json.Unmarshal(message, &e) != nil {
			t.Fatalf("%d %s %v", kind, message, err)
		}
		return e
	}
	conn := dial("", "base64.binary.k8s.io")
	if conn.Subprotocol() != "base64.binary.k8s.io" {
		t.Errorf("protocol %q", conn.Subprotocol())
	}
	for i := range 50 {
		if e := next(conn); e.Type != "ADDED" || !strings.Contains(string(e.Object), fmt.Sprintf(`"name":"m-%02d"`, i)) {
			t.Fatalf("event %d is %s %.100s", i, e.Type, e.Object)
		}
	}
	if err := conn.WriteMessage(websocket.TextMessage, []byte("ignored")); err != nil {
		t.Fatal(err)
	}
	h.configMap(t, "later")
	if e := next(conn); e.Type != "ADDED" {
		t.Errorf("%+v", e)
	}
	if _, _, err := dial("&timeoutSeconds=1&fieldSelector=metadata.name%3Dnone").ReadMessage(); err == nil {
		t.Error("a watch goes on after its time")
	}
	_, answer, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(h.http.URL, "http")+mapsPath+"?watch=1&labelSelector=(", nil)
	if err == nil || answer == nil || answer.StatusCode != http.StatusBadRequest {
		t.Errorf("a wrong selector: %v", err)
	}
	if answer != nil {
		_ = answer.Body.Close()
	}
}
