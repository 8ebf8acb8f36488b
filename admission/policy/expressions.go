package policy

import (
	"context"
	"errors"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/yare-io/yare/admission/match"
	"github.com/yare-io/yare/apiserver/expression"
)

// Expressions are the match conditions, variables and validations of a policy
// that is stored as something else than a ValidatingAdmissionPolicy. They are
// immutable and safe for concurrent use.
type Expressions struct {
	checks *checks
	ignore bool
}

// CompileExpressions compiles them; expressions may use params. Audit
// annotations, match constraints and an authorizer are not looked at.
func CompileExpressions(s *admissionregistrationv1.ValidatingAdmissionPolicySpec) (*Expressions, error) {
	s = s.DeepCopy()
	s.ParamKind = &admissionregistrationv1.ParamKind{}
	var errs []error
	var scope expression.Scope
	declared := plugincel.OptionalVariableDeclarations{HasParams: true}
	note := func(what string, result plugincel.CompilationResult) {
		if result.Error != nil {
			errs = append(errs, fmt.Errorf("%s: %s", what, result.Error.Detail))
		}
	}
	for _, v := range s.Variables {
		note("variable "+v.Name, scope.Define(v.Name, v.Expression, declared, environment.StoredExpressions))
	}
	for _, c := range s.MatchConditions {
		note("match condition "+c.Name, scope.Compile(expression.Expression{Kind: expression.Boolean, Source: c.Expression}, declared, environment.StoredExpressions))
	}
	for i, v := range s.Validations {
		note(fmt.Sprintf("validations[%d].expression", i), scope.Compile(expression.Expression{Kind: expression.Boolean, Source: v.Expression}, declared, environment.StoredExpressions))
		if v.MessageExpression != "" {
			note(fmt.Sprintf("validations[%d].messageExpression", i), scope.Compile(expression.Expression{Kind: expression.Text, Source: v.MessageExpression}, declared, environment.StoredExpressions))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	ignore := s.FailurePolicy != nil && *s.FailurePolicy == admissionregistrationv1.Ignore
	return &Expressions{compileChecks(s), ignore}, nil
}

// Failures are the messages of validations that do not hold. What cannot be
// evaluated does not hold, unless the failure policy is Ignore.
func (e *Expressions) Failures(ctx context.Context, inputs match.Inputs, params runtime.Object, namespace *corev1.Namespace) []string {
	found := e.checks.evaluate(ctx, evaluation{inputs: inputs, params: params, namespace: namespace, ignore: e.ignore})
	messages := make([]string, len(found.failures))
	for i, failure := range found.failures {
		messages[i] = failure.message
	}
	return messages
}
