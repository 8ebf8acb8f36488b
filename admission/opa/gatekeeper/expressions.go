package gatekeeper

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"

	"github.com/yare-io/yare/admission"
	admissionmatch "github.com/yare-io/yare/admission/match"
	"github.com/yare-io/yare/admission/policy"
)

// expressionSource is a template's code for the engine K8sNativeValidation.
type expressionSource struct {
	Validations     []admissionregistrationv1.Validation       `json:"validations"`
	FailurePolicy   *admissionregistrationv1.FailurePolicyType `json:"failurePolicy"`
	MatchConditions []admissionregistrationv1.MatchCondition   `json:"matchCondition"`
	Variables       []admissionregistrationv1.Variable         `json:"variables"`
	GenerateVAP     *bool                                      `json:"generateVAP"`
}

// given are the variables that Gatekeeper puts before a template's own.
var given = []admissionregistrationv1.Variable{
	{Name: "anyObject", Expression: `request.operation == "DELETE" && object == null ? oldObject : object`},
	{Name: "params", Expression: "has(params.spec) && has(params.spec.parameters) ? params.spec.parameters : null"},
}

// parseExpressions compiles a template in CEL. generateVAP has no effect: its
// expressions are evaluated here.
func parseExpressions(raw json.RawMessage) (*policy.Expressions, error) {
	var code expressionSource
	if err := json.Unmarshal(raw, &code); err != nil {
		return nil, err
	}
	for _, v := range code.Variables {
		if v.Name == "params" || v.Name == "anyObject" || strings.HasPrefix(v.Name, "gatekeeper_internal_") {
			return nil, fmt.Errorf("the variable %s is Gatekeeper's own", v.Name)
		}
	}
	if p := code.FailurePolicy; p != nil && *p != admissionregistrationv1.Fail && *p != admissionregistrationv1.Ignore {
		return nil, fmt.Errorf("failurePolicy must be Fail or Ignore, not %q", *p)
	}
	if len(code.Validations) == 0 {
		return nil, fmt.Errorf("there are no validations")
	}
	return policy.CompileExpressions(&admissionregistrationv1.ValidatingAdmissionPolicySpec{
		Validations: code.Validations, MatchConditions: code.MatchConditions, FailurePolicy: code.FailurePolicy,
		Variables: append(append([]admissionregistrationv1.Variable{}, given...), code.Variables...),
	})
}

// askExpressions evaluates constraints whose templates are written in CEL.
func askExpressions(ctx context.Context, asked []*constraint, a *admission.Attributes, s *subject) ([]Violation, error) {
	inputs, err := admissionmatch.InputsOf(ctx, a)
	if err != nil {
		return nil, err
	}
	var found []Violation
	for _, c := range asked {
		for _, message := range c.expressions.Failures(ctx, inputs, c.object, s.in) {
			found = append(found, Violation{constraint: c, Message: message})
		}
	}
	return found, nil
}
