package builtin

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/yare-io/yare/admission"
)

// certificateApproval lets only those approve or deny certificate requests who
// may do so for the signer.
type certificateApproval struct {
	plugin
	authorizer authorizer.UnconditionalAuthorizer
}

func newCertificateApproval(deps Deps) (admission.Plugin, error) {
	return &certificateApproval{on("CertificateApproval", admission.Update), deps.Authorizer}, nil
}

// Validate guards the approval subresource.
func (p *certificateApproval) Validate(ctx context.Context, a *admission.Attributes) error {
	old, ok := a.OldObject.(*certificatesv1.CertificateSigningRequest)
	if !ok || !a.Is(signingRequests, "approval") {
		return nil
	}
	if !mayUseSigner(ctx, p.authorizer, a.User, "approve", old.Spec.SignerName) {
		return admission.Forbidden(a, fmt.Errorf("user not permitted to approve requests with signerName %q", old.Spec.SignerName))
	}
	return nil
}
