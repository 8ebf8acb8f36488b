// Package expression says what the CEL expressions of admission are: which
// result each kind must have, and the compilers that know admission's
// variables. It neither evaluates expressions nor knows the objects that hold
// them. Nothing is built before the first expression is met.
package expression

import (
	"slices"
	"sync"

	"github.com/google/cel-go/cel"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/cel/environment"
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

// Environment is that of Kubernetes' newest version, which all compilers share.
func Environment() *environment.EnvSet {
	return environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
}

// Plain returns the compiler of expressions that know no variables of their
// own. It is safe for concurrent use.
var Plain = sync.OnceValue(func() plugincel.Compiler { return plugincel.NewCompiler(Environment()) })

// WithVariables returns a compiler whose expressions see the variables compiled
// with it before. It is for one policy, and for one goroutine.
func WithVariables() (*plugincel.CompositedCompiler, error) {
	return plugincel.NewCompositedCompiler(Environment())
}
