package apiserver

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"server"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// network is where a server and its client meet.
type network interface {
	net.Listener
	DialContext(ctx context.Context) (net.Conn, error)
}

// inMemory is a network in which time can be synctest's.
func inMemory() network { return bufconn.Listen(1 << 20) }

// serveIn runs a server with one client until stop, which tells how long the
// end took.
func serveIn(t *testing.T, listener network, protocol string, handler http.HandlerFunc) (client *http.Client, stop func() time.Duration) {
	t.Helper()
	server := &Server{handler: handler, logger: slog.New(slog.DiscardHandler)}
	server.stopping, server.stop = context.WithCancel(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	secure := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, NextProtos: []string{protocol}}
	go func() { ended <- server.Serve(ctx, listener, secure) }()
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return listener.DialContext(ctx) },
		ForceAttemptHTTP2: protocol == "h2",
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: "server"},
	}
	return &http.Client{Transport: transport}, func() time.Duration {
		begun := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		took := time.Since(begun)
		transport.CloseIdleConnections()
		return took
	}
}

func get(t *testing.T, client *http.Client) string {
	t.Helper()
	response, err := client.Get("https://server/")
	if err != nil {
		t.Error(err)
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.Proto + " " + string(body)
}

// atOnce is more than the ticks of net/http's shutdown, and less than the
// second that it would wait for an HTTP/2 connection. The time is synctest's,
// which passes only when all goroutines wait for it.
const atOnce = 100 * time.Millisecond

func TestIdleConnectionsDoNotDelayTheEnd(t *testing.T) {
	for protocol, want := range map[string]string{"h2": "HTTP/2.0 done", "http/1.1": "HTTP/1.1 done"} {
		synctest.Test(t, func(t *testing.T) {
			client, stop := serveIn(t, inMemory(), protocol, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "done") })
			if got := get(t, client); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if took := stop(); took > atOnce {
				t.Errorf("%s: the end took %s", protocol, took)
			}
		})
	}
}

func TestRequestsInFlightEndBeforeTheServer(t *testing.T) {
	const work = 5 * time.Second
	for protocol, want := range map[string]string{"h2": "HTTP/2.0 done", "http/1.1": "HTTP/1.1 done"} {
		synctest.Test(t, func(t *testing.T) {
			client, stop := serveIn(t, inMemory(), protocol, func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(work)
				_, _ = io.WriteString(w, "done")
			})
			var asking sync.WaitGroup
			asking.Go(func() {
				if got := get(t, client); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
			synctest.Wait()
			// net/http looks for the end of HTTP/1 requests twice a second.
			if took := stop(); took < work || took > work+time.Second {
				t.Errorf("%s: the end took %s of %s", protocol, took, work)
			}
			asking.Wait()
		})
	}
}

func TestAConnectionWithoutARequestDoesNotDelayTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, stop := serveIn(t, inMemory(), "h2", nil)
		conn, err := client.Transport.(*http.Transport).DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		synctest.Wait()
		if took := stop(); took > atOnce {
			t.Errorf("the end took %s", took)
		}
	})
}

// TestQuietWatchesGoOn lets nothing happen for longer than a client may take to
// receive something.
func TestQuietWatchesGoOn(t *testing.T) {
	for protocol, want := range map[string]string{"h2": "HTTP/2.0 done", "http/1.1": "HTTP/1.1 done"} {
		synctest.Test(t, func(t *testing.T) {
			client, stop := serveIn(t, inMemory(), protocol, func(w http.ResponseWriter, r *http.Request) {
				control := http.NewResponseController(w)
				watch := &stream{w: w, control: control, watchdog: newWatchdog(control, 30*time.Second)}
				if !watch.deliver(r.Context(), nil) {
					t.Error("an empty batch was not delivered")
				}
				time.Sleep(time.Minute)
				_, _ = io.WriteString(w, "done")
			})
			if got := get(t, client); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			stop()
		})
	}
}
