package builtin

import (
	"bytes"
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/yare-io/yare/admission"
)

// certificateSigning lets only those issue certificates, or declare that it
// failed, who may sign for the signer.
type certificateSigning struct {
	plugin
	authorizer authorizer.UnconditionalAuthorizer
}

func newCertificateSigning(deps Deps) (admission.Plugin, error) {
	return &certificateSigning{on("CertificateSigning", admission.Update), deps.Authorizer}, nil
}

// Validate guards the status subresource.
func (p *certificateSigning) Validate(ctx context.Context, a *admission.Attributes) error {
	old, ok := a.OldObject.(*certificatesv1.CertificateSigningRequest)
	if !ok || !a.Is(signingRequests, "status") {
		return nil
	}
	request, ok := a.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok || bytes.Equal(request.Status.Certificate, old.Status.Certificate) && equality.Semantic.DeepEqual(
		conditionsOf(request, certificatesv1.CertificateFailed), conditionsOf(old, certificatesv1.CertificateFailed)) {
		return nil
	}
	if !mayUseSigner(ctx, p.authorizer, a.User, "sign", old.Spec.SignerName) {
		return admission.Forbidden(a, fmt.Errorf("user not permitted to sign requests with signerName %q", old.Spec.SignerName))
	}
	return nil
}
