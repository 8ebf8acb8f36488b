package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/admission"
)

// verdicts collects what policies say of a request.
type verdicts struct {
	denial *denial
	noted  []validationFailure
}

type denial struct {
	message string
	reason  metav1.StatusReason
}

// validationFailure is one entry of the audit annotation that Kubernetes
// defines for the action Audit.
type validationFailure struct {
	Message           string                                     `json:"message"`
	Policy            string                                     `json:"policy"`
	Binding           string                                     `json:"binding"`
	ExpressionIndex   int                                        `json:"expressionIndex"`
	ValidationActions []admissionregistrationv1.ValidationAction `json:"validationActions"`
}

// maxNoted bounds the annotation.
const maxNoted = 50

// misconfigured notes that a policy or binding cannot be applied.
func (v *verdicts) misconfigured(d *definition[*checks], b *binding, err error) {
	if d.ignore {
		return
	}
	what := "policy"
	if b != nil {
		what = "binding"
	}
	v.deny(d.name, b, fmt.Sprintf("failed to configure %s: %v", what, err), "")
}

func (v *verdicts) deny(policy string, b *binding, message string, reason metav1.StatusReason) {
	if v.denial != nil {
		return
	}
	with := ""
	if b != nil {
		with = fmt.Sprintf(" with binding '%s'", b.name)
	}
	v.denial = &denial{fmt.Sprintf("ValidatingAdmissionPolicy '%s'%s denied request: %s", policy, with, message), reason}
}

// add does with the failures what the binding says.
func (v *verdicts) add(a *admission.Attributes, policy string, b *binding, r result) {
	for _, f := range r.failures {
		for _, action := range b.actions {
			switch action {
			case admissionregistrationv1.Deny:
				v.deny(policy, b, f.message, f.reason)
			case admissionregistrationv1.Warn:
				a.Warn(fmt.Sprintf("Validation failed for ValidatingAdmissionPolicy '%s' with binding '%s': %s", policy, b.name, f.message))
			case admissionregistrationv1.Audit:
				if len(v.noted) < maxNoted {
					v.noted = append(v.noted, validationFailure{f.message, policy, b.name, f.index, b.actions})
				}
			}
		}
	}
}

// settle annotates the audit event, and returns the first denial.
func (v *verdicts) settle(a *admission.Attributes) error {
	if len(v.noted) > 0 {
		if text, err := json.Marshal(v.noted); err == nil {
			a.Annotate("validation.policy.admission.k8s.io/validation_failure", string(text))
		}
	}
	if v.denial == nil {
		return nil
	}
	refusal := admission.Forbidden(a, errors.New(v.denial.message))
	refusal.ErrStatus.Reason = v.denial.reason
	if v.denial.reason == "" {
		refusal.ErrStatus.Reason = metav1.StatusReasonInvalid
	}
	refusal.ErrStatus.Code = codeOf(refusal.ErrStatus.Reason)
	refusal.ErrStatus.Details.Causes = append(refusal.ErrStatus.Details.Causes, metav1.StatusCause{Message: v.denial.message})
	return refusal
}

func codeOf(reason metav1.StatusReason) int32 {
	switch reason {
	case metav1.StatusReasonForbidden:
		return http.StatusForbidden
	case metav1.StatusReasonUnauthorized:
		return http.StatusUnauthorized
	case metav1.StatusReasonRequestEntityTooLarge:
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusUnprocessableEntity
}

// annotations collects the audit annotations of one policy over its bindings.
type annotations map[string][]string

func (n annotations) add(more map[string]string) {
	for key, value := range more {
		if !slices.Contains(n[key], value) {
			n[key] = append(n[key], value)
		}
	}
}

// maxAnnotation is Kubernetes' limit on one value.
const maxAnnotation = 10 << 10

func (n annotations) publish(policy string, a *admission.Attributes) {
	for key, values := range n {
		text := strings.Join(values, ", ")
		a.Annotate(policy+"/"+key, text[:min(len(text), maxAnnotation)])
	}
}
