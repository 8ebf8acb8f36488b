package authn

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
)

// uidOID is the subject attribute that carries a user's UID.
var uidOID = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57683, 2}

// clientCertificate authenticates by the TLS client certificate.
type clientCertificate struct {
	ca    *CABundle
	clock clock.PassiveClock
}

func (c *clientCertificate) AuthenticateRequest(request *http.Request) (*authenticator.Response, bool, error) {
	if request.TLS == nil || len(request.TLS.PeerCertificates) == 0 {
		return nil, false, nil
	}
	leaf := request.TLS.PeerCertificates[0]
	if err := verifyClient(request.TLS.PeerCertificates, c.ca, c.clock); err != nil {
		return nil, false, err
	}
	info, ok := certificateUser(leaf)
	if !ok {
		return nil, false, nil
	}
	return &authenticator.Response{User: info}, true, nil
}

func verifyClient(chain []*x509.Certificate, ca *CABundle, now clock.PassiveClock) error {
	options := x509.VerifyOptions{
		Roots:         ca.Pool(),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now.Now(),
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, intermediate := range chain[1:] {
		options.Intermediates.AddCert(intermediate)
	}
	if _, err := chain[0].Verify(options); err != nil {
		return fmt.Errorf("verifying certificate SN=%v, SKID=%X, AKID=%X failed: %w",
			chain[0].SerialNumber, chain[0].SubjectKeyId, chain[0].AuthorityKeyId, err)
	}
	return nil
}

// certificateUser is nobody when the certificate has no common name, or more
// than one UID.
func certificateUser(leaf *x509.Certificate) (user.Info, bool) {
	if leaf.Subject.CommonName == "" {
		return nil, false
	}
	uid, err := certificateUID(leaf)
	if err != nil {
		return nil, false
	}
	fingerprint := sha256.Sum256(leaf.Raw)
	return &user.DefaultInfo{
		Name:   leaf.Subject.CommonName,
		UID:    uid,
		Groups: leaf.Subject.Organization,
		Extra:  map[string][]string{user.CredentialIDKey: {"X509SHA256=" + hex.EncodeToString(fingerprint[:])}},
	}, true
}

func certificateUID(leaf *x509.Certificate) (string, error) {
	uid := ""
	for _, name := range leaf.Subject.Names {
		if !name.Type.Equal(uidOID) {
			continue
		}
		value, ok := name.Value.(string)
		if !ok || value == "" || uid != "" {
			return "", errors.New("certificate must hold one UID, as text")
		}
		uid = value
	}
	return uid, nil
}
