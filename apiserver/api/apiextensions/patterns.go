package apiextensions

import (
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
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
