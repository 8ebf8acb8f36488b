package pki

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"k8s.io/client-go/util/keyutil"
)

// KeyPair is a certificate with its key in two files. Its methods may be
// called concurrently.
type KeyPair struct {
	CertFile, KeyFile string
	current           atomic.Pointer[tls.Certificate]
}

// LoadKeyPair reads a pair that somebody else keeps.
func LoadKeyPair(certFile, keyFile string) (*KeyPair, error) {
	p := &KeyPair{CertFile: certFile, KeyFile: keyFile}
	return p, p.load()
}

func (p *KeyPair) load() error {
	cert, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
	if err != nil {
		return err
	}
	p.current.Store(&cert)
	return nil
}

// Certificate is what the pair holds now.
func (p *KeyPair) Certificate() *tls.Certificate { return p.current.Load() }

// GetCertificate has the form that tls.Config wants of a server.
func (p *KeyPair) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return p.current.Load(), nil
}

// GetClientCertificate has the form that tls.Config wants of a client.
func (p *KeyPair) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return p.current.Load(), nil
}

// Renew issues the pair again whenever it comes near its end, until ctx ends.
func (p *KeyPair) Renew(ctx context.Context, a *Authority, profile Profile) error {
	for {
		wait := time.Until(renewalTime(p.Certificate().Leaf))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(wait, time.Minute)):
		}
		if !nearEnd(p.Certificate().Leaf, time.Now()) {
			continue
		}
		if err := errors.Join(a.issue(p, profile), p.load()); err != nil {
			return fmt.Errorf("renew certificate %s: %w", profile.Name, err)
		}
	}
}

// LoadSigningKey reads the key that signs service-account tokens from
// <name>.key in dir, or makes it, with its public half in <name>.pub.
func LoadSigningKey(dir, name string) (crypto.Signer, error) {
	keyFile := filepath.Join(dir, name+".key")
	key, err := readKey(keyFile)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(fresh.Public())
	if err != nil {
		return nil, err
	}
	private, err := keyutil.MarshalPrivateKeyToPEM(fresh)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		writeFile(filepath.Join(dir, name+".pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644),
		writeFile(keyFile, private, 0o600),
	)
	return fresh, err
}

// readPair returns nil certificates when neither file is there.
func readPair(certFile, keyFile string) ([]*x509.Certificate, crypto.Signer, error) {
	pemCerts, err := os.ReadFile(certFile)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(keyFile); err == nil {
			return nil, nil, fmt.Errorf("%s is there but %s is not: restore it or remove both", keyFile, certFile)
		}
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	certs, err := ParseCertificates(pemCerts)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", certFile, err)
	}
	key, err := readKey(keyFile)
	return certs, key, err
}

func readKey(file string) (crypto.Signer, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	key, err := keyutil.ParsePrivateKeyPEM(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a %T cannot sign", file, key)
	}
	return signer, nil
}

// LoadPool reads the authorities in a file; there must be one at least.
func LoadPool(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: %w", file, errors.New("no certificate found"))
	}
	return pool, nil
}

// ParseCertificates reads the certificates in PEM data, at least one.
func ParseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate found")
	}
	return certs, nil
}

func writePair(certFile, keyFile string, key crypto.PrivateKey, chain ...*x509.Certificate) error {
	private, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return err
	}
	var public []byte
	for _, c := range chain {
		public = append(public, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return errors.Join(writeFile(keyFile, private, 0o600), writeFile(certFile, public, 0o644))
}

// writeFile replaces a file as a whole or not at all.
func writeFile(name string, data []byte, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
