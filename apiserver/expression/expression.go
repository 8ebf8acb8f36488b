// Package expression compiles the CEL expressions of admission: it says which
// result each kind must have, declares admission's variables, and gives a policy
// variables of its own. It does not know the objects that hold expressions.
// Nothing is built before the first expression is met, and what is built is
// shared by all policies.
package expression

import (
	"slices"

	"github.com/google/cel-go/cel"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
)

// Kind is what an expression is for, and so the types its result may have.
type Kind int

// The kinds of expressions in the admissionregistration.k8s.io group.
const (
	// Boolean is a condition or a validation.
	Boolean Kind = iota
	// Text is a message.
	Text
	// TextOrNull is the value of an audit annotation.
	TextOrNull
	// Anything is a variable.
	Anything
)

var results = map[Kind][]*cel.Type{
	Boolean:    {cel.BoolType},
	Text:       {cel.StringType},
	TextOrNull: {cel.StringType, cel.NullType},
	Anything:   {cel.AnyType, cel.DynType},
}

// Expression is one expression; Name tells several of a kind apart.
type Expression struct {
	Kind         Kind
	Name, Source string
}

var _ plugincel.NamedExpressionAccessor = Expression{}

// GetExpression implements plugincel.ExpressionAccessor.
func (e Expression) GetExpression() string { return e.Source }

// GetName implements plugincel.NamedExpressionAccessor.
func (e Expression) GetName() string { return e.Name }

// ReturnTypes implements plugincel.ExpressionAccessor.
func (e Expression) ReturnTypes() []*cel.Type { return slices.Clone(results[e.Kind]) }
