// Package certificate gets the node its certificates from the cluster and renews them before they expire: the one it shows to the
// API server, asked for at first with a bootstrap token, and the one its own API is served with. It owns the
// requests' form and the files they are kept in, and refuses to approve or sign anything.
package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	certificates "k8s.io/api/certificates/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/certificate"
)

// Config is what a Manager works with.
type Config struct {
	// Dir is where keys and certificates are kept (mode 0600), as kubelet-client-current.pem and kubelet-server-current.pem.
	Dir string
	// NodeName is the node that the certificates are for.
	NodeName string
	// Client returns how to reach the API server; current is the certificate held now, nil at first.
	Client func(current *tls.Certificate) (kubernetes.Interface, error)
	// IPs and Names are what a serving certificate is for.
	IPs   []net.IP
	Names []string
	// OnRotate, if set, is told of each certificate after the first.
	OnRotate func()
}

// Manager holds one certificate and renews it. It is safe for concurrent use.
type Manager struct {
	inner    certificate.Manager
	onRotate func()
}

const pollPeriod = 50 * time.Millisecond

// NewClient returns a manager of the certificate that the node shows to the API server.
func NewClient(c Config) (*Manager, error) {
	template := &x509.CertificateRequest{Subject: subject(c.NodeName)}
	return newManager(c, "kubelet-client", certificates.KubeAPIServerClientKubeletSignerName, template, certificates.UsageClientAuth)
}

// NewServing returns a manager of the certificate that the node's own API is served with.
func NewServing(c Config) (*Manager, error) {
	if len(c.IPs) == 0 && len(c.Names) == 0 {
		return nil, errors.New("a serving certificate needs an address or a name")
	}
	template := &x509.CertificateRequest{Subject: subject(c.NodeName), IPAddresses: c.IPs, DNSNames: c.Names}
	return newManager(c, "kubelet-server", certificates.KubeletServingSignerName, template, certificates.UsageServerAuth)
}

// subject is the only one that the cluster's signers accept from a node.
func subject(node string) pkix.Name {
	return pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}
}

func newManager(c Config, pair, signer string, template *x509.CertificateRequest, use certificates.KeyUsage) (*Manager, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	store, err := certificate.NewFileStore(pair, c.Dir, c.Dir, "", "")
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Dir, err)
	}
	inner, err := certificate.NewManager(&certificate.Config{
		ClientsetFn: c.Client,
		SignerName:  signer,
		GetTemplate: func() *x509.CertificateRequest { return template },
		Usages:      []certificates.KeyUsage{certificates.UsageDigitalSignature, use},
		// Keys are ECDSA: they sign, they do not encipher.
		CertificateStore: store,
		Name:             pair,
	})
	if err != nil {
		return nil, err
	}
	return &Manager{inner: inner, onRotate: c.OnRotate}, nil
}

// Run gets and renews the certificate until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	m.inner.Start()
	defer m.inner.Stop()
	m.watch(ctx)
}

// watch tells of changes until ctx ends.
func (m *Manager) watch(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	last := m.inner.Current()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := m.inner.Current()
		if last != nil && now != last && m.onRotate != nil {
			m.onRotate()
		}
		last = now
	}
}

// Await waits until there is a certificate that is valid now. Run must be running.
func (m *Manager) Await(ctx context.Context) error {
	ticker := time.NewTicker(pollPeriod)
	defer ticker.Stop()
	for m.inner.Current() == nil {
		select {
		case <-ctx.Done():
			return fmt.Errorf("no certificate yet: %w", ctx.Err())
		case <-ticker.C:
		}
	}
	return nil
}

// Current returns the certificate held now, or nil if there is none or it has expired.
func (m *Manager) Current() *tls.Certificate { return m.inner.Current() }

// GetClientCertificate is for tls.Config. Without a certificate an empty one is shown, as TLS demands.
func (m *Manager) GetClientCertificate(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if current := m.inner.Current(); current != nil {
		return current, nil
	}
	return &tls.Certificate{}, nil
}

// GetCertificate is for tls.Config.
func (m *Manager) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if current := m.inner.Current(); current != nil {
		return current, nil
	}
	return nil, errors.New("no serving certificate available for the kubelet")
}
