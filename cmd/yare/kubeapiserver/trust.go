package kubeapiserver

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"

	"github.com/yare-io/yare/apiserver/authn"
	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
	"github.com/yare-io/yare/cmd/yare/pki"
)

// Trust is what an API server proves itself with, and whom it believes.
type Trust struct {
	serving *pki.KeyPair
	// kubelets are called with kubeletClient and must be vouched for by
	// kubeletCA; nil: no certificate is shown, or any is accepted.
	kubeletClient *pki.KeyPair
	kubeletCA     *x509.CertPool
	// proxyClient is shown to aggregated servers; nil: nothing is.
	proxyClient *pki.KeyPair
	// clientCA vouches for callers, and proxies are believed about theirs; nil: none.
	clientCA    *authn.CABundle
	proxies     *authn.RequestHeader
	tokenIssuer *serviceaccount.Issuer
	tokenKeys   *serviceaccount.Keys
}

// Trust reads the files that the flags of kube-apiserver name.
func (o *Options) Trust() (*Trust, error) {
	t := &Trust{}
	var err error
	if t.serving, err = o.servingPair(); err != nil {
		return nil, fmt.Errorf("serving certificate: %w", err)
	}
	if o.kubeletClientCert != "" || o.kubeletClientKey != "" {
		if t.kubeletClient, err = pki.LoadKeyPair(o.kubeletClientCert, o.kubeletClientKey); err != nil {
			return nil, fmt.Errorf("client certificate for kubelets: %w", err)
		}
	}
	if o.proxyClientCert != "" || o.proxyClientKey != "" {
		if t.proxyClient, err = pki.LoadKeyPair(o.proxyClientCert, o.proxyClientKey); err != nil {
			return nil, fmt.Errorf("client certificate for aggregated servers: %w", err)
		}
	}
	if o.kubeletCA != "" {
		if t.kubeletCA, err = pki.LoadPool(o.kubeletCA); err != nil {
			return nil, err
		}
	}
	if o.clientCA != "" {
		if t.clientCA, err = authn.LoadCABundle(o.clientCA); err != nil {
			return nil, err
		}
	}
	if o.requestHeaderCA != "" {
		proxies := o.requestHeader
		if proxies.CA, err = authn.LoadCABundle(o.requestHeaderCA); err != nil {
			return nil, err
		}
		t.proxies = &proxies
	}
	signer, keys, err := o.keys()
	if err != nil {
		return nil, err
	}
	t.tokenKeys = keys
	t.tokenIssuer, err = serviceaccount.NewIssuer(o.Issuer(), signer, nil)
	return t, err
}

// servingPair is what --tls-cert-file names, or a certificate that an authority
// of this server's own vouches for.
func (o *Options) servingPair() (*pki.KeyPair, error) {
	if o.servingCert != "" || o.servingKey != "" {
		return pki.LoadKeyPair(o.servingCert, o.servingKey)
	}
	address, err := o.Advertised()
	if err != nil {
		return nil, err
	}
	if pair, err := o.givenPair(); pair != nil || err != nil {
		return pair, err
	}
	authority, err := pki.LoadAuthority(o.certDir, "apiserver-ca", "apiserver-ca")
	if err != nil {
		return nil, err
	}
	return authority.Ensure(o.certDir, pki.Profile{
		Name: "apiserver", User: "kube-apiserver", Hosts: []string{address.String(), "127.0.0.1", "localhost"},
	})
}

// givenPair is the certificate that somebody else has put into --cert-dir,
// where Kubernetes looks for one too; nil when there is none.
func (o *Options) givenPair() (*pki.KeyPair, error) {
	cert, key := filepath.Join(o.certDir, "apiserver.crt"), filepath.Join(o.certDir, "apiserver.key")
	if _, err := os.Stat(filepath.Join(o.certDir, "apiserver-ca.crt")); err == nil {
		return nil, nil // our own
	}
	for _, file := range []string{cert, key} {
		if _, err := os.Stat(file); err != nil {
			return nil, nil //nolint:nilerr // half a pair is none
		}
	}
	return pki.LoadKeyPair(cert, key)
}

// ClusterTrust is the trust of a server whose keys are all in one place.
func ClusterTrust(keys *pki.Cluster, issuer string) (*Trust, error) {
	t := &Trust{
		serving: keys.APIServer, kubeletClient: keys.KubeletClient, kubeletCA: keys.CAPool(),
		proxies: &authn.RequestHeader{AllowedNames: []string{"front-proxy-client"}}, proxyClient: keys.FrontProxyClient,
	}
	var err error
	if t.clientCA, err = authn.NewCABundle(keys.CA.PEM()); err != nil {
		return nil, err
	}
	if t.proxies.CA, err = authn.NewCABundle(keys.FrontProxyCA.PEM()); err != nil {
		return nil, err
	}
	if t.tokenKeys, err = serviceaccount.NewKeys(keys.ServiceAccountKey.Public()); err != nil {
		return nil, err
	}
	t.tokenIssuer, err = serviceaccount.NewIssuer(issuer, keys.ServiceAccountKey, nil)
	return t, err
}

// proxyClientCertificate is how the server proves itself to aggregated ones.
func (t *Trust) proxyClientCertificate() func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	if t.proxyClient == nil {
		return nil
	}
	return t.proxyClient.GetClientCertificate
}

// kubeletTLS is how the server calls kubelets.
func (t *Trust) kubeletTLS() *tls.Config {
	config := &tls.Config{RootCAs: t.kubeletCA, InsecureSkipVerify: t.kubeletCA == nil}
	if t.kubeletClient != nil {
		config.GetClientCertificate = t.kubeletClient.GetClientCertificate
	}
	return config
}
