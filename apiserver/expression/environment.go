package expression

import (
	"fmt"
	"maps"
	"sync"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/version"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/apiserver/pkg/cel/mutation"
)

// declared says which variables an expression may use, beside those that all
// may.
type declared struct {
	plugincel.OptionalVariableDeclarations
	// Variables: those of a policy.
	variables bool
}

// shared is an environment in which the expressions of all policies compile, one
// at a time. A policy's own variables are put into it while one does: an
// environment for each policy would take megabytes.
type shared struct {
	mutex     sync.Mutex
	set       *environment.EnvSet
	variables *apiservercel.DeclType
}

var environments struct {
	mutex sync.Mutex
	known map[declared]*shared
}

// environmentFor makes the environments when they are first asked for.
func environmentFor(d declared) (*shared, error) {
	environments.mutex.Lock()
	defer environments.mutex.Unlock()
	if known := environments.known[d]; known != nil {
		return known, nil
	}
	made, err := newShared(d, Types{})
	if err != nil {
		return nil, err
	}
	if environments.known == nil {
		environments.known = map[declared]*shared{}
	}
	environments.known[d] = made
	return made, nil
}

// always is the version since which options hold: all that is known.
var always = version.MajorMinor(1, 0)

func newShared(d declared, known Types) (*shared, error) {
	s := &shared{variables: apiservercel.NewObjectType("kubernetes.variables", map[string]*apiservercel.DeclField{})}
	request, namespace := plugincel.BuildRequestType(), plugincel.BuildNamespaceType()
	options := environment.VersionedOptions{
		IntroducedVersion: always,
		EnvOptions: []cel.EnvOption{
			cel.Variable(plugincel.ObjectVarName, celType(known.Object)), cel.Variable(plugincel.OldObjectVarName, celType(known.Object)),
			cel.Variable(plugincel.NamespaceVarName, namespace.CelType()), cel.Variable(plugincel.RequestVarName, request.CelType()),
		},
		DeclTypes: known.with(namespace, request),
	}
	if d.HasParams {
		options.EnvOptions = append(options.EnvOptions, cel.Variable(plugincel.ParamsVarName, celType(known.Params)))
	}
	if d.HasAuthorizer {
		options.EnvOptions = append(options.EnvOptions, cel.Variable(plugincel.AuthorizerVarName, library.AuthorizerType),
			cel.Variable(plugincel.RequestResourceAuthorizerVarName, library.ResourceCheckType))
	}
	if d.variables {
		options.EnvOptions = append(options.EnvOptions, cel.Variable(plugincel.VariableVarName, s.variables.CelType()))
		options.DeclTypes = append(options.DeclTypes, s.variables)
	}
	var err error
	s.set, err = environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).Extend(options, environment.StrictCostOpt)
	if err != nil {
		return nil, fmt.Errorf("environment of expressions: %w", err)
	}
	if !d.HasPatchTypes {
		return s, nil
	}
	// The types of patches are found by name, around the declared ones.
	s.set, err = s.set.Extend(environment.VersionedOptions{IntroducedVersion: always, EnvOptions: []cel.EnvOption{
		common.ResolverEnvOption(&mutation.DynamicTypeResolver{}), environment.UnversionedLib(library.JSONPatch),
	}})
	return s, err
}

// compile compiles one expression of a policy with the given variables.
func (s *shared) compile(source string, results []*cel.Type, fields map[string]*apiservercel.DeclField, mode environment.Type) (cel.Program, *cel.Type, *apiservercel.Error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	clear(s.variables.Fields)
	maps.Copy(s.variables.Fields, fields)
	env, err := s.set.Env(mode)
	if err != nil {
		return nil, nil, internal("loading the CEL environment", err)
	}
	ast, issues := env.Compile(source)
	if issues != nil {
		return nil, nil, &apiservercel.Error{Type: apiservercel.ErrorTypeInvalid, Detail: "compilation failed: " + issues.String(), Cause: apiservercel.NewCompilationError(issues)}
	}
	if err := fits(ast.OutputType(), results); err != nil {
		return nil, nil, err
	}
	program, err := env.Program(ast, cel.InterruptCheckFrequency(celconfig.CheckFrequency))
	if err != nil {
		return nil, nil, internal("program instantiation failed", err)
	}
	return program, ast.OutputType(), nil
}

func internal(what string, err error) *apiservercel.Error {
	return &apiservercel.Error{Type: apiservercel.ErrorTypeInternal, Detail: fmt.Sprintf("%s: %v", what, err), Cause: err}
}

// fits wants a result of one of the types; AnyType takes all.
func fits(got *cel.Type, wanted []*cel.Type) *apiservercel.Error {
	for _, w := range wanted {
		if got.IsExactType(w) || w.IsExactType(cel.AnyType) {
			return nil
		}
	}
	detail := fmt.Sprintf("must evaluate to one of %v but got %v", wanted, got)
	if len(wanted) == 1 {
		detail = fmt.Sprintf("must evaluate to %v but got %v", wanted[0], got)
	}
	return &apiservercel.Error{Type: apiservercel.ErrorTypeInvalid, Detail: detail}
}
