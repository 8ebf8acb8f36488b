package admission_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/yare-io/yare/admission/webhook"
)

const requestCertificate = tls.RequestClientCert

var quiet = log.New(io.Discard, "", 0)

// otherCA vouches for nobody.
var otherCA = func() []byte {
	certificate, _, err := selfSigned("nobody")
	if err != nil {
		panic(err)
	}
	return certificate
}()

func selfSigned(name string) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), err
}

func certificateFor(t testing.TB, name string) []tls.Certificate {
	t.Helper()
	certificate, key, err := selfSigned(name)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{pair}
}

// fixed resolves every service to this machine.
type fixed struct{}

// Resolve implements webhook.Resolver.
func (fixed) Resolve(_, _ string, port int32) (string, error) {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), nil
}

func portOf(t testing.TB, s *hookServer) int {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// credentials loads a kubeconfig with one user, named by the server it is for.
func credentials(t testing.TB, s *hookServer, user string) webhook.Credentials {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nusers:\n- name: 127.0.0.1:%d\n  user: %s\n", portOf(t, s), user)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := webhook.LoadCredentials(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func certificateUser(t testing.TB, name string) string {
	t.Helper()
	certificate, key, err := selfSigned(name)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("{client-certificate-data: %s, client-key-data: %s}", encode(certificate), encode(key))
}
