package etcd_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/storage/faulttest/link"
	"github.com/yare-io/yare/storage/storetest"
)

// listening starts an embedded server on a unix socket and returns the path of
// the socket, which is shorter than a test's own directory allows.
func listening(t testing.TB) (storage.Store, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "yare")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "etcd.sock")
	store := open(t, etcd.Config{Dir: filepath.Join(dir, "data"), Listen: []string{"unix://" + socket}})
	t.Cleanup(func() { _ = store.Close() })
	return store, socket
}

func TestExternalStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storage.Store {
		_, socket := listening(t)
		return open(t, etcd.Config{Endpoints: []string{"unix://" + socket}})
	})
}

func TestEtcdctlReadsTheEmbeddedServer(t *testing.T) {
	etcdctl, err := exec.LookPath("etcdctl")
	if err != nil {
		t.Skip("etcdctl is not installed")
	}
	store, socket := listening(t)
	if _, err := store.Create(t.Context(), "/registry/pods/a", []byte("hello"), 0); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(etcdctl, "--endpoints", "unix://"+socket, "get", "--prefix", "/registry/").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "/registry/pods/a\nhello") {
		t.Fatalf("etcdctl: %v\n%s", err, out)
	}
}

func TestEtcdOverTLSAsksForACertificate(t *testing.T) {
	dir := t.TempDir()
	authority := newAuthority(t, dir)
	server, client := authority.issue(t, "server"), authority.issue(t, "client")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint := "https://" + listener.Addr().String()
	_ = listener.Close()
	embedded := open(t, etcd.Config{Dir: filepath.Join(dir, "data"), Listen: []string{endpoint}, ListenTLS: server})
	defer embedded.Close()
	revision, err := embedded.Create(t.Context(), "/a", []byte("x"), 0)
	if err != nil {
		t.Fatal(err)
	}
	external := open(t, etcd.Config{Endpoints: []string{endpoint}, TLS: client})
	defer external.Close()
	if kv, err := external.Get(t.Context(), "/a"); err != nil || kv.Revision != revision {
		t.Fatalf("got %+v %v", kv, err)
	}
	anonymous := etcd.Config{Endpoints: []string{endpoint}, TLS: etcd.TLS{CA: client.CA}, RequestTimeout: 500 * time.Millisecond}
	if _, err := etcd.Open(t.Context(), anonymous); err == nil {
		t.Fatal("a client without a certificate was let in")
	}
}

func TestOpenRefusesAmbiguousConfigs(t *testing.T) {
	for _, config := range []etcd.Config{{}, {Dir: t.TempDir(), Endpoints: []string{"http://127.0.0.1:1"}}} {
		if _, err := etcd.Open(t.Context(), config); err == nil {
			t.Fatalf("%+v was accepted", config)
		}
	}
}

// TestWatchesSurviveLostConnections cuts all connections again and again under
// a writer and a watch. A write whose answer is lost may or may not have
// happened; the watch must have every acknowledged one, in order and once.
func TestWatchesSurviveLostConnections(t *testing.T) {
	_, socket := listening(t)
	way := unixLink(t, socket)
	store := open(t, etcd.Config{Endpoints: []string{"unix://" + way.Addr()}, RequestTimeout: 2 * time.Second})
	defer store.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := store.Watch(ctx, storage.WatchRequest{Prefix: "/"})
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := map[int64]string{}
	for i := range 300 {
		if i%50 == 25 {
			way.Cut()
		}
		key := fmt.Sprintf("/k/%d", i)
		if revision, err := store.Create(ctx, key, nil, 0); err == nil {
			acknowledged[revision] = key
		}
	}
	end := int64(0)
	eventually(t, "a last write", func() bool {
		end, err = store.Create(ctx, "/end", nil, 0)
		return err == nil
	})
	if len(acknowledged) < 200 {
		t.Fatalf("only %d writes were acknowledged", len(acknowledged))
	}
	for last := int64(0); last < end; {
		batch, ok := <-w.Batches()
		if !ok {
			t.Fatalf("the watch ended: %v", w.Err())
		}
		for _, event := range batch.Events {
			if last != 0 && event.KV.Revision != last+1 {
				t.Fatalf("revision %d after %d", event.KV.Revision, last)
			}
			last = event.KV.Revision
			if key := acknowledged[last]; key != "" && key != event.KV.Key {
				t.Fatalf("revision %d wrote %s, watched was %s", last, key, event.KV.Key)
			}
			delete(acknowledged, last)
		}
	}
	if len(acknowledged) > 0 {
		t.Fatalf("not watched: %v", acknowledged)
	}
}

// unixLink is a link to a unix socket, at another one.
func unixLink(t *testing.T, socket string) *link.Link {
	return link.New(t, "unix", socket+".link", func() (net.Conn, error) { return net.Dial("unix", socket) })
}

// authority issues certificates into a directory.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, dir string) *authority {
	a := &authority{dir: dir}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = a.sign(t, "ca", template)
	return a
}

// issue makes a certificate for a server at 127.0.0.1 and other addresses, and
// for a client of that name.
func (a *authority) issue(t testing.TB, name string, addresses ...net.IP) etcd.TLS {
	a.sign(t, name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: append(addresses, net.IPv4(127, 0, 0, 1)),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	file := func(name string) string { return filepath.Join(a.dir, name) }
	return etcd.TLS{CA: file("ca.crt"), Cert: file(name + ".crt"), Key: file(name + ".key")}
}

func (a *authority) sign(t testing.TB, name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
