package resource

import (
	"sync"

	"github.com/google/cel-go/cel"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"
)

// selectors is the environment of device selectors. It is made when the first
// selector is checked: most clusters have none.
var selectors = sync.OnceValues(func() (*cel.Env, error) {
	set, err := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).Extend(environment.VersionedOptions{
		IntroducedVersion: version.MajorMinor(1, 31),
		EnvOptions:        []cel.EnvOption{cel.Variable("device", cel.MapType(cel.StringType, cel.DynType))},
	})
	if err != nil {
		return nil, err
	}
	return set.Env(environment.NewExpressions)
})

// compile returns what is wrong with a selector, empty when it is fine.
func compile(expression string) string {
	env, err := selectors()
	if err != nil {
		return "internal error: " + err.Error()
	}
	ast, issues := env.Compile(expression)
	if issues != nil && issues.Err() != nil {
		return "compilation failed: " + issues.String()
	}
	if kind := ast.OutputType(); !kind.IsExactType(cel.BoolType) && !kind.IsExactType(cel.DynType) {
		return "must evaluate to bool or the unknown type, not " + kind.String()
	}
	return ""
}
