package match

import (
	"context"
	"errors"
	"sync"

	celtypes "github.com/google/cel-go/common/types"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/yare-io/yare/apiserver/expression"
)

// Conditions are the matchConditions of one webhook or policy, compiled when
// they are first evaluated. They are safe for concurrent use.
type Conditions struct {
	given  []admissionregistrationv1.MatchCondition
	params bool
	// evaluator is made once.
	evaluator func() plugincel.ConditionEvaluator
}

// NewConditions takes the conditions; params says whether they may use the
// variable of that name.
func NewConditions(given []admissionregistrationv1.MatchCondition, params bool) *Conditions {
	c := &Conditions{given: given, params: params}
	c.evaluator = sync.OnceValue(c.compile)
	return c
}

func (c *Conditions) compile() plugincel.ConditionEvaluator {
	var none *expression.Scope
	results := make([]plugincel.CompilationResult, len(c.given))
	for i, g := range c.given {
		results[i] = none.Compile(
			expression.Expression{Kind: expression.Boolean, Name: g.Name, Source: g.Expression},
			plugincel.OptionalVariableDeclarations{HasParams: c.params, HasAuthorizer: true}, environment.StoredExpressions)
	}
	return plugincel.NewCondition(results)
}

// Match reports whether all conditions hold. One that is false decides, even
// beside errors; an error alone cannot tell.
func (c *Conditions) Match(ctx context.Context, in Inputs, params runtime.Object, asked authorizer.UnconditionalAuthorizer) (bool, error) {
	if len(c.given) == 0 {
		return true, nil
	}
	// The namespace object is not among the variables of match conditions.
	results, _, err := c.evaluator().ForInput(ctx, in.Attributes, in.Request,
		plugincel.OptionalVariableBindings{VersionedParams: params, Authorizer: asked}, nil, celconfig.RuntimeCELCostBudgetMatchConditions)
	if err != nil {
		return false, err
	}
	var errs []error
	for _, result := range results {
		if result.EvalResult == celtypes.False {
			return false, nil
		}
		errs = append(errs, result.Error)
	}
	err = errors.Join(errs...)
	return err == nil, err
}
