package certificates

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
)

const (
	// backdate is how far before its making a certificate begins to hold: the
	// clocks of a cluster are not all alike.
	backdate = 5 * time.Minute
	// shortLife is the life below which the backdating is given on top.
	shortLife = 8 * time.Hour
	// minLife is the shortest life a request can ask for.
	minLife = 10 * time.Minute
)

var keyUsages = map[certificatesv1.KeyUsage]x509.KeyUsage{
	certificatesv1.UsageSigning:           x509.KeyUsageDigitalSignature,
	certificatesv1.UsageDigitalSignature:  x509.KeyUsageDigitalSignature,
	certificatesv1.UsageContentCommitment: x509.KeyUsageContentCommitment,
	certificatesv1.UsageKeyEncipherment:   x509.KeyUsageKeyEncipherment,
	certificatesv1.UsageKeyAgreement:      x509.KeyUsageKeyAgreement,
	certificatesv1.UsageDataEncipherment:  x509.KeyUsageDataEncipherment,
	certificatesv1.UsageCertSign:          x509.KeyUsageCertSign,
	certificatesv1.UsageCRLSign:           x509.KeyUsageCRLSign,
	certificatesv1.UsageEncipherOnly:      x509.KeyUsageEncipherOnly,
	certificatesv1.UsageDecipherOnly:      x509.KeyUsageDecipherOnly,
}

var extendedUsages = map[certificatesv1.KeyUsage]x509.ExtKeyUsage{
	certificatesv1.UsageAny:             x509.ExtKeyUsageAny,
	certificatesv1.UsageServerAuth:      x509.ExtKeyUsageServerAuth,
	certificatesv1.UsageClientAuth:      x509.ExtKeyUsageClientAuth,
	certificatesv1.UsageCodeSigning:     x509.ExtKeyUsageCodeSigning,
	certificatesv1.UsageEmailProtection: x509.ExtKeyUsageEmailProtection,
	certificatesv1.UsageSMIME:           x509.ExtKeyUsageEmailProtection,
	certificatesv1.UsageIPsecEndSystem:  x509.ExtKeyUsageIPSECEndSystem,
	certificatesv1.UsageIPsecTunnel:     x509.ExtKeyUsageIPSECTunnel,
	certificatesv1.UsageIPsecUser:       x509.ExtKeyUsageIPSECUser,
	certificatesv1.UsageTimestamping:    x509.ExtKeyUsageTimeStamping,
	certificatesv1.UsageOCSPSigning:     x509.ExtKeyUsageOCSPSigning,
	certificatesv1.UsageMicrosoftSGC:    x509.ExtKeyUsageMicrosoftServerGatedCrypto,
	certificatesv1.UsageNetscapeSGC:     x509.ExtKeyUsageNetscapeServerGatedCrypto,
}

// life is how long the certificate is to hold: as asked, between ten minutes
// and the longest allowed.
func life(asked *int32, longest time.Duration) time.Duration {
	if asked == nil {
		return longest
	}
	return min(max(time.Duration(*asked)*time.Second, minLife), longest)
}

// sign makes the certificate that the request asks for, in PEM.
func sign(csr *certificatesv1.CertificateSigningRequest, request *x509.CertificateRequest, ca CA, longest time.Duration, now time.Time) ([]byte, error) {
	issuer, key, err := ca.Pair()
	if err != nil {
		return nil, fmt.Errorf("reading the signing pair: %w", err)
	}
	template, err := templateOf(csr, request, issuer, longest, now)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, request.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("failed to sign certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func templateOf(csr *certificatesv1.CertificateSigningRequest, request *x509.CertificateRequest, issuer *x509.Certificate, longest time.Duration, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	lasts := life(csr.Spec.ExpirationSeconds, longest)
	until := now.Add(lasts)
	if lasts >= shortLife {
		until = until.Add(-backdate)
	}
	if until.After(issuer.NotAfter) {
		until = issuer.NotAfter
	}
	if !now.Before(issuer.NotAfter) {
		return nil, errors.New("refusing to sign a certificate that expired in the past: the CA has expired")
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               request.Subject,
		DNSNames:              request.DNSNames,
		IPAddresses:           request.IPAddresses,
		EmailAddresses:        request.EmailAddresses,
		URIs:                  request.URIs,
		NotBefore:             now.Add(-backdate),
		NotAfter:              until,
		BasicConstraintsValid: true,
	}
	for _, usage := range csr.Spec.Usages {
		if bit, ok := keyUsages[usage]; ok {
			template.KeyUsage |= bit
		} else if extended, ok := extendedUsages[usage]; ok {
			template.ExtKeyUsage = append(template.ExtKeyUsage, extended)
		} else {
			return nil, fmt.Errorf("unrecognized usage value: %q", usage)
		}
	}
	return template, nil
}
