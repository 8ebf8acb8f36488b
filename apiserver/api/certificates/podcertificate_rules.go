package certificates

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
)

// Bounds of what a request may hold.
const (
	minPodExpiration    = 60 * 60
	maxPodExpiration    = 91 * 24 * 60 * 60
	maxOwnPodExpiration = 24 * 60 * 60 // of the signers of kubernetes.io
	maxUID              = 128
	maxStubRequest      = 10 << 10
	maxChain            = 100 << 10
	minLifetime         = time.Hour
	clockSkew           = 5 * time.Minute
)

func validatePodRequest(r *certificatesv1.PodCertificateRequest) field.ErrorList {
	path, spec := field.NewPath("spec"), &r.Spec
	errs := validateSigner(path.Child("signerName"), spec.SignerName)
	for _, f := range []struct {
		name  string
		value string
		uid   types.UID
		valid validation.ValidateNameFunc
	}{
		{"pod", spec.PodName, spec.PodUID, validation.NameIsDNSSubdomain},
		{"serviceAccount", spec.ServiceAccountName, spec.ServiceAccountUID, validation.ValidateServiceAccountName},
		{"node", string(spec.NodeName), spec.NodeUID, validation.NameIsDNSSubdomain},
	} {
		errs = append(errs, rule.Invalid(path.Child(f.name+"Name"), f.value, f.valid(f.value, false))...)
		if uid := path.Child(f.name + "UID"); f.uid == "" {
			errs = append(errs, field.Required(uid, "must not be empty"))
		} else {
			errs = append(errs, rule.MaxLength(uid, string(f.uid), maxUID)...)
		}
	}
	errs = append(errs, validatePodExpiration(path.Child("maxExpirationSeconds"), spec)...)
	errs = append(errs, validateUserAnnotations(path.Child("unverifiedUserAnnotations"), spec.UnverifiedUserAnnotations)...)
	return append(errs, validateStub(path.Child("stubPKCS10Request"), spec.StubPKCS10Request)...)
}

func validatePodExpiration(path *field.Path, spec *certificatesv1.PodCertificateRequestSpec) field.ErrorList {
	longest := int32(maxPodExpiration)
	if strings.HasPrefix(spec.SignerName, "kubernetes.io/") {
		longest = maxOwnPodExpiration
	}
	switch n := spec.MaxExpirationSeconds; {
	case n == nil:
		return field.ErrorList{field.Required(path, "must be set")}
	case *n < minPodExpiration || *n > longest:
		return field.ErrorList{field.Invalid(path, *n, fmt.Sprintf("must be in the range [%d, %d]", minPodExpiration, longest))}
	}
	return nil
}

func validateUserAnnotations(path *field.Path, annotations map[string]string) field.ErrorList {
	errs := validation.ValidateAnnotations(annotations, path)
	for key := range annotations {
		if !strings.Contains(key, "/") {
			errs = append(errs, field.Invalid(path, key, "key must be domain-prefixed"))
		}
	}
	return errs
}

// validateStub wants a request signed by the key that it names.
func validateStub(path *field.Path, der []byte) field.ErrorList {
	if len(der) == 0 {
		return field.ErrorList{field.Required(path, "must not be empty")}
	}
	if len(der) > maxStubRequest {
		return field.ErrorList{field.TooLong(path, der, maxStubRequest)}
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return field.ErrorList{field.Invalid(path, der, "must be a valid PKCS#10 CSR: "+err.Error())}
	}
	if !strongKey(request.PublicKey) {
		return field.ErrorList{field.Invalid(path, der, "unknown public key type; supported types are RSA 3072, RSA 4096, ECDSA P256, P384 and P521, and Ed25519")}
	}
	if err := request.CheckSignature(); err != nil {
		return field.ErrorList{field.Invalid(path, der, "signature does not verify: "+err.Error())}
	}
	return nil
}

func strongKey(key any) bool {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return true
	case *rsa.PublicKey:
		return k.Size()*8 == 3072 || k.Size()*8 == 4096
	case *ecdsa.PublicKey:
		return slices.Contains([]int{256, 384, 521}, k.Params().BitSize)
	}
	return false
}

func validatePodRequestUpdate(r, old *certificatesv1.PodCertificateRequest) field.ErrorList {
	return rule.Immutable(field.NewPath("spec"), r.Spec, old.Spec)
}

// podOutcome returns the condition that ends a request, and its type.
func podOutcome(r *certificatesv1.PodCertificateRequest) (*metav1.Condition, string) {
	for i := range r.Status.Conditions {
		if c := &r.Status.Conditions[i]; slices.Contains(podOutcomes, c.Type) {
			return c, c.Type
		}
	}
	return nil, ""
}

