package admissionregistration

import (
	"errors"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apivalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/expression"
)

// maxConditions is Kubernetes' limit on matchConditions.
const maxConditions = 64

// expressions compiles the expressions of one object to find their errors.
type expressions struct {
	// scope has the variables; nil: there are none.
	scope *expression.Scope
	// params: expressions may use the variable of that name.
	params bool
	// stored are the expressions the object had before.
	stored sets.Set[string]
}

// check compiles one expression. The source is compiled as it is, so that the
// columns in messages are right.
func (e expressions) check(at *field.Path, accessor plugincel.ExpressionAccessor, declared plugincel.OptionalVariableDeclarations) field.ErrorList {
	declared.HasParams = e.params
	result := e.scope.Compile(accessor, declared, e.environment(accessor.GetExpression()))
	return compileError(at, accessor.GetExpression(), result.Error)
}

func (e expressions) environment(source string) environment.Type {
	if e.stored.Has(source) {
		return environment.StoredExpressions
	}
	return environment.NewExpressions
}

func compileError(at *field.Path, source string, err *cel.Error) field.ErrorList {
	switch {
	case err == nil:
		return nil
	case err.Type == cel.ErrorTypeRequired:
		return field.ErrorList{field.Required(at, err.Detail)}
	case err.Type == cel.ErrorTypeInvalid:
		return field.ErrorList{field.Invalid(at, source, err.Detail)}
	}
	return field.ErrorList{field.InternalError(at, errors.New(err.Detail))}
}

var withAuthorizer = plugincel.OptionalVariableDeclarations{HasAuthorizer: true}

// validateConditions checks matchConditions, which know no variables of the
// policy.
func validateConditions(at *field.Path, conditions []admissionregistrationv1.MatchCondition, e expressions) field.ErrorList {
	errs := rule.MaxItems(at, len(conditions), maxConditions)
	e.scope = nil
	names := sets.New[string]()
	for i, c := range conditions {
		p := at.Index(i)
		if source := strings.TrimSpace(c.Expression); source == "" {
			errs = append(errs, field.Required(p.Child("expression"), ""))
		} else {
			errs = append(errs, e.check(p.Child("expression"), expression.Expression{Kind: expression.Boolean, Source: source}, withAuthorizer)...)
		}
		if c.Name == "" {
			errs = append(errs, field.Required(p.Child("name"), ""))
			continue
		}
		errs = append(errs, apivalidation.ValidateLabelName(c.Name, p.Child("name"))...)
		if names.Has(c.Name) {
			errs = append(errs, field.Duplicate(p.Child("name"), c.Name))
		}
		names.Insert(c.Name)
	}
	return errs
}
