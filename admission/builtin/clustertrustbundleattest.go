package builtin

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/yare-io/yare/admission"
)

// clusterTrustBundleAttest lets only those vouch for a signer who may.
type clusterTrustBundleAttest struct {
	plugin
	authorizer authorizer.UnconditionalAuthorizer
}

func newClusterTrustBundleAttest(deps Deps) (admission.Plugin, error) {
	return &clusterTrustBundleAttest{on("ClusterTrustBundleAttest", admission.Create, admission.Update), deps.Authorizer}, nil
}

// Validate looks at bundles that speak for a signer.
func (p *clusterTrustBundleAttest) Validate(ctx context.Context, a *admission.Attributes) error {
	bundle, ok := a.Object.(*certificatesv1.ClusterTrustBundle)
	if !ok || a.Subresource != "" {
		return nil
	}
	if old, ok := a.OldObject.(*certificatesv1.ClusterTrustBundle); ok && equality.Semantic.DeepEqual(old.Spec, bundle.Spec) {
		return nil
	}
	if signer := bundle.Spec.SignerName; signer != "" && !mayUseSigner(ctx, p.authorizer, a.User, "attest", signer) {
		return admission.Forbidden(a, fmt.Errorf("user not permitted to attest for signerName %q", signer))
	}
	return nil
}
