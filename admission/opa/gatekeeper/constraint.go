package gatekeeper

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/yare-io/yare/admission/policy"
)

// Action is what a violation leads to.
type Action string

// The enforcement actions of Gatekeeper.
const (
	Deny   Action = "deny"
	Warn   Action = "warn"
	DryRun Action = "dryrun"
	scoped Action = "scoped"
)

// The enforcement points of scoped actions that there are here.
const (
	webhookPoint = "validation.gatekeeper.sh"
	auditPoint   = "audit.gatekeeper.sh"
)

type constraintSpec struct {
	EnforcementAction        Action `json:"enforcementAction"`
	ScopedEnforcementActions []struct {
		Action            Action `json:"action"`
		EnforcementPoints []struct {
			Name string `json:"name"`
		} `json:"enforcementPoints"`
	} `json:"scopedEnforcementActions"`
	Match      match           `json:"match"`
	Parameters json.RawMessage `json:"parameters"`
}

// constraint is what a template is asked with.
type constraint struct {
	kind, name string
	// term is the id as policies see it.
	term   *ast.Term
	object *unstructured.Unstructured
	// actions are those of admission, audited those of the audit.
	actions, audited []Action
	match            match
	parameters       ast.Value
	// expressions are set when the template is written in CEL.
	expressions *policy.Expressions
}

// id names a constraint among all.
func (c *constraint) id() string { return c.kind + "/" + c.name }

// parseConstraint reads a constraint of any kind.
func parseConstraint(object *unstructured.Unstructured) (*constraint, error) {
	var spec constraintSpec
	err := specOf(object, &spec)
	if err != nil {
		return nil, err
	}
	c := &constraint{kind: object.GetKind(), name: object.GetName(), object: object, match: spec.Match, parameters: ast.NewObject()}
	c.term = ast.StringTerm(c.id())
	if c.actions, err = spec.actions(webhookPoint); err != nil {
		return nil, err
	}
	if c.audited, err = spec.actions(auditPoint); err != nil {
		return nil, err
	}
	if err := c.match.compile(); err != nil {
		return nil, err
	}
	if len(spec.Parameters) > 0 && !bytes.Equal(spec.Parameters, []byte("null")) {
		if c.parameters, err = ast.ValueFromReader(bytes.NewReader(spec.Parameters)); err != nil {
			return nil, fmt.Errorf("parameters: %w", err)
		}
	}
	return c, nil
}

// actions are those of an enforcement point.
func (s *constraintSpec) actions(at string) ([]Action, error) {
	switch s.EnforcementAction {
	case "":
		return []Action{Deny}, nil
	case Deny, Warn, DryRun:
		return []Action{s.EnforcementAction}, nil
	case scoped:
	default:
		return nil, fmt.Errorf("there is no enforcementAction %q, only deny, warn, dryrun and scoped", s.EnforcementAction)
	}
	var found []Action
	for _, one := range s.ScopedEnforcementActions {
		if !slices.Contains([]Action{Deny, Warn, DryRun}, one.Action) {
			return nil, fmt.Errorf("there is no scoped action %q, only deny, warn and dryrun", one.Action)
		}
		for _, point := range one.EnforcementPoints {
			if (point.Name == "*" || point.Name == at) && !slices.Contains(found, one.Action) {
				found = append(found, one.Action)
			}
		}
	}
	return found, nil
}
