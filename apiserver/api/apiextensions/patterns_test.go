package apiextensions

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

func TestCostlyPatternsAreNew(t *testing.T) {
	costly := "^(" + strings.Repeat("a|b*|(c+d?)|", 1000) + "z)$"
	definition := func(pattern string) *Definition {
		text := apiextensionsv1.JSONSchemaProps{Type: "string", Pattern: pattern}
		list := apiextensionsv1.JSONSchemaProps{Type: "array", Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &text}}
		return &Definition{Spec: apiextensionsv1.CustomResourceDefinitionSpec{Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
				Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"list": list},
			}},
		}}}}
	}
	rule := definition("")
	rule.Spec.Versions[0].Schema.OpenAPIV3Schema.XValidations = apiextensionsv1.ValidationRules{
		{Rule: "self.list.size() > 0"}, {Rule: `self.list.all(i, e, e.matches("` + costly + `"))`},
	}
	if errs := checkPatterns(rule, nil); len(errs) != 1 || errs[0].Field != "spec.versions[0].schema.openAPIV3Schema.x-kubernetes-validations[1].rule" {
		t.Errorf("in a rule: %v", errs)
	}
	const at = "spec.versions[0].schema.openAPIV3Schema.properties[list].items.pattern"
	if errs := checkPatterns(definition(costly), nil); len(errs) != 1 || errs[0].Field != at {
		t.Errorf("new: %v, want one at %s", errs, at)
	}
	if errs := checkPatterns(definition(costly), patternsOf(definition(costly))); len(errs) > 0 {
		t.Errorf("known: %v", errs)
	}
	for _, pattern := range []string{`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`, `^(\w{1,63}/){0,15}$`, `^.{1,1000}$`, `(unfinished`} {
		if errs := checkPatterns(definition(pattern), nil); len(errs) > 0 {
			t.Errorf("%s: %v", pattern, errs)
		}
	}
}
