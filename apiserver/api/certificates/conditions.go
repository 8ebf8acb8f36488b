package certificates

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
)

func has(r *certificatesv1.CertificateSigningRequest, t certificatesv1.RequestConditionType) bool {
	return find(r.Status.Conditions, t) != nil
}

func find(conditions []certificatesv1.CertificateSigningRequestCondition, t certificatesv1.RequestConditionType) *certificatesv1.CertificateSigningRequestCondition {
	for i := range conditions {
		if conditions[i].Type == t {
			return &conditions[i]
		}
	}
	return nil
}

// dateConditions fills the times that a client left out.
func dateConditions(r, old *certificatesv1.CertificateSigningRequest, now metav1.Time) {
	for i := range r.Status.Conditions {
		c := &r.Status.Conditions[i]
		was := find(old.Status.Conditions, c.Type)
		if c.LastTransitionTime.IsZero() {
			c.LastTransitionTime = now
			if was != nil && was.Status == c.Status && !was.LastTransitionTime.IsZero() {
				c.LastTransitionTime = was.LastTransitionTime
			}
		}
		if c.LastUpdateTime.IsZero() {
			c.LastUpdateTime = now
			if was != nil && row.Same(*was, withTimes(*c, was)) && !was.LastUpdateTime.IsZero() {
				c.LastUpdateTime = was.LastUpdateTime
			}
		}
	}
}

func withTimes(c certificatesv1.CertificateSigningRequestCondition, from *certificatesv1.CertificateSigningRequestCondition) certificatesv1.CertificateSigningRequestCondition {
	c.LastUpdateTime, c.LastTransitionTime = from.LastUpdateTime, from.LastTransitionTime
	return c
}

// keepDecisions puts the conditions that only the approval subresource may
// change back to what they were.
func keepDecisions(r, old *certificatesv1.CertificateSigningRequest) {
	var kept []certificatesv1.CertificateSigningRequestCondition
	for _, c := range old.Status.Conditions {
		if isDecision(c.Type) {
			kept = append(kept, c)
		}
	}
	for _, c := range r.Status.Conditions {
		if !isDecision(c.Type) {
			kept = append(kept, c)
		}
	}
	r.Status.Conditions = kept
}

func isDecision(t certificatesv1.RequestConditionType) bool {
	return t == certificatesv1.CertificateApproved || t == certificatesv1.CertificateDenied
}

// validateConditions: each once, none taken back, and never both approved and
// denied.
func validateConditions(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	at := field.NewPath("status", "conditions")
	var errs field.ErrorList
	seen := sets.New[certificatesv1.RequestConditionType]()
	for i, c := range r.Status.Conditions {
		p := at.Index(i)
		switch {
		case c.Type == "":
			errs = append(errs, field.Required(p.Child("type"), ""))
		case seen.Has(c.Type):
			errs = append(errs, field.Duplicate(p.Child("type"), c.Type))
		}
		seen.Insert(c.Type)
		errs = append(errs, validateConditionStatus(p.Child("status"), c)...)
		if isDecision(c.Type) && has(r, opposite(c.Type)) {
			errs = append(errs, field.Invalid(p.Child("type"), c.Type, "Approved and Denied conditions are mutually exclusive"))
		}
	}
	if old == nil {
		return errs
	}
	for _, c := range old.Status.Conditions {
		if (isDecision(c.Type) || c.Type == certificatesv1.CertificateFailed) && !seen.Has(c.Type) {
			errs = append(errs, field.Forbidden(at, "updates may not remove a condition of type \""+string(c.Type)+"\""))
		}
	}
	return errs
}

func opposite(t certificatesv1.RequestConditionType) certificatesv1.RequestConditionType {
	if t == certificatesv1.CertificateApproved {
		return certificatesv1.CertificateDenied
	}
	return certificatesv1.CertificateApproved
}

func validateConditionStatus(at *field.Path, c certificatesv1.CertificateSigningRequestCondition) field.ErrorList {
	valid := []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse, corev1.ConditionUnknown}
	if isDecision(c.Type) || c.Type == certificatesv1.CertificateFailed {
		valid = valid[:1]
	}
	if c.Status == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	for _, v := range valid {
		if c.Status == v {
			return nil
		}
	}
	return field.ErrorList{field.NotSupported(at, c.Status, valid)}
}
