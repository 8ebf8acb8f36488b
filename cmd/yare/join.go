package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

const hashScheme = "sha256:"

// certificateHash identifies an authority by its public key, in kubeadm's
// form.
func certificateHash(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hashScheme + hex.EncodeToString(sum[:])
}

// fetchAuthority asks a server for its certificate chain and returns the
// authority in it that has the hash, in PEM form, once the server has proved
// to hold a certificate of that authority. Nothing is sent before.
func fetchAuthority(ctx context.Context, server, hash string) ([]byte, error) {
	if !strings.HasPrefix(hash, hashScheme) {
		return nil, fmt.Errorf("the hash of the server's authority must begin with %s", hashScheme)
	}
	address, host, err := splitServer(server)
	if err != nil {
		return nil, err
	}
	var authority *x509.Certificate
	dialer := &tls.Dialer{
		NetDialer: &net.Dialer{Timeout: 10 * time.Second},
		Config: &tls.Config{
			ServerName: host,
			// The chain is verified below, against the authority with the hash.
			InsecureSkipVerify: true,
			VerifyConnection: func(state tls.ConnectionState) error {
				authority, err = verifyChain(state.PeerCertificates, host, hash)
				return err
			},
		},
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("fetch the certificate authority of %s: %w", server, err)
	}
	_ = conn.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Raw}), nil
}

func verifyChain(chain []*x509.Certificate, host, hash string) (*x509.Certificate, error) {
	for _, c := range chain {
		if subtle.ConstantTimeCompare([]byte(certificateHash(c)), []byte(hash)) != 1 {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(c)
		_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
		return c, err
	}
	return nil, errors.New("the server's certificates do not include an authority with the given hash: is it the right server?")
}

func splitServer(server string) (address, host string, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", "", err
	}
	if u.Scheme != "https" || u.Hostname() == "" {
		return "", "", fmt.Errorf("the server must be an address such as https://10.0.0.1:6443, not %q", server)
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port), u.Hostname(), nil
}
