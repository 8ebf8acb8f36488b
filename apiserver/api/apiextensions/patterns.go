package apiextensions

import (
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/cel/environment"
)

const (
	// maxInstructions bounds the program that a pattern compiles to: matching
	// takes that many steps for each character of a string.
	maxInstructions = 20_000
	// maxThreads bounds the program's instructions times its groups: while it
	// matches, Go's regexp keeps an array of all groups for every instruction.
	maxThreads = 2_000_000
)

// checkPatterns refuses patterns by which a single string could cost the server
// minutes or gigabytes. Those of known are let pass.
func checkPatterns(d *Definition, known sets.Set[string]) field.ErrorList {
	var errs field.ErrorList
	visitPatterns(d, func(path *field.Path, pattern string) {
		if known.Has(pattern) {
			return
		}
		if problem := costly(pattern); problem != "" {
			errs = append(errs, field.Forbidden(path, problem))
		}
	})
	return errs
}

func patternsOf(d *Definition) sets.Set[string] {
	all := sets.New[string]()
	visitPatterns(d, func(_ *field.Path, pattern string) { all.Insert(pattern) })
	return all
}

// costly says why a pattern is too costly. Whether it is one at all is others'
// concern.
func costly(pattern string) string {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	program, err := syntax.Compile(parsed.Simplify())
	switch {
	case err != nil:
		return ""
	case len(program.Inst) > maxInstructions:
		return fmt.Sprintf("the pattern compiles to %d instructions, of which there may be %d", len(program.Inst), maxInstructions)
	case len(program.Inst)*program.NumCap > maxThreads:
		return fmt.Sprintf("the pattern has too many groups for its length: %d instructions with %d groups; make them (?:…)", len(program.Inst), program.NumCap/2)
	}
	return ""
}

// expressions parses rules, with all that Kubernetes adds to CEL.
var expressions = sync.OnceValue(func() *cel.Env {
	return environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).StoredExpressionsEnv()
})

// patternsIn are the patterns written in a rule. One that cannot be parsed is
// others' concern.
func patternsIn(rule string) (patterns []string) {
	if !strings.Contains(rule, "matches") && !strings.Contains(rule, "find") {
		return nil
	}
	parsed, issues := expressions().Parse(rule)
	if issues.Err() != nil {
		return nil
	}
	ast.PostOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || !slices.Contains([]string{"matches", "find", "findAll"}, e.AsCall().FunctionName()) {
			return
		}
		for _, argument := range e.AsCall().Args() {
			if argument.Kind() != ast.LiteralKind {
				continue
			}
			if text, ok := argument.AsLiteral().Value().(string); ok {
				patterns = append(patterns, text)
			}
		}
	}))
	return patterns
}

func visitPatterns(d *Definition, visit func(path *field.Path, pattern string)) {
	for i, version := range d.Spec.Versions {
		if version.Schema != nil && version.Schema.OpenAPIV3Schema != nil {
			visitSchema(version.Schema.OpenAPIV3Schema, field.NewPath("spec", "versions").Index(i).Child("schema", "openAPIV3Schema"), visit)
		}
	}
}

func visitSchema(s *apiextensionsv1.JSONSchemaProps, path *field.Path, visit func(path *field.Path, pattern string)) {
	if s == nil {
		return
	}
	if s.Pattern != "" {
		visit(path.Child("pattern"), s.Pattern)
	}
	for i, rule := range s.XValidations {
		for _, pattern := range patternsIn(rule.Rule) {
			visit(path.Child("x-kubernetes-validations").Index(i).Child("rule"), pattern)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		property := s.Properties[name]
		visitSchema(&property, path.Child("properties").Key(name), visit)
	}
	if s.Items != nil {
		visitSchema(s.Items.Schema, path.Child("items"), visit)
	}
	if s.AdditionalProperties != nil {
		visitSchema(s.AdditionalProperties.Schema, path.Child("additionalProperties"), visit)
	}
	for name, list := range map[string][]apiextensionsv1.JSONSchemaProps{"allOf": s.AllOf, "anyOf": s.AnyOf, "oneOf": s.OneOf} {
		for i := range list {
			visitSchema(&list[i], path.Child(name).Index(i), visit)
		}
	}
	visitSchema(s.Not, path.Child("not"), visit)
}
