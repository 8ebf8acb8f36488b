package admissionregistration

import (
	"fmt"
	"regexp"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/client-go/util/jsonpath"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/expression"
)

const (
	maxAuditAnnotations = 20
	maxAuditExpression  = 5 << 10
)

func validateValidatingPolicy(p *admissionregistrationv1.ValidatingAdmissionPolicy) field.ErrorList {
	return checkValidatingPolicy(p, nil)
}

func validateValidatingPolicyUpdate(p, old *admissionregistrationv1.ValidatingAdmissionPolicy) field.ErrorList {
	return checkValidatingPolicy(p, old)
}

// checkValidatingPolicy checks a policy; old is nil for a new one.
func checkValidatingPolicy(p, old *admissionregistrationv1.ValidatingAdmissionPolicy) field.ErrorList {
	at, s := field.NewPath("spec"), &p.Spec
	e := expressions{scope: &expression.Scope{}, params: s.ParamKind != nil}
	if old != nil {
		e.stored = storedValidating(&old.Spec)
	}
	errs := validatePolicyHead(at, s.FailurePolicy, s.ParamKind, s.MatchConstraints)
	if old == nil || !row.Same(s.ParamKind, old.Spec.ParamKind) || !row.Same(s.MatchConditions, old.Spec.MatchConditions) {
		errs = append(errs, validateConditions(at.Child("matchConditions"), s.MatchConditions, e)...)
	}
	errs = append(errs, validateVariables(at.Child("variables"), s.Variables, e)...)
	if len(s.Validations) == 0 && len(s.AuditAnnotations) == 0 {
		const nothing = "validations or auditAnnotations must contain at least one item"
		return append(errs, field.Required(at.Child("validations"), nothing), field.Required(at.Child("auditAnnotations"), nothing))
	}
	for i := range s.Validations {
		errs = append(errs, validateValidation(at.Child("validations").Index(i), &s.Validations[i], e)...)
	}
	return append(errs, validateAuditAnnotations(at.Child("auditAnnotations"), p.Name, s.AuditAnnotations, e)...)
}

func storedValidating(s *admissionregistrationv1.ValidatingAdmissionPolicySpec) sets.Set[string] {
	stored := storedCommon(s.MatchConditions, s.Variables)
	for _, v := range s.Validations {
		stored.Insert(v.Expression, v.MessageExpression)
	}
	for _, a := range s.AuditAnnotations {
		stored.Insert(a.ValueExpression)
	}
	return stored
}

func storedCommon(conditions []admissionregistrationv1.MatchCondition, variables []admissionregistrationv1.Variable) sets.Set[string] {
	stored := sets.New[string]()
	for _, c := range conditions {
		stored.Insert(strings.TrimSpace(c.Expression))
	}
	for _, v := range variables {
		stored.Insert(v.Expression)
	}
	return stored
}

// validatePolicyHead checks what both kinds of policies begin with.
func validatePolicyHead(at *field.Path, failure *admissionregistrationv1.FailurePolicyType, params *admissionregistrationv1.ParamKind, match *admissionregistrationv1.MatchResources) field.ErrorList {
	var errs field.ErrorList
	if failure == nil {
		errs = append(errs, field.Required(at.Child("failurePolicy"), ""))
	}
	errs = append(errs, rule.OptionalOneOf(at.Child("failurePolicy"), failure, failurePolicies...)...)
	if params != nil {
		errs = append(errs, validateParamKind(at.Child("paramKind"), params)...)
	}
	return append(errs, validateConstraints(at.Child("matchConstraints"), match)...)
}

func validateParamKind(at *field.Path, k *admissionregistrationv1.ParamKind) field.ErrorList {
	errs := rule.Required(at.Child("apiVersion"), k.APIVersion)
	gv, err := schema.ParseGroupVersion(k.APIVersion)
	switch version := at.Child("apiVersion"); {
	case k.APIVersion == "":
	case err != nil:
		errs = append(errs, field.Invalid(version, k.APIVersion, err.Error()))
	case gv.Version == "":
		errs = append(errs, field.Invalid(version, k.APIVersion, "version must be specified"))
	default:
		errs = append(errs, joined(version, gv.Version, "", validation.IsDNS1035Label(gv.Version))...)
		if gv.Group != "" {
			errs = append(errs, joined(version, gv.Group, "", validation.IsDNS1123Subdomain(gv.Group))...)
		}
	}
	if k.Kind == "" {
		return append(errs, field.Required(at.Child("kind"), ""))
	}
	return append(errs, joined(at.Child("kind"), k.Kind, "may have mixed case, but should otherwise match: ", validation.IsDNS1035Label(strings.ToLower(k.Kind)))...)
}

// joined makes one error of several messages.
func joined(at *field.Path, value, prefix string, messages []string) field.ErrorList {
	if len(messages) == 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(at, value, prefix+strings.Join(messages, ","))}
}

var (
	identifier = regexp.MustCompile("^[_a-zA-Z][_a-zA-Z0-9]*$")
	reserved   = sets.New("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
		"import", "let", "loop", "package", "namespace", "return", "var", "void", "while")
)

