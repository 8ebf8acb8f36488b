package admissionregistration

import (
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
)

// leave is what old objects had wrong and may keep.
type leave struct {
	sideEffects, reviewVersions, duplicateNames, selectors bool
	// expressions that are stored already compile in the environment of
	// stored ones.
	expressions sets.Set[string]
	// conditions have not changed and are not compiled again.
	conditions bool
}

func checkHooks[T any](hooks func(T) []hook) func(T) field.ErrorList {
	return func(c T) field.ErrorList { return validateHooks(hooks(c), leave{}) }
}

func checkHooksUpdate[T any](hooks func(T) []hook) func(c, old T) field.ErrorList {
	return func(c, old T) field.ErrorList {
		now, before := hooks(c), hooks(old)
		return validateHooks(now, leaveOf(now, before))
	}
}

func leaveOf(now, before []hook) leave {
	l := leave{expressions: sets.New[string](), conditions: len(now) == len(before)}
	names := sets.New[string]()
	for i, h := range before {
		l.sideEffects = l.sideEffects || h.sideEffects == nil || !sideEffectFree(*h.sideEffects)
		l.reviewVersions = l.reviewVersions || len(h.reviewVersions) > 0 && !speaksReview(h.reviewVersions)
		l.duplicateNames = l.duplicateNames || names.Has(h.name)
		l.selectors = l.selectors || len(validateSelectors(field.NewPath("webhooks"), h, leave{})) > 0
		l.conditions = l.conditions && row.Same(now[i].conditions, h.conditions)
		names.Insert(h.name)
		for _, c := range h.conditions {
			l.expressions.Insert(strings.TrimSpace(c.Expression))
		}
	}
	return l
}

func validateHooks(hooks []hook, l leave) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i, h := range hooks {
		at := field.NewPath("webhooks").Index(i)
		errs = append(errs, validateHook(at, h, l)...)
		if h.name != "" && names.Has(h.name) && !l.duplicateNames {
			errs = append(errs, field.Duplicate(at.Child("name"), h.name))
		}
		names.Insert(h.name)
	}
	return errs
}

func validateHook(at *field.Path, h hook, l leave) field.ErrorList {
	errs := validation.IsFullyQualifiedName(at.Child("name"), h.name)
	for i := range h.rules {
		errs = append(errs, validateRule(at.Child("rules").Index(i), &h.rules[i])...)
	}
	errs = append(errs, rule.OptionalOneOf(at.Child("failurePolicy"), *h.failurePolicy, failurePolicies...)...)
	errs = append(errs, rule.OptionalOneOf(at.Child("matchPolicy"), *h.matchPolicy, matchPolicies...)...)
	errs = append(errs, rule.OptionalOneOf(at.Child("reinvocationPolicy"), h.reinvocation, reinvocationPolicies...)...)
	errs = append(errs, validateSideEffects(at.Child("sideEffects"), h.sideEffects, l)...)
	if seconds := *h.timeoutSeconds; seconds != nil && (*seconds < 1 || *seconds > 30) {
		errs = append(errs, field.Invalid(at.Child("timeoutSeconds"), *seconds, "the timeout value must be between 1 and 30 seconds"))
	}
	errs = append(errs, validateSelectors(at, h, l)...)
	errs = append(errs, validateClient(at.Child("clientConfig"), h.client)...)
	if !l.conditions {
		errs = append(errs, validateConditions(at.Child("matchConditions"), h.conditions, expressions{stored: l.expressions})...)
	}
	return append(errs, validateReviewVersions(at.Child("admissionReviewVersions"), h.reviewVersions, l)...)
}

var (
	failurePolicies      = []admissionregistrationv1.FailurePolicyType{admissionregistrationv1.Fail, admissionregistrationv1.Ignore}
	matchPolicies        = []admissionregistrationv1.MatchPolicyType{admissionregistrationv1.Equivalent, admissionregistrationv1.Exact}
	reinvocationPolicies = []admissionregistrationv1.ReinvocationPolicyType{admissionregistrationv1.IfNeededReinvocationPolicy, admissionregistrationv1.NeverReinvocationPolicy}
)

func sideEffectFree(c admissionregistrationv1.SideEffectClass) bool {
	return c == admissionregistrationv1.SideEffectClassNone || c == admissionregistrationv1.SideEffectClassNoneOnDryRun
}

func validateSideEffects(at *field.Path, class *admissionregistrationv1.SideEffectClass, l leave) field.ErrorList {
	allowed := []admissionregistrationv1.SideEffectClass{admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.SideEffectClassNoneOnDryRun}
	if l.sideEffects {
		allowed = append(allowed, admissionregistrationv1.SideEffectClassSome, admissionregistrationv1.SideEffectClassUnknown)
	}
	if class == nil {
		names := make([]string, len(allowed))
		for i, a := range allowed {
			names[i] = string(a)
		}
		return field.ErrorList{field.Required(at, "must specify one of "+strings.Join(names, ", "))}
	}
	return rule.Supported(at, *class, allowed...)
}

func validateSelectors(at *field.Path, h hook, l leave) field.ErrorList {
	options := metavalidation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: l.selectors}
	errs := metavalidation.ValidateLabelSelector(*h.namespaceSelector, options, at.Child("namespaceSelector"))
	return append(errs, metavalidation.ValidateLabelSelector(*h.objectSelector, options, at.Child("objectSelector"))...)
}

// reviewVersions are the versions of AdmissionReview that Kubernetes accepts in
// a configuration. The server speaks v1 alone.
var reviewVersions = []string{"v1", "v1beta1"}

func speaksReview(versions []string) bool {
	return sets.New(versions...).HasAny(reviewVersions...)
}

func validateReviewVersions(at *field.Path, versions []string, l leave) field.ErrorList {
	accepted := strings.Join(reviewVersions, ", ")
	if len(versions) == 0 {
		return field.ErrorList{field.Required(at, "must specify one of "+accepted)}
	}
	var errs field.ErrorList
	seen := sets.New[string]()
	for i, v := range versions {
		if seen.Has(v) {
			errs = append(errs, field.Invalid(at.Index(i), v, "duplicate version"))
			continue
		}
		seen.Insert(v)
		errs = append(errs, rule.Invalid(at.Index(i), v, validation.IsDNS1035Label(v))...)
	}
	if !l.reviewVersions && !speaksReview(versions) {
		errs = append(errs, field.Invalid(at, versions, "must include at least one of "+accepted))
	}
	return errs
}
