// Package certificates approves, signs and clears away CertificateSigningRequests.
// Which requests are sound is decided by pure functions of the request; keys
// come from the caller.
package certificates

import (
	"crypto"
	"crypto/x509"
)

// Signer is a private key.
type Signer = crypto.Signer

// CA is a certificate and its key. It may change at any time: Pair is called
// for each signature.
type CA interface {
	Pair() (*x509.Certificate, Signer, error)
}

// StaticCA is a CA that never changes.
func StaticCA(certificate *x509.Certificate, key Signer) CA {
	return staticCA{certificate, key}
}

type staticCA struct {
	certificate *x509.Certificate
	key         Signer
}

func (ca staticCA) Pair() (*x509.Certificate, Signer, error) { return ca.certificate, ca.key, nil }
