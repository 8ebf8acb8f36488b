package certificates

import (
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func columns() []registry.Column {
	return []registry.Column{
		row.NameColumn(),
		row.AgeColumn(),
		row.Text("SignerName", func(r *certificatesv1.CertificateSigningRequest) any { return row.Or(r.Spec.SignerName) }),
		row.Text("Requestor", func(r *certificatesv1.CertificateSigningRequest) any { return r.Spec.Username }),
		row.Text("RequestedDuration", func(r *certificatesv1.CertificateSigningRequest) any {
			if r.Spec.ExpirationSeconds == nil {
				return row.None
			}
			return duration.HumanDuration(time.Duration(*r.Spec.ExpirationSeconds) * time.Second)
		}),
		row.Text("Condition", func(r *certificatesv1.CertificateSigningRequest) any { return conditionCell(r) }),
	}
}

func conditionCell(r *certificatesv1.CertificateSigningRequest) string {
	var words []string
	add := func(word string, when bool) {
		if when {
			words = append(words, word)
		}
	}
	denied, approved := has(r, certificatesv1.CertificateDenied), has(r, certificatesv1.CertificateApproved)
	failed := find(r.Status.Conditions, certificatesv1.CertificateFailed)
	add("Denied", denied)
	add("Approved", approved && !denied)
	add("Pending", !approved && !denied)
	add("Failed", failed != nil && failed.Status == corev1.ConditionTrue)
	add("Issued", len(r.Status.Certificate) > 0)
	return strings.Join(words, ",")
}
