package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	celtypes "github.com/google/cel-go/common/types"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/yare-io/yare/admission/match"
	"github.com/yare-io/yare/apiserver/expression"
)

// checks are the expressions of a ValidatingAdmissionPolicy, compiled. They
// are immutable and safe for concurrent use.
type checks struct {
	spec                           *admissionregistrationv1.ValidatingAdmissionPolicySpec
	scope                          expression.Scope
	conditions                     *match.Conditions
	validations, messages, records plugincel.ConditionEvaluator
}

func compileChecks(s *admissionregistrationv1.ValidatingAdmissionPolicySpec) *checks {
	c := &checks{spec: s, conditions: match.NewConditions(s.MatchConditions, s.ParamKind != nil)}
	full := plugincel.OptionalVariableDeclarations{HasParams: s.ParamKind != nil, HasAuthorizer: true}
	plain := plugincel.OptionalVariableDeclarations{HasParams: s.ParamKind != nil}
	for _, v := range s.Variables {
		c.scope.Define(v.Name, v.Expression, full, environment.StoredExpressions)
	}
	validations := make([]plugincel.CompilationResult, len(s.Validations))
	messages := make([]plugincel.CompilationResult, len(s.Validations))
	for i, v := range s.Validations {
		validations[i] = c.scope.Compile(expression.Expression{Kind: expression.Boolean, Source: v.Expression}, full, environment.StoredExpressions)
		if v.MessageExpression != "" {
			messages[i] = c.scope.Compile(expression.Expression{Kind: expression.Text, Source: v.MessageExpression}, plain, environment.StoredExpressions)
		}
	}
	records := make([]plugincel.CompilationResult, len(s.AuditAnnotations))
	for i, a := range s.AuditAnnotations {
		records[i] = c.scope.Compile(expression.Expression{Kind: expression.TextOrNull, Name: a.Key, Source: a.ValueExpression}, full, environment.StoredExpressions)
	}
	c.validations, c.messages, c.records = plugincel.NewCondition(validations), plugincel.NewCondition(messages), plugincel.NewCondition(records)
	return c
}

// evaluation is what one evaluation of a policy is about.
type evaluation struct {
	inputs    match.Inputs
	params    runtime.Object
	namespace *corev1.Namespace
	asked     authorizer.UnconditionalAuthorizer
	// ignore: what cannot be evaluated is taken to hold.
	ignore bool
}

// failure is a validation that does not hold, or could not be evaluated.
type failure struct {
	index   int
	message string
	reason  metav1.StatusReason
	// err: it could not be evaluated.
	err bool
}

// result is what came of an evaluation.
type result struct {
	failures    []failure
	annotations map[string]string
}

// broken is the result of an evaluation that could not be made.
func (e evaluation) broken(index int, message string) result {
	if e.ignore {
		return result{}
	}
	return result{failures: []failure{{index: index, message: message, err: true}}}
}

func (c *checks) evaluate(ctx context.Context, e evaluation) result {
	ok, err := c.conditions.Match(ctx, e.inputs, e.params, e.asked)
	if err != nil {
		return e.broken(0, err.Error())
	}
	if !ok {
		return result{}
	}
	ctx = c.scope.Context(ctx)
	full := plugincel.OptionalVariableBindings{VersionedParams: e.params, Authorizer: e.asked}
	namespace := plugincel.CreateNamespaceObject(e.namespace)
	held, budget, err := c.validations.ForInput(ctx, e.inputs.Attributes, e.inputs.Request, full, namespace, celconfig.RuntimeCELCostBudget)
	if err != nil {
		return e.broken(0, err.Error())
	}
	var out result
	said := c.say(ctx, e, namespace, held, budget)
	for i, h := range held {
		switch {
		case h.Error != nil:
			out.failures = append(out.failures, e.broken(i, h.Error.Error()).failures...)
		case h.EvalResult != celtypes.True:
			out.failures = append(out.failures, c.failed(i, said))
		}
	}
	return c.record(ctx, e, namespace, out)
}

// messages are the texts of messageExpressions; err: they could not be had.
type messages struct {
	results []plugincel.EvaluationResult
	err     error
}

// say evaluates the messages, if anything failed.
func (c *checks) say(ctx context.Context, e evaluation, namespace *corev1.Namespace, held []plugincel.EvaluationResult, budget int64) messages {
	for _, h := range held {
		if h.Error == nil && h.EvalResult != celtypes.True {
			bindings := plugincel.OptionalVariableBindings{VersionedParams: e.params}
			results, _, err := c.messages.ForInput(ctx, e.inputs.Attributes, e.inputs.Request, bindings, namespace, budget)
			return messages{results, err}
		}
	}
	return messages{}
}

// failed words a validation that does not hold.
func (c *checks) failed(index int, said messages) failure {
	v := c.spec.Validations[index]
	f := failure{index: index, reason: metav1.StatusReasonInvalid}
	if v.Reason != nil {
		f.reason = *v.Reason
	}
	switch {
	case errors.Is(said.err, apiservercel.ErrInternal) || errors.Is(said.err, apiservercel.ErrOutOfBudget):
		f.message, f.err = fmt.Sprintf("failed messageExpression: %s", said.err), true
		return f
	case index < len(said.results) && said.results[index].Error == nil && said.results[index].EvalResult != nil:
		if text, ok := said.results[index].EvalResult.Value().(string); ok {
			f.message = sensible(text)
		}
	}
	if f.message == "" {
		f.message = strings.TrimSpace(v.Message)
	}
	if f.message == "" {
		f.message = "failed expression: " + strings.TrimSpace(v.Expression)
	}
	return f
}

// sensible drops messages that are too long or have several lines.
func sensible(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > celconfig.MaxEvaluatedMessageExpressionSizeBytes || strings.ContainsAny(text, "\n") {
		return ""
	}
	return text
}

// record evaluates the audit annotations.
func (c *checks) record(ctx context.Context, e evaluation, namespace *corev1.Namespace, out result) result {
	if len(c.spec.AuditAnnotations) == 0 {
		return out
	}
	bindings := plugincel.OptionalVariableBindings{VersionedParams: e.params, Authorizer: e.asked}
	results, _, err := c.records.ForInput(ctx, e.inputs.Attributes, e.inputs.Request, bindings, namespace, celconfig.RuntimeCELCostBudget)
	if err != nil {
		return e.broken(0, err.Error())
	}
	out.annotations = map[string]string{}
	for i, r := range results {
		if r.Error != nil {
			out.failures = append(out.failures, e.broken(i, r.Error.Error()).failures...)
			continue
		}
		if text, ok := r.EvalResult.Value().(string); ok && strings.TrimSpace(text) != "" {
			out.annotations[c.spec.AuditAnnotations[i].Key] = strings.TrimSpace(text)
		}
	}
	return out
}
