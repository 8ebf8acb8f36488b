package pki

import (
	"crypto/tls"
	"crypto/x509"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var hosts = []string{"localhost", "kubernetes.default.svc", "127.0.0.1"}

func load(t *testing.T, dir string, hosts []string) *Cluster {
	t.Helper()
	c, err := LoadCluster(dir, hosts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPrivateFilesAreReadableByTheirOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	c := load(t, dir, hosts)
	if err := WriteKubeconfig(filepath.Join(dir, "admin.key-kubeconfig"), "https://127.0.0.1:6443", "admin", c.CA, c.Admin); err != nil {
		t.Fatal(err)
	}
	seen := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(path, ".key") {
			return err
		}
		seen++
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil || seen != 8 {
		t.Fatalf("walked %d private files, want 8; %v", seen, err)
	}
}

func TestSecondStartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	first, second := load(t, dir, hosts), load(t, dir, hosts)
	if !first.CA.Certificate.Equal(second.CA.Certificate) {
		t.Error("the authority changed")
	}
	if !first.APIServer.Certificate().Leaf.Equal(second.APIServer.Certificate().Leaf) {
		t.Error("the server's certificate changed")
	}
}

func TestCertificateIsIssuedAgainForOtherHosts(t *testing.T) {
	dir := t.TempDir()
	load(t, dir, hosts)
	c := load(t, dir, append([]string{"10.1.2.3"}, hosts...))
	if err := c.APIServer.Certificate().Leaf.VerifyHostname("10.1.2.3"); err != nil {
		t.Error(err)
	}
}

func TestCertificateIsIssuedAgainNearItsEnd(t *testing.T) {
	c := load(t, t.TempDir(), hosts)
	leaf := c.APIServer.Certificate().Leaf
	profile := Profile{Name: "apiserver", User: "kube-apiserver", Hosts: hosts}
	if !c.CA.stillGood(leaf, profile, time.Now()) {
		t.Error("a fresh certificate is said to be near its end")
	}
	if c.CA.stillGood(leaf, profile, leaf.NotAfter.Add(-leafLife/3+time.Hour)) {
		t.Error("a certificate with less than a third of its life is kept")
	}
}

func TestMutualTLSWithTheIssuedCertificates(t *testing.T) {
	c := load(t, t.TempDir(), hosts)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		GetCertificate: c.APIServer.GetCertificate, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: c.CAPool(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	peer := make(chan *x509.Certificate, 1)
	go func() {
		defer close(peer)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if conn.(*tls.Conn).Handshake() == nil {
			peer <- conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
		}
	}()
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	conn, err := tls.DialWithDialer(dialer, "tcp", listener.Addr().String(), &tls.Config{
		RootCAs: c.CAPool(), GetClientCertificate: c.Admin.GetClientCertificate,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := <-peer; got == nil || got.Subject.CommonName != "kubernetes-admin" {
		t.Errorf("the server saw %v", got)
	}
}

func TestAKeyWithoutItsCertificateIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	load(t, dir, hosts)
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadCluster(dir, hosts); err == nil || !strings.Contains(err.Error(), "ca.crt") {
		t.Errorf("want an error that names ca.crt, got %v", err)
	}
}
