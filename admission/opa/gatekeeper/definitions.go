package gatekeeper

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// open is a schema that takes any object.
func open() map[string]any {
	return map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
}

// templateDefinition is the resource of ConstraintTemplates, for clusters to
// which Gatekeeper has not brought its own.
func templateDefinition() *unstructured.Unstructured {
	return definition(TemplateGroup, "ConstraintTemplate", "constrainttemplates", "constrainttemplate", "", map[string]any{
		"type": "object", "properties": map[string]any{"spec": open(), "status": open()},
	}, "v1")
}

// constraintDefinition is the resource of a template's constraints. Parameters
// are checked as the template says.
func constraintDefinition(kind string, template *unstructured.Unstructured) *unstructured.Unstructured {
	parameters, found, err := unstructured.NestedMap(template.Object, "spec", "crd", "spec", "validation", "openAPIV3Schema")
	if err != nil || !found {
		parameters = open()
	}
	if legacy, _, err := unstructured.NestedBool(template.Object, "spec", "crd", "spec", "validation", "legacySchema"); err == nil && legacy || parameters["type"] == nil {
		parameters = open()
	}
	name := strings.ToLower(kind)
	return definition(ConstraintGroup, kind, name, name, "constraint", map[string]any{
		"type": "object",
		"properties": map[string]any{
			"spec": map[string]any{
				"type": "object",
				"properties": map[string]any{
					"enforcementAction":        map[string]any{"type": "string"},
					"scopedEnforcementActions": map[string]any{"type": "array", "items": open()},
					"match":                    open(),
					"parameters":               parameters,
				},
			},
			"status": open(),
		},
	}, constraintsVersion)
}

func definition(group, kind, plural, singular, category string, openAPI map[string]any, version string) *unstructured.Unstructured {
	names := map[string]any{"kind": kind, "listKind": kind + "List", "plural": plural, "singular": singular}
	if category != "" {
		names["categories"] = []any{category, category + "s"}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + "." + group, "labels": map[string]any{"gatekeeper.sh/constraint": "yes"}},
		"spec": map[string]any{
			"group": group, "scope": "Cluster", "names": names,
			"versions": []any{map[string]any{
				"name": version, "served": true, "storage": true,
				"schema":       map[string]any{"openAPIV3Schema": openAPI},
				"subresources": map[string]any{"status": map[string]any{}},
			}},
		},
	}}
}
