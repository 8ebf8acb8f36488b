package secureserving

import (
	"crypto/tls"
	"os"

	"k8s.io/client-go/util/cert"
)

// SelfSigned returns a certificate for this host that lives as long as the
// process, for a part that was given none.
func SelfSigned(part string) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	certPEM, keyPEM, err := cert.GenerateSelfSignedCertKey(host, nil, []string{part, "localhost"})
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }, nil
}
