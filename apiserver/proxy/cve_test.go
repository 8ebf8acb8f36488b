package proxy_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/apiserver/egress"
	"github.com/yare-io/yare/apiserver/proxy"
)

// upgraded are the requests that lead through the server as upgraded
// connections.
var upgraded = []string{
	"/api/v1/namespaces/default/pods/p/exec?command=x&stdout=1",
	"/api/v1/namespaces/default/pods/p/attach?stdout=1",
	"/api/v1/namespaces/default/pods/p/portforward",
	"/api/v1/nodes/n/proxy/exec/default/p/c",
}

// dialFront opens a connection to the server and asks for an upgrade on it.
func (w *world) dialFront(path string) (net.Conn, *http.Response) {
	w.t.Helper()
	address, err := url.Parse(w.url)
	w.must(err)
	conn, err := net.Dial("tcp", address.Host)
	w.must(err)
	w.t.Cleanup(func() { _ = conn.Close() })
	w.must(conn.SetDeadline(time.Now().Add(20 * time.Second)))
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n", path)
	w.must(err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	w.must(err)
	_, err = io.Copy(io.Discard, answer.Body)
	w.must(err)
	return conn, answer
}

// TestCVE20181002105RefusedUpgradesEndTheConnection: after a kubelet has
// refused an upgrade, the client has no connection to it on which it could go
// on as the server.
func TestCVE20181002105RefusedUpgradesEndTheConnection(t *testing.T) {
	var asked atomic.Int32
	w := newWorldOf(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		http.Error(rw, "no", http.StatusForbidden)
	}))
	for _, path := range upgraded {
		asked.Store(0)
		conn, answer := w.dialFront(path)
		if answer.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
		_, _ = fmt.Fprint(conn, "GET /pods HTTP/1.1\r\nHost: a\r\n\r\n")
		if rest, err := io.ReadAll(conn); err == nil && len(rest) > 0 {
			t.Errorf("%s: the connection goes on: %q", path, rest)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%s: the kubelet got %d requests", path, n)
		}
	}
}

// TestCVE20208559RedirectsOfUpgradesAreNotFollowed: a kubelet that answers an
// upgrade with a redirect sends neither the server nor the client elsewhere.
func TestCVE20208559RedirectsOfUpgradesAreNotFollowed(t *testing.T) {
	var reached atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer elsewhere.Close()
	for _, code := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		w := newWorldOf(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { http.Redirect(rw, r, elsewhere.URL, code) }))
		for _, path := range upgraded {
			_, answer := w.dialFront(path)
			if answer.StatusCode < 500 || answer.Header.Get("Location") != "" {
				t.Errorf("%d, %s: %d, Location %q", code, path, answer.StatusCode, answer.Header.Get("Location"))
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("the redirect was followed %d times", n)
	}
}

// TestCVE20208562NamesOfThisMachineAreNotProxiedTo: a node, pod or service
// cannot make the server connect to its own machine, by name or address, unless
// a network is allowed.
func TestCVE20208562NamesOfThisMachineAreNotProxiedTo(t *testing.T) {
	var reached atomic.Int32
	secret := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer secret.Close()
	_, port, _ := net.SplitHostPort(secret.Listener.Addr().String())
	for _, c := range []struct {
		guard   egress.Guard
		allowed bool
	}{
		{egress.Guard{Flag: "proxy-allowed-networks"}, false},
		{egress.Guard{Flag: "proxy-allowed-networks", Allow: everywhere}, true},
	} {
		w := &world{t: t}
		w.front(proxy.Config{KubeletTLS: &tls.Config{MinVersion: tls.VersionTLS12}, Guard: c.guard})
		for name, address := range map[string]string{"named": "localhost", "numbered": "127.0.0.1", "mapped": "::ffff:127.0.0.1"} {
			_, err := w.client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
				Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}},
			}}, metav1.CreateOptions{})
			w.must(err)
			reached.Store(0)
			code, body := w.get("/api/v1/nodes/" + name + ":" + port + "/proxy/")
			if (code == http.StatusOK) != c.allowed || (reached.Load() > 0) != c.allowed {
				t.Errorf("%s: %d %s", address, code, body)
			}
			if !c.allowed && !strings.Contains(body, "a loopback address; --proxy-allowed-networks can allow it") {
				t.Error(body)
			}
		}
	}
}

var everywhere = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
