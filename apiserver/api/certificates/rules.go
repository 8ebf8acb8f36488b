package certificates

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

const (
	minExpirationSeconds = 600
	// maxSignerName is a domain and a path, at their longest.
	maxSignerName = 253 + 1 + 253 + 1 + 63
)

var keyUsages = sets.New(
	certificatesv1.UsageSigning, certificatesv1.UsageDigitalSignature, certificatesv1.UsageContentCommitment, certificatesv1.UsageKeyEncipherment,
	certificatesv1.UsageKeyAgreement, certificatesv1.UsageDataEncipherment, certificatesv1.UsageCertSign, certificatesv1.UsageCRLSign,
	certificatesv1.UsageEncipherOnly, certificatesv1.UsageDecipherOnly, certificatesv1.UsageAny, certificatesv1.UsageServerAuth,
	certificatesv1.UsageClientAuth, certificatesv1.UsageCodeSigning, certificatesv1.UsageEmailProtection, certificatesv1.UsageSMIME,
	certificatesv1.UsageIPsecEndSystem, certificatesv1.UsageIPsecTunnel, certificatesv1.UsageIPsecUser, certificatesv1.UsageTimestamping,
	certificatesv1.UsageOCSPSigning, certificatesv1.UsageMicrosoftSGC, certificatesv1.UsageNetscapeSGC,
)

func validateNew(r *certificatesv1.CertificateSigningRequest) field.ErrorList {
	return validate(r, nil)
}

func validate(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if err := checkRequest(r.Spec.Request); err != nil {
		errs = append(errs, field.Invalid(spec.Child("request"), r.Spec.Request, err.Error()))
	}
	errs = append(errs, validateUsages(spec.Child("usages"), r.Spec.Usages)...)
	errs = append(errs, validateSigner(spec.Child("signerName"), r.Spec.SignerName)...)
	if e := r.Spec.ExpirationSeconds; e != nil && *e < minExpirationSeconds {
		errs = append(errs, field.Invalid(spec.Child("expirationSeconds"), *e, "may not specify a duration less than 600 seconds (10 minutes)"))
	}
	errs = append(errs, validateConditions(r, old)...)
	if len(r.Status.Certificate) > 0 && (old == nil || !bytes.Equal(r.Status.Certificate, old.Status.Certificate)) {
		if err := checkCertificates(r.Status.Certificate); err != nil {
			errs = append(errs, field.Invalid(field.NewPath("status", "certificate"), "<certificate data>", err.Error()))
		}
	}
	return errs
}

func checkRequest(data []byte) error {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return fmt.Errorf("PEM block type must be CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	return request.CheckSignature()
}

func checkCertificates(data []byte) error {
	for blocks := 0; ; blocks++ {
		block, rest := pem.Decode(data)
		if block == nil {
			if blocks == 0 {
				return fmt.Errorf("must contain at least one CERTIFICATE PEM block")
			}
			return nil
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("only CERTIFICATE PEM blocks are allowed, found %q", block.Type)
		}
		if len(block.Headers) != 0 {
			return fmt.Errorf("no PEM block headers are permitted")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return err
		}
		data = rest
	}
}

func validateUsages(at *field.Path, usages []certificatesv1.KeyUsage) field.ErrorList {
	if len(usages) == 0 {
		return field.ErrorList{field.Required(at, "")}
	}
	var errs field.ErrorList
	seen := sets.New[certificatesv1.KeyUsage]()
	for i, u := range usages {
		if !keyUsages.Has(u) {
			errs = append(errs, field.NotSupported(at.Index(i), u, sets.List(keyUsages)))
		}
		if seen.Has(u) {
			errs = append(errs, field.Duplicate(at.Index(i), u))
		}
		seen.Insert(u)
	}
	return errs
}

// validateSigner wants a domain with a path, as in example.com/my-signer.
func validateSigner(at *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	if name == "kubernetes.io/legacy-unknown" {
		return field.ErrorList{field.Invalid(at, name, "the legacy signerName is not allowed via this API version")}
	}
	domain, path, found := strings.Cut(name, "/")
	if !found || strings.Contains(path, "/") || domain == "" || path == "" {
		return field.ErrorList{field.Invalid(at, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")}
	}
	errs := rule.DNSSubdomain(at, domain)
	if !strings.Contains(domain, ".") {
		errs = append(errs, field.Invalid(at, name, "should be a domain with at least two segments separated by dots"))
	}
	for label := range strings.SplitSeq(path, ".") {
		for _, m := range validation.IsDNS1123Label(label) {
			errs = append(errs, field.Invalid(at, name, fmt.Sprintf("validating label %q: %s", label, m)))
		}
	}
	return append(errs, rule.MaxLength(at, name, maxSignerName)...)
}

func validateStatus(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	errs := validate(r, old)
	if len(old.Status.Certificate) > 0 && !bytes.Equal(r.Status.Certificate, old.Status.Certificate) {
		errs = append(errs, field.Forbidden(field.NewPath("status", "certificate"), "updates may not modify or remove an existing certificate"))
	}
	return errs
}