// validateVariables compiles variables in order: each sees those before it.
func validateVariables(at *field.Path, variables []admissionregistrationv1.Variable, e expressions) field.ErrorList {
	var errs field.ErrorList
	for i, v := range variables {
		p := at.Index(i)
		switch {
		case strings.TrimSpace(v.Name) == "":
			errs = append(errs, field.Required(p.Child("name"), "name is not specified"))
		case !identifier.MatchString(v.Name) || reserved.Has(v.Name):
			errs = append(errs, field.Invalid(p.Child("name"), v.Name, "must be a valid CEL identifier"))
		}
		if strings.TrimSpace(v.Expression) == "" {
			errs = append(errs, field.Required(p.Child("expression"), "expression is not specified"))
			continue
		}
		result := e.scope.Define(v.Name, v.Expression,
			plugincel.OptionalVariableDeclarations{HasParams: e.params, HasAuthorizer: true}, e.environment(v.Expression))
		errs = append(errs, compileError(p.Child("expression"), v.Expression, result.Error)...)
	}
	return errs
}

var reasons = []metav1.StatusReason{metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge, metav1.StatusReasonUnauthorized}

func validateValidation(at *field.Path, v *admissionregistrationv1.Validation, e expressions) field.ErrorList {
	var errs field.ErrorList
	if strings.TrimSpace(v.Expression) == "" {
		errs = append(errs, field.Required(at.Child("expression"), "expression is not specified"))
	} else {
		errs = append(errs, e.check(at.Child("expression"), expression.Expression{Kind: expression.Boolean, Source: v.Expression}, withAuthorizer)...)
	}
	const blank = "must be non-empty if specified"
	switch source := at.Child("messageExpression"); {
	case v.MessageExpression == "":
	case strings.TrimSpace(v.MessageExpression) == "":
		errs = append(errs, field.Invalid(source, v.MessageExpression, blank))
	default:
		errs = append(errs, e.check(source, expression.Expression{Kind: expression.Text, Source: v.MessageExpression}, plugincel.OptionalVariableDeclarations{})...)
	}
	switch message := strings.TrimSpace(v.Message); {
	case v.Message == "":
	case message == "":
		errs = append(errs, field.Invalid(at.Child("message"), v.Message, blank))
	case strings.ContainsAny(message, "\n\r"):
		errs = append(errs, field.Invalid(at.Child("message"), v.Message, "must not contain line breaks"))
	}
	return append(errs, rule.OptionalOneOf(at.Child("reason"), v.Reason, reasons...)...)
}

func validateAuditAnnotations(at *field.Path, policy string, annotations []admissionregistrationv1.AuditAnnotation, e expressions) field.ErrorList {
	var errs field.ErrorList
	if len(annotations) > maxAuditAnnotations {
		errs = append(errs, field.Invalid(at, annotations, fmt.Sprintf("must not have more than %d auditAnnotations", maxAuditAnnotations)))
	}
	keys := sets.New[string]()
	for i, a := range annotations {
		p := at.Index(i)
		if policy == "" {
			errs = append(errs, field.Invalid(p.Child("key"), a.Key, "requires metadata.name be non-empty"))
		} else {
			errs = append(errs, rule.QualifiedName(p.Child("key"), policy+"/"+a.Key)...)
		}
		switch source := strings.TrimSpace(a.ValueExpression); {
		case source == "":
			errs = append(errs, field.Required(p.Child("valueExpression"), "valueExpression is not specified"))
		case len(source) > maxAuditExpression:
			errs = append(errs, field.Required(p.Child("valueExpression"), fmt.Sprintf("must not exceed %d bytes in length", maxAuditExpression)))
		default:
			errs = append(errs, e.check(p.Child("valueExpression"), expression.Expression{Kind: expression.TextOrNull, Source: a.ValueExpression}, withAuthorizer)...)
		}
		if keys.Has(a.Key) {
			errs = append(errs, field.Duplicate(p.Child("key"), a.Key))
		}
		keys.Insert(a.Key)
	}
	return errs
}

func validatePolicyStatus(p, _ *admissionregistrationv1.ValidatingAdmissionPolicy) field.ErrorList {
	at := field.NewPath("status")
	var errs field.ErrorList
	if checking := p.Status.TypeChecking; checking != nil {
		for i, w := range checking.ExpressionWarnings {
			p := at.Child("typeChecking", "expressionWarnings").Index(i)
			errs = append(errs, rule.Required(p.Child("warning"), w.Warning)...)
			errs = append(errs, validateFieldRef(p.Child("fieldRef"), strings.TrimSpace(w.FieldRef))...)
		}
	}
	return append(errs, metavalidation.ValidateConditions(p.Status.Conditions, at.Child("conditions"))...)
}

func validateFieldRef(at *field.Path, ref string) field.ErrorList {
	if ref == "" {
		return field.ErrorList{field.Required(at, "")}
	}
	if err := jsonpath.New("spec").Parse("{" + ref + "}"); err != nil {
		return field.ErrorList{field.Invalid(at, ref, fmt.Sprintf("invalid JSONPath: %v", err))}
	}
	return nil
}