func validatePodRequestStatus(r, old *certificatesv1.PodCertificateRequest) field.ErrorList {
	path, status := field.NewPath("status"), &r.Status
	errs := metavalidation.ValidateConditions(status.Conditions, path.Child("conditions"))
	outcomes := 0
	for i, c := range status.Conditions {
		at := path.Child("conditions").Index(i)
		if !slices.Contains(podOutcomes, c.Type) {
			errs = append(errs, field.NotSupported(at.Child("type"), c.Type, podOutcomes))
			continue
		}
		if outcomes++; outcomes > 1 {
			errs = append(errs, field.Invalid(at.Child("type"), c.Type, `There may be at most one condition with type "Issued", "Denied", or "Failed"`))
		}
		if c.Status != metav1.ConditionTrue {
			errs = append(errs, field.NotSupported(at.Child("status"), c.Status, []metav1.ConditionStatus{metav1.ConditionTrue}))
		}
	}
	_, outcome := podOutcome(r)
	if _, before := podOutcome(old); before != "" {
		if !row.Same(*status, old.Status) {
			errs = append(errs, field.Invalid(path, *status, "immutable after PodCertificateRequest is issued, denied, or failed"))
		}
		return errs
	}
	if outcome != certificatesv1.PodCertificateRequestConditionTypeIssued {
		return append(errs, validateNothingIssued(path, status)...)
	}
	return append(errs, validateIssued(path, r)...)
}

// validateNothingIssued: what belongs to a certificate is set with it alone.
func validateNothingIssued(path *field.Path, s *certificatesv1.PodCertificateRequestStatus) field.ErrorList {
	var errs field.ErrorList
	const message = `must be empty until the condition "Issued" is set`
	if s.CertificateChain != "" {
		errs = append(errs, field.Forbidden(path.Child("certificateChain"), message))
	}
	for name, at := range map[string]*metav1.Time{"notBefore": s.NotBefore, "beginRefreshAt": s.BeginRefreshAt, "notAfter": s.NotAfter} {
		if at != nil {
			errs = append(errs, field.Forbidden(path.Child(name), message))
		}
	}
	return errs
}

// validateIssued: the status says what the certificate says.
func validateIssued(path *field.Path, r *certificatesv1.PodCertificateRequest) field.ErrorList {
	chain, s := path.Child("certificateChain"), &r.Status
	if s.CertificateChain == "" {
		return field.ErrorList{field.Required(chain, "must be set when the certificate is issued")}
	}
	if len(s.CertificateChain) > maxChain {
		return field.ErrorList{field.TooLong(chain, "", maxChain)}
	}
	if err := checkCertificates([]byte(s.CertificateChain)); err != nil {
		return field.ErrorList{field.Invalid(chain, "<certificate data>", err.Error())}
	}
	block, _ := pem.Decode([]byte(s.CertificateChain))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return field.ErrorList{field.Invalid(chain, "<certificate data>", err.Error())}
	}
	return append(validateLeafKey(chain, leaf, r), validateTimes(path, leaf, r)...)
}

// validateLeafKey: the certificate is for the key that asked.
func validateLeafKey(chain *field.Path, leaf *x509.Certificate, r *certificatesv1.PodCertificateRequest) field.ErrorList {
	request, err := x509.ParseCertificateRequest(r.Spec.StubPKCS10Request)
	if err != nil {
		return field.ErrorList{field.InternalError(chain, err)}
	}
	key, ok := request.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !key.Equal(leaf.PublicKey) {
		return field.ErrorList{field.Invalid(chain, "<certificate data>", "leaf certificate was not issued to the requested public key")}
	}
	return nil
}

func validateTimes(path *field.Path, leaf *x509.Certificate, r *certificatesv1.PodCertificateRequest) field.ErrorList {
	var errs field.ErrorList
	s := &r.Status
	for _, f := range []struct {
		name string
		says *metav1.Time
		is   time.Time
	}{{"notBefore", s.NotBefore, leaf.NotBefore}, {"notAfter", s.NotAfter, leaf.NotAfter}} {
		at := path.Child(f.name)
		switch {
		case f.says == nil:
			errs = append(errs, field.Required(at, "must be set when the certificate is issued"))
		case !f.says.Time.Equal(f.is):
			errs = append(errs, field.Invalid(at, f.says, "must be set to the "+f.name+" time of the leaf certificate"))
		}
	}
	lifetime := leaf.NotAfter.Sub(leaf.NotBefore)
	longest := time.Duration(row.Pointed(r.Spec.MaxExpirationSeconds)) * time.Second
	if lifetime < minLifetime || lifetime > longest {
		errs = append(errs, field.Invalid(path.Child("certificateChain"), lifetime.String(), fmt.Sprintf("leaf certificate lifetime must be between %v and %v", minLifetime, longest)))
	}
	begin := path.Child("beginRefreshAt")
	switch {
	case s.BeginRefreshAt == nil:
		errs = append(errs, field.Required(begin, "must be set when the certificate is issued"))
	case s.BeginRefreshAt.Time.Before(leaf.NotBefore.Add(2*clockSkew)) || s.BeginRefreshAt.Time.After(leaf.NotAfter.Add(-2*clockSkew)):
		errs = append(errs, field.Invalid(begin, s.BeginRefreshAt, "must be at least 10 minutes after notBefore and at least 10 minutes before notAfter"))
	}
	return errs
}
