package expression

import (
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/traits"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Scope is the variables of one policy. The zero value, and nil, have none.
// Define and Compile are for one goroutine; once all is compiled, Context may
// be called concurrently.
type Scope struct {
	// Types are known where expressions are to be checked against them. They
	// are set before anything is compiled.
	Types     Types
	typed     map[declared]*shared
	fields    map[string]*apiservercel.DeclField
	variables []variable
}

type variable struct {
	name   string
	result plugincel.CompilationResult
}

// Define compiles a variable, which expressions compiled later may use. One
// that does not compile is defined too: what uses it fails when evaluated.
func (s *Scope) Define(name, source string, d plugincel.OptionalVariableDeclarations, mode environment.Type) plugincel.CompilationResult {
	if s.fields == nil {
		s.fields = map[string]*apiservercel.DeclField{}
	}
	result := s.compile(Expression{Kind: Anything, Name: name, Source: source}, declared{d, true}, mode)
	s.fields[name] = apiservercel.NewDeclField(name, declType(result.OutputType), true, nil, nil)
	s.variables = append(s.variables, variable{name, result})
	return result
}

// Compile compiles an expression.
func (s *Scope) Compile(e plugincel.ExpressionAccessor, d plugincel.OptionalVariableDeclarations, mode environment.Type) plugincel.CompilationResult {
	return s.compile(e, declared{d, s != nil && len(s.fields) > 0}, mode)
}

func (s *Scope) compile(e plugincel.ExpressionAccessor, d declared, mode environment.Type) plugincel.CompilationResult {
	result := plugincel.CompilationResult{ExpressionAccessor: e}
	env, err := s.environment(d)
	if err != nil {
		result.Error = internal("unexpected error loading CEL environment", err)
		return result
	}
	var fields map[string]*apiservercel.DeclField
	if s != nil {
		fields = s.fields
	}
	result.Program, result.OutputType, result.Error = env.compile(e.GetExpression(), e.ReturnTypes(), fields, mode)
	return result
}

var primitives = map[*cel.Type]*apiservercel.DeclType{
	cel.AnyType: apiservercel.AnyType, cel.BoolType: apiservercel.BoolType, cel.BytesType: apiservercel.BytesType,
	cel.DoubleType: apiservercel.DoubleType, cel.DurationType: apiservercel.DurationType, cel.IntType: apiservercel.IntType,
	cel.NullType: apiservercel.NullType, cel.StringType: apiservercel.StringType, cel.TimestampType: apiservercel.TimestampType,
	cel.UintType: apiservercel.UintType,
}

// declType is a type as declarations of fields want it; dyn where they have no
// word for it.
func declType(t *cel.Type) *apiservercel.DeclType {
	if known := primitives[t]; known != nil {
		return known
	}
	if t == nil || !t.HasTrait(traits.ContainerType) || !t.HasTrait(traits.IndexerType) {
		return apiservercel.DynType
	}
	const unbounded = -1
	switch of := t.Parameters(); len(of) {
	case 1:
		return apiservercel.NewListType(declType(of[0]), unbounded)
	case 2:
		return apiservercel.NewMapType(declType(of[0]), declType(of[1]), unbounded)
	}
	return apiservercel.DynType
}
