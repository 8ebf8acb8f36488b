package admissionregistration

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/rule"
)

// unchangedRules makes an update's rules of those for a new object.
func unchangedRules[T any](validate func(T) field.ErrorList) func(obj, old T) field.ErrorList {
	return func(obj, _ T) field.ErrorList { return validate(obj) }
}

func validateValidatingBinding(b *admissionregistrationv1.ValidatingAdmissionPolicyBinding) field.ErrorList {
	at := field.NewPath("spec")
	errs := validateBindingHead(at, b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
	return append(errs, validateActions(at.Child("validationActions"), b.Spec.ValidationActions)...)
}

func validateMutatingBinding(b *admissionregistrationv1.MutatingAdmissionPolicyBinding) field.ErrorList {
	return validateBindingHead(field.NewPath("spec"), b.Spec.PolicyName, b.Spec.ParamRef, b.Spec.MatchResources)
}

func validateBindingHead(at *field.Path, policy string, ref *admissionregistrationv1.ParamRef, match *admissionregistrationv1.MatchResources) field.ErrorList {
	var errs field.ErrorList
	if policy == "" {
		errs = append(errs, field.Required(at.Child("policyName"), ""))
	} else {
		errs = append(errs, rule.DNSSubdomain(at.Child("policyName"), policy)...)
	}
	if ref != nil {
		errs = append(errs, validateParamRef(at.Child("paramRef"), ref)...)
	}
	return append(errs, validateMatch(at.Child("matchResources"), match)...)
}

func validateParamRef(at *field.Path, r *admissionregistrationv1.ParamRef) field.ErrorList {
	var errs field.ErrorList
	if r.Name != "" {
		errs = append(errs, rule.Invalid(at.Child("name"), r.Name, content.IsPathSegmentName(r.Name))...)
	}
	errs = append(errs, rule.Selector(at.Child("selector"), r.Selector)...)
	switch {
	case r.Name != "" && r.Selector != nil:
		const both = "name and selector are mutually exclusive"
		errs = append(errs, field.Forbidden(at.Child("name"), both), field.Forbidden(at.Child("selector"), both))
	case r.Name == "" && r.Selector == nil:
		errs = append(errs, field.Required(at, "one of name or selector must be specified"))
	}
	action := at.Child("parameterNotFoundAction")
	if r.ParameterNotFoundAction == nil {
		return append(errs, field.Required(action, ""))
	}
	return append(errs, rule.OneOf(action, *r.ParameterNotFoundAction, admissionregistrationv1.AllowAction, admissionregistrationv1.DenyAction)...)
}

func validateActions(at *field.Path, actions []admissionregistrationv1.ValidationAction) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[admissionregistrationv1.ValidationAction]()
	for i, action := range actions {
		errs = append(errs, rule.Supported(at.Index(i), action, admissionregistrationv1.Audit, admissionregistrationv1.Deny, admissionregistrationv1.Warn)...)
		if seen.Has(action) {
			errs = append(errs, field.Duplicate(at.Index(i), action))
		}
		seen.Insert(action)
	}
	if seen.HasAll(admissionregistrationv1.Deny, admissionregistrationv1.Warn) {
		errs = append(errs, field.Invalid(at, actions, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"))
	}
	if len(actions) == 0 {
		errs = append(errs, field.Required(at, "at least one validation action is required"))
	}
	return errs
}
