package admissionregistration

import (
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/expression"
)

func validateMutatingPolicy(p *admissionregistrationv1.MutatingAdmissionPolicy) field.ErrorList {
	return checkMutatingPolicy(p, nil)
}

func validateMutatingPolicyUpdate(p, old *admissionregistrationv1.MutatingAdmissionPolicy) field.ErrorList {
	return checkMutatingPolicy(p, old)
}

// checkMutatingPolicy checks a policy; old is nil for a new one.
func checkMutatingPolicy(p, old *admissionregistrationv1.MutatingAdmissionPolicy) field.ErrorList {
	at, s := field.NewPath("spec"), &p.Spec
	e := expressions{scope: &expression.Scope{}, params: s.ParamKind != nil}
	if old != nil {
		e.stored = storedMutating(&old.Spec)
	}
	errs := validatePolicyHead(at, s.FailurePolicy, s.ParamKind, s.MatchConstraints)
	errs = append(errs, validateMutatingOperations(at.Child("matchConstraints", "resourceRules", "operations"), s.MatchConstraints)...)
	if old == nil || !row.Same(s.ParamKind, old.Spec.ParamKind) || !row.Same(s.MatchConditions, old.Spec.MatchConditions) {
		errs = append(errs, validateConditions(at.Child("matchConditions"), s.MatchConditions, e)...)
	}
	errs = append(errs, validateVariables(at.Child("variables"), s.Variables, e)...)
	if len(s.Mutations) == 0 {
		errs = append(errs, field.Required(at.Child("mutations"), "mutations must contain at least one item"))
	}
	for i := range s.Mutations {
		errs = append(errs, validateMutation(at.Child("mutations").Index(i), &s.Mutations[i], e)...)
	}
	return append(errs, rule.OneOf(at.Child("reinvocationPolicy"), s.ReinvocationPolicy, reinvocationPolicies...)...)
}

func storedMutating(s *admissionregistrationv1.MutatingAdmissionPolicySpec) sets.Set[string] {
	stored := storedCommon(s.MatchConditions, s.Variables)
	for _, m := range s.Mutations {
		if m.ApplyConfiguration != nil {
			stored.Insert(m.ApplyConfiguration.Expression)
		}
		if m.JSONPatch != nil {
			stored.Insert(m.JSONPatch.Expression)
		}
	}
	return stored
}

// validateMutatingOperations: what is deleted cannot be changed.
func validateMutatingOperations(at *field.Path, m *admissionregistrationv1.MatchResources) field.ErrorList {
	var errs field.ErrorList
	if m == nil {
		return errs
	}
	for _, r := range m.ResourceRules {
		for _, operation := range r.Operations {
			errs = append(errs, rule.Supported(at, operation, admissionregistrationv1.OperationAll,
				admissionregistrationv1.Create, admissionregistrationv1.Update, admissionregistrationv1.Connect)...)
		}
	}
	return errs
}

func validateMutation(at *field.Path, m *admissionregistrationv1.Mutation, e expressions) field.ErrorList {
	apply, list := at.Child("applyConfiguration"), at.Child("jsonPatch")
	switch m.PatchType {
	case "":
		return field.ErrorList{field.Required(at.Child("patchType"), "")}
	case admissionregistrationv1.PatchTypeJSONPatch:
		var errs field.ErrorList
		if m.JSONPatch == nil {
			errs = append(errs, field.Required(list, "must be specified when patchType is JSONPatch"))
		} else {
			errs = append(errs, validatePatch(list, &patch.JSONPatchCondition{Expression: m.JSONPatch.Expression}, e)...)
		}
		if m.ApplyConfiguration != nil {
			errs = append(errs, field.Invalid(apply, "{applyConfiguration}", "must not be specified when patchType is JSONPatch"))
		}
		return errs
	case admissionregistrationv1.PatchTypeApplyConfiguration:
		var errs field.ErrorList
		if m.ApplyConfiguration == nil {
			errs = append(errs, field.Required(apply, "must be specified when patchType is ApplyConfiguration"))
		} else {
			errs = append(errs, validatePatch(apply, &patch.ApplyConfigurationCondition{Expression: m.ApplyConfiguration.Expression}, e)...)
		}
		if m.JSONPatch != nil {
			errs = append(errs, field.Invalid(list, "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration"))
		}
		return errs
	}
	return rule.Supported(at.Child("patchType"), m.PatchType, admissionregistrationv1.PatchTypeApplyConfiguration, admissionregistrationv1.PatchTypeJSONPatch)
}

func validatePatch(at *field.Path, accessor plugincel.ExpressionAccessor, e expressions) field.ErrorList {
	if strings.TrimSpace(accessor.GetExpression()) == "" {
		return field.ErrorList{field.Required(at.Child("expression"), "")}
	}
	return e.check(at.Child("expression"), accessor, plugincel.OptionalVariableDeclarations{HasAuthorizer: true, HasPatchTypes: true})
}
