package policystatus

import (
	"fmt"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/yare-io/yare/apiserver/expression"
)

// checked is an expression of a policy, and what is wrong with it.
type checked struct {
	place, source string
	problems      []string
}

// check compiles validations and messages anew for every kind that the policy
// names, and returns those that do not fit one of them.
func check(spec *admissionregistrationv1.ValidatingAdmissionPolicySpec, known *schemas) ([]admissionregistrationv1.ExpressionWarning, error) {
	kinds, err := known.kinds(spec.MatchConstraints)
	if err != nil {
		return nil, err
	}
	types := expression.Types{}
	if spec.ParamKind != nil {
		kind := schema.FromAPIVersionAndKind(spec.ParamKind.APIVersion, spec.ParamKind.Kind)
		if types.Params, err = known.declared(kind, "params"); err != nil {
			return nil, err
		}
	}
	all := expressionsOf(spec)
	for _, kind := range kinds {
		if types.Object, err = known.declared(kind, "object"); err != nil {
			return nil, err
		}
		if types.Object != nil {
			compile(spec, types, kind, all)
		}
	}
	var warnings []admissionregistrationv1.ExpressionWarning
	for _, c := range all {
		if len(c.problems) > 0 {
			warnings = append(warnings, admissionregistrationv1.ExpressionWarning{FieldRef: c.place, Warning: strings.Join(c.problems, "\n")})
		}
	}
	return warnings, nil
}

func expressionsOf(spec *admissionregistrationv1.ValidatingAdmissionPolicySpec) []checked {
	var all []checked
	path := field.NewPath("spec", "validations")
	for i, v := range spec.Validations {
		all = append(all, checked{place: path.Index(i).Child("expression").String(), source: v.Expression})
		if v.MessageExpression != "" {
			all = append(all, checked{place: path.Index(i).Child("messageExpression").String(), source: v.MessageExpression})
		}
	}
	return all
}

// compile compiles all expressions about one kind.
func compile(spec *admissionregistrationv1.ValidatingAdmissionPolicySpec, types expression.Types, kind schema.GroupVersionKind, all []checked) {
	scope := &expression.Scope{Types: types}
	given := plugincel.OptionalVariableDeclarations{HasParams: spec.ParamKind != nil, HasAuthorizer: true}
	for _, v := range spec.Variables {
		scope.Define(v.Name, v.Expression, given, environment.StoredExpressions)
	}
	for i := range all {
		result := scope.Compile(expression.Expression{Kind: expression.Anything, Source: all[i].source}, given, environment.StoredExpressions)
		if result.Error != nil {
			all[i].problems = append(all[i].problems, fmt.Sprintf("%v: %v\n", kind, result.Error))
		}
	}
}
