package hostile

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/test/cluster"
)

// rawAttacks break HTTP itself, before there is a request that could get a
// Status: the connection must end with an error, soon, and serve nothing.
func rawAttacks(t *testing.T, node *cluster.Node) {
	const host = "Host: yare\r\n"
	for name, text := range map[string]string{
		"not HTTP":                 "\x16\x03\x01\x00\x00 hello\r\n\r\n",
		"no host":                  "GET /api/v1/namespaces HTTP/1.1\r\n\r\n",
		"bad escape":               "GET /api/v1/%zz HTTP/1.1\r\n" + host + "\r\n",
		"path with a space":        "GET /api/v1/ namespaces HTTP/1.1\r\n" + host + "\r\n",
		"two lengths":              "POST " + configMaps + " HTTP/1.1\r\n" + host + "Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}{}",
		"length of nonsense":       "POST " + configMaps + " HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n{}",
		"encoding of nonsense":     "POST " + configMaps + " HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"chunk of nonsense":        "POST " + configMaps + " HTTP/1.1\r\n" + host + "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
		"header with line folding": "GET / HTTP/1.1\r\n" + host + "X: a\r\n b\x00\r\n\r\n",
		"headers without end":      "GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("x", 2*megabyte) + "\r\n\r\n",
		"absolute target":          "GET https://elsewhere/api/v1/nothing HTTP/1.1\r\n" + host + "\r\n",
		"proxy request":            "CONNECT 127.0.0.1:22 HTTP/1.1\r\n" + host + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := http.ReadResponse(bufio.NewReader(sendRaw(t, node, text)), nil)
			if err != nil {
				if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
					t.Fatal("the server neither answered nor hung up")
				}
				return
			}
			defer answer.Body.Close()
			if answer.StatusCode < http.StatusBadRequest {
				t.Errorf("answered %s", answer.Status)
			}
		})
	}
}

// sendRaw writes a text to the server as its administrator, over HTTP/1.1.
func sendRaw(t *testing.T, node *cluster.Node, text string) net.Conn {
	t.Helper()
	config, err := rest.TLSConfigFor(node.Config())
	if err != nil {
		t.Fatal(err)
	}
	plain, err := node.DialContext(t.Context(), "tcp", node.Address.String()+":6443")
	if err != nil {
		t.Fatal(err)
	}
	config.ServerName = node.Address.String()
	conn := tls.Client(plain, config)
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The server may hang up before it has read all.
	_, _ = conn.Write([]byte(text))
	return conn
}
