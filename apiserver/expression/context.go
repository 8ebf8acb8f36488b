package expression

import (
	"context"
	"math"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/lazy"
)

// Context returns the context in which the policy's expressions are evaluated
// for one request. Variables are evaluated when they are first used, and their
// cost counts.
func (s *Scope) Context(ctx context.Context) context.Context {
	if len(s.variables) == 0 {
		return ctx
	}
	return &scoped{Context: ctx, scope: s}
}

// variablesType names the type of the variables at run time.
var variablesType = apiservercel.NewObjectType("kubernetes.variables", nil)

type scoped struct {
	context.Context
	scope *Scope
	spent int64
}

var _ plugincel.CompositionContext = (*scoped)(nil)

// Variables implements plugincel.CompositionContext.
func (c *scoped) Variables(activation any) ref.Val {
	all := lazy.NewMapValue(variablesType)
	for _, v := range c.scope.variables {
		all.Append(v.name, func(*lazy.MapValue) ref.Val { return c.evaluate(v, activation) })
	}
	return all
}

// GetAndResetCost implements plugincel.CompositionContext.
func (c *scoped) GetAndResetCost() int64 {
	spent := c.spent
	c.spent = 0
	return spent
}

func (c *scoped) evaluate(v variable, activation any) ref.Val {
	if v.result.Error != nil {
		return types.NewErr("composited variable %q fails to compile: %v", v.name, v.result.Error)
	}
	value, details, err := v.result.Program.ContextEval(c, activation)
	if details == nil || details.ActualCost() == nil {
		return types.NewErr("unable to calculate cost of variable %q", v.name)
	}
	c.spent += int64(min(*details.ActualCost(), math.MaxInt32))
	if err != nil {
		return types.NewErr("composited variable %q fails to evaluate: %v", v.name, err)
	}
	return value
}
