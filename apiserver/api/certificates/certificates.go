// Package certificates holds the rows of the certificates.k8s.io group:
// certificate signing requests, trust bundles and certificate requests of pods.
// It signs nothing.
package certificates

import (
	"context"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// Deps is what the rows of this group need.
type Deps struct {
	// User says who a request is from.
	User func(context.Context) (user.Info, bool)
	// Clock dates conditions.
	Clock clock.PassiveClock
}

// Resources returns the rows of the group.
func Resources(d Deps) []*registry.Resource {
	return []*registry.Resource{signingRequests(d), trustBundles(), podRequests()}
}

func signingRequests(d Deps) *registry.Resource {
	return &registry.Resource{
		Kind: certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest"), Name: "certificatesigningrequests",
		Singular: "certificatesigningrequest", ShortNames: []string{"csr"}, Verbs: row.AllVerbs(), StoragePrefix: "certificatesigningrequests",
		New: row.New[certificatesv1.CertificateSigningRequest], NewList: row.New[certificatesv1.CertificateSigningRequestList],
		Strategy: registry.Strategy{
			PrepareForCreate: func(ctx context.Context, o runtime.Object) {
				prepare(ctx, o.(*certificatesv1.CertificateSigningRequest), d.User)
			},
			PrepareForUpdate: registry.PrepareUpdate(func(r, old *certificatesv1.CertificateSigningRequest) {
				r.Spec, r.Status = old.Spec, old.Status
			}),
			Validate:       registry.Check(validateNew),
			ValidateUpdate: registry.CheckUpdate(validate),
			ValidName:      path.ValidatePathSegmentName,
			CreateOnUpdate: true,
		},
		Columns: columns(),
		Fields: func(o runtime.Object) fields.Set {
			return fields.Set{"spec.signerName": o.(*certificatesv1.CertificateSigningRequest).Spec.SignerName}
		},
		Subresources: []registry.Subresource{
			row.Part("approval", registry.Strategy{
				PrepareForUpdate: registry.PrepareUpdate(func(r, old *certificatesv1.CertificateSigningRequest) {
					prepareApproval(r, old, metav1.NewTime(d.Clock.Now()))
				}),
				ValidateUpdate: registry.CheckUpdate(validate),
				Untouched:      []string{"spec", "status.certificate"},
			}),
			row.Status(registry.Strategy{
				PrepareForUpdate: registry.PrepareUpdate(func(r, old *certificatesv1.CertificateSigningRequest) {
					prepareStatus(r, old, metav1.NewTime(d.Clock.Now()))
				}),
				ValidateUpdate: registry.CheckUpdate(validateStatus),
				Untouched:      []string{"spec", "status.conditions"},
			}),
		},
	}
}

// prepare writes down who asks; what the client says of itself is worth
// nothing.
func prepare(ctx context.Context, r *certificatesv1.CertificateSigningRequest, who func(context.Context) (user.Info, bool)) {
	r.Spec.Username, r.Spec.UID, r.Spec.Groups, r.Spec.Extra = "", "", nil, nil
	if info, ok := who(ctx); ok {
		r.Spec.Username = info.GetName()
		r.Spec.UID = info.GetUID()
		r.Spec.Groups = info.GetGroups()
		if extra := info.GetExtra(); len(extra) > 0 {
			r.Spec.Extra = map[string]certificatesv1.ExtraValue{}
			for key, values := range extra {
				r.Spec.Extra[key] = values
			}
		}
	}
	r.Status = certificatesv1.CertificateSigningRequestStatus{}
}

// prepareApproval takes over nothing but conditions.
func prepareApproval(r, old *certificatesv1.CertificateSigningRequest, now metav1.Time) {
	conditions := r.Status.Conditions
	r.Spec, r.Status = old.Spec, *old.Status.DeepCopy()
	r.Status.Conditions = conditions
	metav1.ResetObjectMetaForStatus(&r.ObjectMeta, &old.ObjectMeta)
	dateConditions(r, old, now)
}

// prepareStatus takes over the certificate and what is said of it, but not the
// decision on it.
func prepareStatus(r, old *certificatesv1.CertificateSigningRequest, now metav1.Time) {
	r.Spec = old.Spec
	keepDecisions(r, old)
	metav1.ResetObjectMetaForStatus(&r.ObjectMeta, &old.ObjectMeta)
	dateConditions(r, old, now)
}
