package policy

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/yare-io/yare/admission/match"
	"github.com/yare-io/yare/apiserver/expression"
)

// changes are the expressions of a MutatingAdmissionPolicy, compiled. They are
// immutable and safe for concurrent use.
type changes struct {
	scope      expression.Scope
	conditions *match.Conditions
	patchers   []patch.Patcher
	// again: the policy wants to see what later ones change.
	again bool
}

func compileChanges(s *admissionregistrationv1.MutatingAdmissionPolicySpec) *changes {
	c := &changes{
		conditions: match.NewConditions(s.MatchConditions, s.ParamKind != nil),
		again:      s.ReinvocationPolicy == admissionregistrationv1.IfNeededReinvocationPolicy,
	}
	full := plugincel.OptionalVariableDeclarations{HasParams: s.ParamKind != nil, HasAuthorizer: true}
	for _, v := range s.Variables {
		c.scope.Define(v.Name, v.Expression, full, environment.StoredExpressions)
	}
	full.HasPatchTypes = true
	for _, m := range s.Mutations {
		if m.JSONPatch != nil {
			compiled := c.scope.Compile(&patch.JSONPatchCondition{Expression: m.JSONPatch.Expression}, full, environment.StoredExpressions)
			c.patchers = append(c.patchers, patch.NewJSONPatcher(plugincel.NewMutatingEvaluator(compiled)))
		}
		if m.ApplyConfiguration != nil {
			compiled := c.scope.Compile(&patch.ApplyConfigurationCondition{Expression: m.ApplyConfiguration.Expression}, full, environment.StoredExpressions)
			c.patchers = append(c.patchers, patch.NewApplyConfigurationPatcher(plugincel.NewMutatingEvaluator(compiled)))
		}
	}
	return c
}
