package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
)

const (
	nodesGroup     = "system:nodes"
	nodeUserPrefix = "system:node:"
)

// parse reads the request's PEM block.
func parse(csr *certificatesv1.CertificateSigningRequest) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(csr.Spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("request is not signed by its own key: %w", err)
	}
	return request, nil
}

// hasCondition says whether the request has a condition of that type.
func hasCondition(csr *certificatesv1.CertificateSigningRequest, kind certificatesv1.RequestConditionType) bool {
	return slices.ContainsFunc(csr.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool { return c.Type == kind })
}

// rules say what each signer signs.
var rules = map[string]func(*x509.CertificateRequest, []certificatesv1.KeyUsage) error{
	certificatesv1.KubeAPIServerClientKubeletSignerName: validateKubeletClient,
	certificatesv1.KubeletServingSignerName:             validateKubeletServing,
	certificatesv1.KubeAPIServerClientSignerName:        validateClient,
	legacyUnknownSigner:                                 func(*x509.CertificateRequest, []certificatesv1.KeyUsage) error { return nil },
}

// legacyUnknownSigner is the signer of requests made before signers had names.
const legacyUnknownSigner = "kubernetes.io/legacy-unknown"

func validateKubeletClient(request *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	if err := validateNodeSubject(request); err != nil {
		return err
	}
	switch {
	case len(request.DNSNames) > 0:
		return errors.New("DNS subjectAltNames are not allowed")
	case len(request.EmailAddresses) > 0:
		return errors.New("email subjectAltNames are not allowed")
	case len(request.IPAddresses) > 0:
		return errors.New("IP subjectAltNames are not allowed")
	case len(request.URIs) > 0:
		return errors.New("URI subjectAltNames are not allowed")
	case !exactly(usages, certificatesv1.UsageClientAuth, certificatesv1.UsageDigitalSignature):
		return errors.New("usages did not match [client auth digital signature], with or without key encipherment")
	}
	return nil
}

func validateKubeletServing(request *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	if err := validateNodeSubject(request); err != nil {
		return err
	}
	switch {
	case len(request.DNSNames) == 0 && len(request.IPAddresses) == 0:
		return errors.New("DNS or IP subjectAltName is required")
	case len(request.EmailAddresses) > 0:
		return errors.New("email subjectAltNames are not allowed")
	case len(request.URIs) > 0:
		return errors.New("URI subjectAltNames are not allowed")
	case !exactly(usages, certificatesv1.UsageServerAuth, certificatesv1.UsageDigitalSignature):
		return errors.New("usages did not match [digital signature server auth], with or without key encipherment")
	}
	return nil
}

func validateNodeSubject(request *x509.CertificateRequest) error {
	if !slices.Equal(request.Subject.Organization, []string{nodesGroup}) {
		return errors.New("subject organization is not system:nodes")
	}
	if !strings.HasPrefix(request.Subject.CommonName, nodeUserPrefix) {
		return errors.New("subject common name does not begin with system:node:")
	}
	return nil
}

func validateClient(_ *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	client := false
	for _, usage := range usages {
		switch usage {
		case certificatesv1.UsageClientAuth:
			client = true
		case certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment:
		default:
			return fmt.Errorf("invalid usage for client certificate: %s", usage)
		}
	}
	if !client {
		return errors.New("missing required usage for client certificate: client auth")
	}
	return nil
}

// exactly says whether usages are the wanted ones, key encipherment aside.
func exactly(usages []certificatesv1.KeyUsage, wanted ...certificatesv1.KeyUsage) bool {
	for _, usage := range wanted {
		if !slices.Contains(usages, usage) {
			return false
		}
	}
	for _, usage := range usages {
		if usage != certificatesv1.UsageKeyEncipherment && !slices.Contains(wanted, usage) {
			return false
		}
	}
	return true
}

// ownAddresses says whether everything the request names is among the node's
// own names and addresses.
func ownAddresses(request *x509.CertificateRequest, node *corev1.Node) error {
	own := map[string]bool{}
	for _, address := range node.Status.Addresses {
		own[address.Address] = true
	}
	for _, name := range request.DNSNames {
		if !own[name] {
			return fmt.Errorf("DNS name %s is not an address of node %s", name, node.Name)
		}
	}
	for _, ip := range request.IPAddresses {
		if !own[ip.String()] {
			return fmt.Errorf("IP address %s is not an address of node %s", ip, node.Name)
		}
	}
	return nil
}
