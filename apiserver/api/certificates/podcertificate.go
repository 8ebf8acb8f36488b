package certificates

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// defaultPodExpiration is the longest life of a pod's certificate, in seconds,
// unless its request says otherwise.
const defaultPodExpiration = 24 * 60 * 60

func podRequests() *registry.Resource {
	return &registry.Resource{
		Kind: certificatesv1.SchemeGroupVersion.WithKind("PodCertificateRequest"), Name: "podcertificaterequests",
		Singular: "podcertificaterequest", Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "podcertificaterequests",
		New: row.New[certificatesv1.PodCertificateRequest], NewList: row.New[certificatesv1.PodCertificateRequestList],
		Strategy: registry.Strategy{
			Default: registry.Do(func(r *certificatesv1.PodCertificateRequest) {
				if r.Spec.MaxExpirationSeconds == nil {
					seconds := int32(defaultPodExpiration)
					r.Spec.MaxExpirationSeconds = &seconds
				}
			}),
			PrepareForCreate: registry.Prepare(func(r *certificatesv1.PodCertificateRequest) { r.Status = certificatesv1.PodCertificateRequestStatus{} }),
			PrepareForUpdate: registry.PrepareUpdate(func(r, old *certificatesv1.PodCertificateRequest) { r.Status = old.Status }),
			Validate:         registry.Check(validatePodRequest),
			ValidateUpdate:   registry.CheckUpdate(validatePodRequestUpdate),
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(func(r, old *certificatesv1.PodCertificateRequest) {
				r.Spec = old.Spec
				metav1.ResetObjectMetaForStatus(&r.ObjectMeta, &old.ObjectMeta)
			}),
			ValidateUpdate: registry.CheckUpdate(validatePodRequestStatus),
		})},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("PodName", func(r *certificatesv1.PodCertificateRequest) any { return r.Spec.PodName }),
			row.Text("ServiceAccountName", func(r *certificatesv1.PodCertificateRequest) any { return r.Spec.ServiceAccountName }),
			row.Text("NodeName", func(r *certificatesv1.PodCertificateRequest) any { return string(r.Spec.NodeName) }),
			row.Text("SignerName", func(r *certificatesv1.PodCertificateRequest) any { return r.Spec.SignerName }),
			row.Text("State", podRequestState),
		},
		Fields: func(o runtime.Object) fields.Set {
			spec := &o.(*certificatesv1.PodCertificateRequest).Spec
			return fields.Set{"spec.signerName": spec.SignerName, "spec.podName": spec.PodName, "spec.nodeName": string(spec.NodeName)}
		},
	}
}

// podOutcomes are the conditions that end a request, at most one of which it
// can have.
var podOutcomes = []string{
	certificatesv1.PodCertificateRequestConditionTypeDenied,
	certificatesv1.PodCertificateRequestConditionTypeFailed,
	certificatesv1.PodCertificateRequestConditionTypeIssued,
}

func podRequestState(r *certificatesv1.PodCertificateRequest) any {
	if _, outcome := podOutcome(r); outcome != "" {
		return outcome
	}
	return "Pending"
}
