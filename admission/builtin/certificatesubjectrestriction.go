package builtin

import (
	"context"
	"errors"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/admission"
)

// certificateSubjectRestriction keeps anybody from asking for a certificate
// that nothing could restrain.
type certificateSubjectRestriction struct{ plugin }

func newCertificateSubjectRestriction(Deps) (admission.Plugin, error) {
	return &certificateSubjectRestriction{on("CertificateSubjectRestriction", admission.Create)}, nil
}

// Validate looks at requests for client certificates.
func (p *certificateSubjectRestriction) Validate(_ context.Context, a *admission.Attributes) error {
	object, ok := a.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok || !a.Is(signingRequests, "") || object.Spec.SignerName != certificatesv1.KubeAPIServerClientSignerName {
		return nil
	}
	request, err := parseSigningRequest(object.Spec.Request)
	if err != nil {
		return admission.Refusal(a, err)
	}
	if slices.Contains(request.Subject.Organization, user.SystemPrivilegedGroup) {
		return admission.Forbidden(a, errors.New("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"))
	}
	return nil
}
